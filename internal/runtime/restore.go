// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/state"
)

// bring makes a task ready and gives it to its worker: it waits until the stores
// of the last holder of the task are closed, opens them, restores them, and lets
// the inputs flow.
func (a *App) bring(s *slot, before chan struct{}) {
	err := a.prepare(s, before)
	if err == nil && s.rewind {
		err = a.rewind(s)
	}
	a.mu.Lock()
	stopped := s.phase == ending
	if err == nil && !stopped {
		s.phase, s.given = running, true
		s.worker.do(func() { s.worker.start(s) })
		a.member.Resume(slices.Collect(maps.Keys(s.inputs()))...)
		a.begin() // what came for it meanwhile
		a.mu.Unlock()
		a.roomier()
		a.refresh()
		return
	}
	s.phase = ending
	a.mu.Unlock()
	close(s.released)
	a.closeSlot(s)
	if err != nil && !stopped && a.hard.Err() == nil {
		a.fail(fmt.Errorf("task %s: %w", s.id, err))
	}
}

func (a *App) prepare(s *slot, before chan struct{}) error {
	if before != nil {
		select {
		case <-before:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	if s.delay > 0 {
		if err := pause(s.ctx, s.delay); err != nil {
			return err
		}
	}
	select {
	case a.restores <- struct{}{}:
		defer func() { <-a.restores }()
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	var err error
	if s.origins, err = a.locate(s.ctx, s.inputs()); err != nil {
		return err
	}
	if err := a.openStores(s); err != nil {
		return err
	}
	s.task, err = NewTask(TaskConfig{
		Sub: s.sub, Partition: s.id.Partition, Matches: s.matches(), Stores: storesOf(s), Out: laneOutputs{s.worker},
		Start: s.origins, Now: time.Now().UnixMilli(),
		MaxIdle: a.cfg.maxIdle(), SourceIdleness: a.cfg.SourceIdleness.Milliseconds(),
		ConfirmEvery: confirmEvery.Milliseconds(), EmitInterval: a.cfg.EmitInterval.Milliseconds(),
		Global:   a.globalStore,
		Policies: a.cfg.Policies, Pause: s.pause, Report: s.report(a),
	})
	return err
}

func storesOf(s *slot) []state.Store {
	var stores []state.Store
	for _, o := range s.stores {
		stores = append(stores, o.store)
	}
	return stores
}

// laneOutputs are the ways out of a task that runs on a worker: through the lane that
// the worker has when a record is sent.
type laneOutputs struct{ worker *worker }

var _ PartitionedOutputs = laneOutputs{}

func (o laneOutputs) Output(topic string) plan.Output { return o.OutputAt(topic, link.AnyPartition) }

// Partitions implements [PartitionedOutputs].
func (o laneOutputs) Partitions(topic string) int32 {
	return o.worker.app.topics.Load().topics[topic].Partitions
}

// OutputAt implements [PartitionedOutputs].
func (o laneOutputs) OutputAt(topic string, partition int32) plan.Output {
	return o.worker.app.output(&o.worker.lane, topic, partition)
}

// output is the way to a partition by the lane that is in use, for records that the topic
// takes.
func (a *App) output(lane *link.Lane, topic string, partition int32) plan.Output {
	d := link.NewDest(topic, partition)
	limit := a.maxRecord(topic)
	return func(key, value []byte, timestamp int64, headers []plan.Header) error {
		if n := len(key) + len(value); n > limit/2 || len(headers) > 0 { // else it fits
			if n := link.RecordBytes(key, value, headers); n > limit {
				return fmt.Errorf("%w: up to %d bytes, and topic %q takes %d", plan.ErrTooLarge, n, topic, limit)
			}
		}
		return (*lane).Append(d, key, value, timestamp, headers)
	}
}

// locate asks where inputs of a task stand: the times that were committed with
// them, and the lag before the first record comes.
func (a *App) locate(ctx context.Context, inputs map[link.Partition]*progress) (map[string]Origin, error) {
	parts := slices.Collect(maps.Keys(inputs))
	committed, err := a.cluster.Committed(ctx, parts)
	if err != nil {
		return nil, err
	}
	ranges, err := a.cluster.Ranges(ctx, parts)
	if err != nil {
		return nil, err
	}
	origins, resets := map[string]Origin{}, a.topics.Load().resets
	for p, in := range inputs {
		at := ranges[p].Start
		if pos, ok := committed[p]; ok {
			at = max(at, pos.Offset)
			in.committed.Store(pos.Offset)
			origins[p.Topic] = Origin{Position{at, pos.Epoch}, pos.Metadata}
		} else if at, err = begin(p, resets[p.Topic], ranges[p]); err != nil {
			return nil, err
		}
		in.position.Store(at)
		in.fetched.Store(at)
		in.end.Store(ranges[p].End)
	}
	return origins, nil
}

// begin is where an input begins without a committed offset, as far as it is known
// before the first fetch.
func begin(p link.Partition, r plan.Reset, have link.Range) (int64, error) {
	switch r.From {
	case plan.ResetEnd:
		return have.End, nil
	case plan.ResetNever:
		return 0, fmt.Errorf("%s: %w", p, ErrNotCommitted)
	case plan.ResetStart, plan.ResetAgo:
	}
	return have.Start, nil
}

// ErrNotCommitted says that a source is to begin where its group has committed, and the
// group has not.
var ErrNotCommitted = errors.New("the group has no committed offset, and the source is not to begin without one")

// errRebuild says that the bases of a task must be set aside, and why.
type errRebuild struct{ cause string }

func (e *errRebuild) Error() string { return e.cause }

// openStores opens the bases of a task and brings them up to the end of their
// changelogs. Bases that do not fit are set aside, the whole folder of the task,
// and built again from the start.
func (a *App) openStores(s *slot) error {
	if len(s.sub.Stores) == 0 {
		return nil
	}
	path := a.dir.task(a.clusterID, s.id)
	for try := 0; ; try++ {
		err := a.tryOpen(s, path)
		rebuild, ok := errors.AsType[*errRebuild](err)
		if !ok || try > 0 {
			return err
		}
		if err := a.closeStores(s); err != nil {
			a.log.Debug("close stores that are set aside", "task", s.id, "err", err)
		}
		a.log.Warn("the task's state is set aside and rebuilt from its changelogs", "task", s.id, "path", path, "cause", rebuild.cause)
		if err := a.cfg.Stores.SetAside(path, rebuild.cause); err != nil {
			return fmt.Errorf("set state aside: %w", err)
		}
	}
}

func (a *App) tryOpen(s *slot, path string) error {
	db, err := a.cfg.Stores.Open(path)
	if errors.Is(err, state.ErrUnusable) {
		return &errRebuild{err.Error()}
	}
	if err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	s.db, s.stores = db, nil
	s.restored.Store(0)
	s.toRestore.Store(0)
	var logs []link.Partition
	for _, def := range s.sub.Stores {
		o, err := a.openStore(s, def)
		if err != nil {
			return err
		}
		s.stores = append(s.stores, o)
		logs = append(logs, link.Partition{Topic: o.header.Changelog, Num: o.header.Partition})
	}
	ranges, err := a.cluster.Ranges(s.ctx, logs)
	if err != nil {
		return err
	}
	from := make([]int64, len(s.stores))
	for i, o := range s.stores {
		if from[i], err = a.startOf(s, o, ranges[logs[i]]); err != nil {
			return err
		}
		s.toRestore.Add(ranges[logs[i]].End - from[i])
	}
	if err := a.checkForms(s); err != nil {
		return err
	}
	s.beginRestore()
	for i, o := range s.stores {
		if err := a.restore(s, o, from[i], ranges[logs[i]].End); err != nil {
			return err
		}
	}
	a.endRestore(s)
	return nil
}

func (a *App) openStore(s *slot, def *plan.Store) (*openStore, error) {
	base, err := s.db.Base(def.Name)
	if err != nil {
		return nil, fmt.Errorf("open the base of store %q: %w", def.Name, err)
	}
	st := def.Open(base, a.cfg.StoreOptions)
	topic := a.plan.Changelog(def.Name)
	return &openStore{
		base:      base,
		store:     st,
		changelog: link.NewDest(topic, s.id.Partition),
		header: state.Header{
			Cluster: a.clusterID, ChangelogID: a.topics.Load().topics[topic].ID, Changelog: topic, Partition: s.id.Partition,
			LeaderEpoch: state.NoEpoch, Kind: st.Kind(), Serdes: st.Serdes(), Format: state.Format,
		},
	}, nil
}

// startOf is the changelog offset to restore a store from.
func (a *App) startOf(s *slot, o *openStore, log link.Range) (int64, error) {
	have, ok, err := o.base.Header()
	if errors.Is(err, state.ErrDamaged) || errors.Is(err, state.ErrUnusable) {
		return 0, &errRebuild{fmt.Sprintf("store %q: %v", o.store.Name(), err)}
	}
	if err != nil {
		return 0, fmt.Errorf("read the header of store %q: %w", o.store.Name(), err)
	}
	if !ok {
		o.header.Position = log.Start
		return log.Start, nil
	}
	if err := a.changedStore(s.id, o.store.Name(), have, o.header); err != nil {
		return 0, err
	}
	cause, err := checker{a.cluster, time.Now()}.misfit(s.ctx, have, o.header, log)
	if err != nil {
		return 0, fmt.Errorf("check the base of store %q: %w", o.store.Name(), err)
	}
	if cause != "" {
		return 0, &errRebuild{fmt.Sprintf("store %q: %s", o.store.Name(), cause)}
	}
	o.header.Position, o.header.LeaderEpoch = have.Position, have.LeaderEpoch
	return have.Position, nil
}

// restore reads a changelog up to its end, as it was when the restore began.
func (a *App) restore(s *slot, o *openStore, from, end int64) error {
	if from >= end {
		return nil
	}
	part := link.Partition{Topic: o.header.Changelog, Num: o.header.Partition}
	began := time.Now()
	r := readAhead(s.ctx, a.cluster.Read(part, o.header.ChangelogID, from, end))
	defer r.close()
	var changes []state.Change
	for {
		recs, next, err := r.next(s.ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if _, ok := errors.AsType[*link.OutOfRangeError](err); ok {
			return &errRebuild{fmt.Sprintf("store %q: %v", o.store.Name(), err)}
		}
		if err != nil {
			return fmt.Errorf("restore store %q: %w", o.store.Name(), err)
		}
		changes = slices.Grow(changes[:0], len(recs))
		for i := range recs {
			changes = append(changes, state.Change{Key: recs[i].Key, Value: recs[i].Value, Timestamp: recs[i].Timestamp})
		}
		o.header.Position = next.Offset
		if next.Epoch >= 0 {
			o.header.LeaderEpoch = next.Epoch
		}
		o.header.AppliedAt = time.Now().UnixMilli()
		if err := o.store.Restore(changes, o.header); err != nil {
			return fmt.Errorf("restore store %q: %w", o.store.Name(), err)
		}
		s.restored.Add(next.Offset - from)
		a.tellRestore(s, o.store.Name())
		from = next.Offset
	}
	if err := o.store.Restored(); err != nil {
		return fmt.Errorf("restore store %q: %w", o.store.Name(), err)
	}
	a.log.Debug("store restored", "task", s.id, "store", o.store.Name(), "offset", end, "took", time.Since(began))
	return nil
}

// closeSlot closes a task's stores, when no worker has it any more.
func (a *App) closeSlot(s *slot) {
	defer close(s.closed)
	a.lies(s)
	s.drop()
	err := a.closeStores(s)
	a.roomier()
	if err != nil {
		a.log.Warn("the task's state was not closed well: what is missing is restored later", "task", s.id, "err", err)
	}
}

func (a *App) closeStores(s *slot) error {
	var errs []error
	for _, o := range s.stores {
		if s.discarded {
			o.store.Discard()
		}
		errs = append(errs, o.store.Close())
	}
	s.stores = nil
	if s.db != nil {
		errs = append(errs, s.db.Close())
		s.db = nil
	}
	return errors.Join(errs...)
}
