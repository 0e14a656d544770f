// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/state"
)

// A commit is what a worker's tasks have done since the last one, on its way.
type commit struct {
	parts   []commitPart
	offsets map[link.Partition]link.Position
	logs    []link.Partition // changelog partitions that were appended to
	began   time.Time
	acked   chan error // capacity 1: the answer of the barrier
	epochs  map[link.Partition]link.Position
}

type commitPart struct {
	slot   *slot
	sealed *Sealed
}

// has tells whether the commit covers a slot. A nil commit covers none.
func (c *commit) has(s *slot) bool {
	return c != nil && slices.ContainsFunc(c.parts, func(p commitPart) bool { return p.slot == s })
}

// commitIfDue starts a commit when the interval is over or too much is open.
func (w *worker) commitIfDue(now time.Time) {
	due := now.Sub(w.lastCommit) >= w.app.cfg.CommitInterval
	if w.inFlight != nil || !due && w.dirty < w.openBytes() && !w.hurried() {
		return
	}
	w.lastCommit = now
	w.flushOld(now)
	if touched := w.touched(); len(touched) > 0 {
		w.startCommit(touched)
	}
}

func (w *worker) touched() []*slot {
	var touched []*slot
	for _, s := range w.slots {
		if s.touched {
			touched = append(touched, s)
		}
	}
	return touched
}

// startCommit seals tasks, appends their changelogs, and hands the rest to the
// committer: processing goes on in new layers.
func (w *worker) startCommit(slots []*slot) {
	c := &commit{began: time.Now(), offsets: map[link.Partition]link.Position{}, acked: make(chan error, 1)}
	for _, s := range slots {
		if err := w.seal(c, s); err != nil {
			w.failed(err)
			return
		}
	}
	w.lane.Barrier(func(err error) { c.acked <- err })
	w.inFlight = c
	w.commits <- c
}

func (w *worker) seal(c *commit, s *slot) error {
	sealed, err := s.task.Seal()
	if err != nil {
		return err
	}
	for _, l := range sealed.Layers {
		d := s.store(l.Store).changelog
		err := l.Layer.Each(func(ch state.Change) error {
			return w.lane.Append(d, ch.Key, ch.Value, ch.Timestamp, nil)
		})
		if err != nil {
			return fmt.Errorf("task %s: changelog of store %q: %w", s.id, l.Store.Name(), err)
		}
		c.logs = append(c.logs, link.Partition{Topic: d.Topic, Num: d.Num})
	}
	for topic, pos := range sealed.Next {
		c.offsets[link.Partition{Topic: topic, Num: s.id.Partition}] = link.Position{
			Offset: pos.Offset, Epoch: pos.Epoch, Metadata: sealed.Metadata[topic],
		}
	}
	c.parts = append(c.parts, commitPart{s, sealed})
	s.touched = false
	return nil
}

func (s *slot) store(st state.Store) *openStore {
	i := slices.IndexFunc(s.stores, func(o *openStore) bool { return o.store == st })
	return s.stores[i]
}

// runCommits waits for what the broker has to say to a worker's commits.
func (w *worker) runCommits(ctx context.Context) {
	purge := purger{app: w.app, last: time.Now()}
	for {
		select {
		case c := <-w.commits:
			err := w.settle(ctx, c)
			if ctx.Err() != nil {
				return
			}
			w.do(func() { w.finishCommit(c, err) })
			if err == nil {
				purge.after(ctx, c)
			}
		case <-ctx.Done():
			return
		}
	}
}

