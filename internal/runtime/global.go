// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// globalPoll is how often an updater that has nothing to do asks for the ends of its
// topic.
const globalPoll = 100 * time.Millisecond

// A global is what keeps the global stores of one topic up to date: it reads all
// partitions, and commits each batch, so that tasks see it in the committed view. It
// belongs to one goroutine: control until it has caught up, then its own.
//
// There is no changelog: the topic is it. How far the stores are is noted when they
// were made durable, in a store of positions beside them, so that it is never ahead of
// them. What is read again after a crash is put again.
type global struct {
	app    *App
	sub    *plan.Sub
	task   *Task
	db     state.DB
	stores []*openStore
	noted  *state.KeyValueStore[int32, []byte] // by partition: a state.Header
	parts  []*globalPart

	unnoted bool // something was read since the last note
	notedAt time.Time

	lane   link.Lane // for dead letters; nil before the first one
	buried bool      // one was sent, and is not known to be there
}

// A globalPart is a partition of a global store's topic.
type globalPart struct {
	link.Partition
	position, end atomic.Int64
	epoch         int32
}

// openGlobals opens the global stores and reads their topics to where they end now.
func (a *App) openGlobals(ctx context.Context) error {
	for _, sub := range a.plan.Globals {
		g := &global{app: a, sub: sub}
		for n := range a.topics.Load().topics[sub.Name].Partitions {
			g.parts = append(g.parts, &globalPart{Partition: link.Partition{Topic: sub.Name, Num: n}})
		}
		a.mu.Lock()
		a.globals = append(a.globals, g)
		a.mu.Unlock()
		began := time.Now()
		err := g.open(ctx)
		if err == nil {
			_, err = g.update(ctx)
		}
		if err == nil {
			err = g.note()
		}
		if err != nil {
			return fmt.Errorf("global table of topic %q: %w", sub.Name, err)
		}
		a.log.Debug("global table is up to date", "topic", sub.Name, "took", time.Since(began))
	}
	return nil
}

// globalStore gives a global store by name.
func (a *App) globalStore(name string) state.Store {
	for _, g := range a.globals {
		if s := g.task.Store(name); s != nil {
			return s
		}
	}
	return nil
}

// closeGlobals closes the global stores, when no task and no updater runs any more.
func (a *App) closeGlobals() {
	for _, g := range a.globals {
		var err error
		if g.task != nil && a.Err() == nil {
			err = g.note()
		}
		if err = errors.Join(err, g.close()); err != nil {
			a.log.Warn("a global table was not closed well: what is missing is read again", "topic", g.sub.Name, "err", err)
		}
	}
}

// run reads on until ctx ends. A failure ends the App.
func (g *global) run(ctx context.Context) {
	for ctx.Err() == nil {
		moved, err := g.update(ctx)
		if err == nil && time.Since(g.notedAt) >= g.app.cfg.BaseLagTime {
			err = g.note()
		}
		if err != nil {
			if ctx.Err() == nil {
				g.app.fail(fmt.Errorf("global table of topic %q: %w", g.sub.Name, err))
			}
			return
		}
		if !moved {
			_ = pause(ctx, globalPoll) // the loop's condition tells
		}
	}
}

// update reads all partitions to where they end when it begins.
func (g *global) update(ctx context.Context) (moved bool, err error) {
	parts := make([]link.Partition, len(g.parts))
	for i, p := range g.parts {
		parts[i] = p.Partition
	}
	ends, err := g.app.cluster.Ends(ctx, parts)
	if err != nil {
		return false, err
	}
	for _, p := range g.parts {
		end, ok := ends[p.Partition]
		if !ok {
			continue
		}
		p.end.Store(end.Offset)
		if p.position.Load() < end.Offset {
			moved = true
			if err := g.read(ctx, p, end.Offset); err != nil {
				return moved, err
			}
		}
	}
	return moved, nil
}

func (g *global) read(ctx context.Context, p *globalPart, end int64) error {
	r := g.app.cluster.Read(p.Partition, g.app.topics.Load().topics[p.Topic].ID, p.position.Load(), end)
	for {
		recs, next, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(recs) > 0 {
			err := g.apply(recs)
			if err == nil {
				err = g.settle(ctx)
			}
			if err != nil {
				return fmt.Errorf("partition %d: %w", p.Num, err)
			}
		}
		p.position.Store(next.Offset)
		if next.Epoch >= 0 {
			p.epoch = next.Epoch
		}
		g.unnoted = true
		if g.unflushed() >= g.app.cfg.BaseLagBytes {
			if err := g.note(); err != nil {
				return err
			}
		}
	}
}

// apply puts records into the stores, where tasks see them when it returns.
func (g *global) apply(recs []plan.Raw) error {
	if err := g.task.Process(g.sub.Name, recs); err != nil {
		return err
	}
	sealed, err := g.task.Seal()
	if err != nil {
		return err
	}
	return g.task.Commit(sealed, func(s state.Store) state.Header { return g.header(s) })
}

// settle waits until dead letters are acknowledged: the position behind their records
// must not be noted before.
func (g *global) settle(ctx context.Context) error {
	if !g.buried {
		return nil
	}
	acked := make(chan error, 1) // the barrier must not wait
	g.lane.Barrier(func(err error) { acked <- err })
	select {
	case err := <-acked:
		g.buried = err != nil
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *global) unflushed() (bytes int64) {
	for _, o := range g.stores {
		bytes += o.store.Unflushed()
	}
	return bytes
}

// note makes the stores durable, and then how far they are.
func (g *global) note() error {
	g.notedAt = time.Now()
	if !g.unnoted {
		return nil
	}
	for _, o := range g.stores {
		if err := o.store.Flush(); err != nil {
			return fmt.Errorf("flush store %q: %w", o.store.Name(), err)
		}
	}
	for _, p := range g.parts {
		h := g.place(p)
		h.Position, h.LeaderEpoch, h.AppliedAt = p.position.Load(), p.epoch, g.notedAt.UnixMilli()
		if err := g.noted.Put(p.Num, h.Append(nil), 0); err != nil {
			return err
		}
	}
	l, err := g.noted.Seal()
	if err == nil {
		err = g.noted.Commit(l, state.Header{})
	}
	if err == nil {
		err = g.noted.Flush()
	}
	g.unnoted = err != nil
	return err
}

// open opens the stores. Those that do not fit are set aside, and read from the start.
func (g *global) open(ctx context.Context) error {
	path := g.app.dir.global(g.app.clusterID, g.sub.Name)
	for try := 0; ; try++ {
		err := g.tryOpen(ctx, path)
		rebuild, ok := errors.AsType[*errRebuild](err)
		if !ok || try > 0 {
			return err
		}
		if err := g.close(); err != nil {
			g.app.log.Debug("close stores that are set aside", "topic", g.sub.Name, "err", err)
		}
		g.app.log.Warn("a global table is set aside and read again from its topic", "topic", g.sub.Name, "path", path, "cause", rebuild.cause)
		if err := g.app.cfg.Stores.SetAside(path, rebuild.cause); err != nil {
			return fmt.Errorf("set state aside: %w", err)
		}
	}
}

func (g *global) tryOpen(ctx context.Context, path string) (err error) {
	if g.db, err = g.app.cfg.Stores.Open(path); errors.Is(err, state.ErrUnusable) {
		return &errRebuild{err.Error()}
	}
	if err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	base, err := g.db.Base("positions of the topic") // no store has a name with a space
	if err != nil {
		return fmt.Errorf("open the positions: %w", err)
	}
	g.noted = state.OpenKeyValue("positions", serde.Int32, serde.Bytes, base, state.Options{})
	for _, def := range g.sub.Stores {
		if err := g.openStore(def); err != nil {
			return err
		}
	}
	if err := g.locate(ctx); err != nil {
		return err
	}
	g.task, err = NewTask(TaskConfig{
		Sub: g.sub, Stores: storesOf(&slot{stores: g.stores}), Out: deadOutputs{g}, Now: time.Now().UnixMilli(), MaxIdle: -1,
		Policies: g.app.cfg.Policies, Pause: func(ms int64) error { return pause(g.app.hard, time.Duration(ms)*time.Millisecond) },
		Report: func(e *RecordError) { g.app.log.Warn("a global table goes on without a record that failed", "err", e) },
	})
	return err
}

func (g *global) openStore(def *plan.Store) error {
	base, err := g.db.Base(def.Name)
	if err != nil {
		return fmt.Errorf("open the base of store %q: %w", def.Name, err)
	}
	o := &openStore{base: base, store: def.Open(base, g.app.cfg.StoreOptions)}
	g.stores = append(g.stores, o)
	have, ok, err := base.Header()
	switch {
	case errors.Is(err, state.ErrDamaged) || errors.Is(err, state.ErrUnusable):
		return &errRebuild{fmt.Sprintf("store %q: %v", def.Name, err)}
	case err != nil:
		return fmt.Errorf("read the header of store %q: %w", def.Name, err)
	case ok:
		if cause := have.Differs(g.header(o.store)); cause != "" {
			return &errRebuild{fmt.Sprintf("store %q: %s", def.Name, cause)}
		}
	}
	return nil
}

// header is that of a global store: it holds all partitions, so it says nothing of
// how far it is.
func (g *global) header(s state.Store) state.Header {
	return state.Header{
		Cluster: g.app.clusterID, ChangelogID: g.app.topics.Load().topics[g.sub.Name].ID, Changelog: g.sub.Name, Partition: -1,
		LeaderEpoch: state.NoEpoch, Kind: s.Kind(), Serdes: s.Serdes(), Format: state.Format,
	}
}

// place is what is noted of a partition, but for the position.
func (g *global) place(p *globalPart) state.Header {
	return state.Header{
		Cluster: g.app.clusterID, ChangelogID: g.app.topics.Load().topics[p.Topic].ID, Changelog: p.Topic, Partition: p.Num, Format: state.Format,
	}
}

// locate finds where to read each partition from, and whether what was read of it is
// still true.
func (g *global) locate(ctx context.Context) error {
	var parts []link.Partition
	for _, p := range g.parts {
		parts = append(parts, p.Partition)
	}
	ranges, err := g.app.cluster.Ranges(ctx, parts)
	if err != nil {
		return err
	}
	for _, p := range g.parts {
		p.epoch = state.NoEpoch
		p.end.Store(ranges[p.Partition].End)
		b, _, ok, err := g.noted.Get(p.Num)
		if err != nil {
			return &errRebuild{err.Error()}
		}
		if !ok {
			p.position.Store(ranges[p.Partition].Start)
			continue
		}
		have, err := state.ParseHeader(b)
		if err != nil {
			return &errRebuild{err.Error()}
		}
		cause, err := checker{g.app.cluster, time.Now()}.misfit(ctx, have, g.place(p), ranges[p.Partition])
		if err != nil {
			return err
		}
		if cause != "" {
			return &errRebuild{cause}
		}
		p.position.Store(have.Position)
		p.epoch = have.LeaderEpoch
	}
	return nil
}

func (g *global) close() error {
	var errs []error
	if g.lane != nil {
		g.lane.Close()
	}
	for _, o := range g.stores {
		errs = append(errs, o.store.Close())
	}
	if g.noted != nil {
		errs = append(errs, g.noted.Close())
	}
	if g.db != nil {
		errs = append(errs, g.db.Close())
	}
	g.stores, g.noted, g.db, g.task, g.lane = nil, nil, nil, nil, nil
	return errors.Join(errs...)
}

// deadOutputs are the outputs of what writes no topics but those of dead letters.
type deadOutputs struct{ g *global }

// Output implements [Outputs]. The lane is the global's own: it is opened when it is
// needed, which is hardly ever.
func (o deadOutputs) Output(topic string) plan.Output {
	g := o.g
	if g.lane == nil {
		g.lane = g.app.cluster.Lane()
	}
	send := g.app.output(&g.lane, topic, link.AnyPartition)
	return func(key, value []byte, timestamp int64, headers []plan.Header) error {
		g.buried = true
		return send(key, value, timestamp, headers)
	}
}