// settle waits until all is acknowledged, then commits the offsets.
func (w *worker) settle(ctx context.Context, c *commit) error {
	select {
	case err := <-c.acked:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	if len(c.logs) > 0 {
		// The epoch that goes into a base's header must not be older than that of the
		// last record, or a restart of the broker would look like a lost log: the
		// leader says in which one it is now. Without an answer none is noted.
		ends, err := w.app.cluster.Ends(ctx, c.logs)
		if err != nil && ctx.Err() == nil {
			w.app.log.Debug("leader epochs of changelogs are not known", "err", err)
		}
		c.epochs = ends
	}
	return w.app.member.Commit(ctx, c.live())
}

// live are the offsets of tasks that were not dropped meanwhile: another instance may
// have gone on with those, and the partitions may be back since.
func (c *commit) live() map[link.Partition]link.Position {
	live := maps.Clone(c.offsets)
	for _, p := range c.parts {
		if p.slot.cut.Err() == nil {
			continue
		}
		for in := range p.slot.inputs() {
			delete(live, in)
		}
	}
	return live
}

// finishCommit hands the layers of a commit to the bases, and lets those tasks go
// that waited for it.
func (w *worker) finishCommit(c *commit, err error) {
	w.inFlight = nil
	defer w.app.roomier()
	if w.failure != nil {
		w.restart()
		return
	}
	if err != nil {
		w.failed(err)
		return
	}
	now := time.Now()
	w.app.commits.Add(1)
	w.app.committing.Add(int64(now.Sub(c.began)))
	for _, p := range c.parts {
		if p.slot.discarded {
			continue
		}
		if err := w.apply(c, p, now); err != nil {
			w.failed(err)
			return
		}
		if p.slot.leaving && !p.slot.touched {
			w.finish(p.slot)
		}
	}
	leaving := slices.DeleteFunc(w.touched(), func(s *slot) bool { return !s.leaving })
	if len(leaving) > 0 {
		w.startCommit(leaving)
	}
}

func (w *worker) apply(c *commit, p commitPart, now time.Time) error {
	s := p.slot
	err := s.task.Commit(p.sealed, func(st state.Store) state.Header {
		o := s.store(st)
		o.header.Position = max(o.header.Position, o.changelog.Last()+1)
		o.header.AppliedAt = now.UnixMilli()
		o.header.LeaderEpoch = state.NoEpoch
		if e, ok := c.epochs[link.Partition{Topic: o.changelog.Topic, Num: o.changelog.Num}]; ok {
			o.header.LeaderEpoch = e.Epoch
		}
		return o.header
	})
	if err != nil {
		return err
	}
	s.noteLogs()
	for part, pos := range c.offsets {
		if in := s.inputs()[part]; in != nil {
			in.committed.Store(pos.Offset)
		}
	}
	dirty, cached := s.task.StateBytes()
	w.dirty += dirty - s.dirty
	s.dirty = dirty
	s.stateDirty.Store(dirty)
	s.stateCached.Store(cached)
	return w.flush(s, func(o *openStore) bool { return o.store.Unflushed() >= w.app.cfg.BaseLagBytes }, now)
}

// flushOld makes durable what has waited long enough.
func (w *worker) flushOld(now time.Time) {
	for _, s := range w.slots {
		err := w.flush(s, func(o *openStore) bool {
			return o.store.Unflushed() > 0 && now.Sub(o.flushed) >= w.app.cfg.BaseLagTime
		}, now)
		if err != nil {
			w.failed(err)
			return
		}
	}
}

// flush bounds what a crash would have to restore.
func (w *worker) flush(s *slot, due func(*openStore) bool, now time.Time) error {
	for _, o := range s.stores {
		if !due(o) {
			continue
		}
		if err := o.store.Flush(); err != nil {
			return fmt.Errorf("task %s: flush store %q: %w", s.id, o.store.Name(), err)
		}
		o.flushed = now
	}
	return nil
}

// A purger deletes what was read of repartition topics, now and then.
type purger struct {
	app    *App
	last   time.Time
	before map[link.Partition]int64
	told   bool // that the broker does not do it
}

func (p *purger) after(ctx context.Context, c *commit) {
	for part, pos := range c.offsets {
		if p.app.topics.Load().internal[part.Topic] {
			if p.before == nil {
				p.before = map[link.Partition]int64{}
			}
			p.before[part] = pos.Offset
		}
	}
	now := time.Now()
	if len(p.before) == 0 || now.Sub(p.last) < p.app.cfg.PurgeInterval {
		return
	}
	p.last = now
	if err := p.app.cluster.DeleteRecords(ctx, p.before); err != nil && ctx.Err() == nil && !p.told {
		p.told = true
		p.app.log.Info("repartition topics are not purged, and grow", "err", err)
	}
	p.before = nil
}
