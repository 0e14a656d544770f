// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/state"
)

// A phase is how far a slot is. It only grows, but for aborts.
type phase int

const (
	waiting   phase = iota // for the rest of its partitions
	restoring              // its stores are opened and brought up to date
	running                // its worker has it
	ending                 // told to release or to drop it
)

// A slot is a task of this instance, from the assignment of its first partition
// until its stores are closed.
type slot struct {
	id     TaskID
	sub    *plan.Sub
	need   []link.Partition // it does not begin without these: see topicSet.base
	worker *worker
	// ins are its inputs, from its beginning on; the map is replaced when they grow.
	ins    atomic.Pointer[map[link.Partition]*progress]
	listed atomic.Bool     // the worker knows that there is something to do
	ctx    context.Context // of opening and restoring: the worker's way to end it is a message
	cancel context.CancelFunc
	// cut ends when the task is to end without a commit: of waits between tries.
	cut  context.Context
	drop context.CancelFunc

	released chan struct{} // closed: nothing will be committed for it any more
	closed   chan struct{} // closed: its stores are

	sought    chan struct{} // closed: its inputs are fetched from where it stands
	delay     time.Duration // before it is restored, after a failure
	rewind    bool          // it comes back
	rewinding bool          // and what was fetched is behind the restart; guarded by App.mu

	have  map[link.Partition]bool // guarded by App.mu
	late  []link.Partition        // of have: those that came after its beginning and are no inputs yet; guarded by App.mu
	phase phase                   // guarded by App.mu
	given bool                    // to its worker; guarded by App.mu

	processed           atomic.Int64
	restored, toRestore atomic.Int64 // changelog offsets
	logs                atomic.Int64 // the sum of the next ones that its stores have, -1 until they are restored
	restoreBegan        atomic.Int64 // ns since the Unix epoch; 0: not yet
	restoreTold         time.Time    // of the restore's goroutine: when the log was told last
	// What the worker tells of the task, after each slice or commit.
	streamTime, stateDirty, stateCached atomic.Int64
	dropped                             atomic.Pointer[map[Drop]int64]

	// The worker's, once it has it.
	started   bool
	task      *Task
	db        state.DB
	stores    []*openStore
	origins   map[string]Origin // where its inputs stood when it was located
	touched   bool              // something was processed since the last seal
	dirty     int64
	drops     int64 // those that dropped tells
	discarded bool  // it ends without a commit
	leaving   bool  // it ends with one
}

// progress is how far one input is. Offsets are next ones.
type progress struct {
	position  atomic.Int64 // processed; -1: not known yet
	committed atomic.Int64 // -1: none
	end       atomic.Int64 // of what can be read, as of the last fetch; -1: not known yet
	fetched   atomic.Int64 // -1: not known yet
	internal  bool
	queue     *queue
	given     bool // the task has a batch of it; the worker's, as bytes, its size
	bytes     int64
}

// closeQueues drops what was fetched and not processed, and takes no more.
func (s *slot) closeQueues() {
	for _, in := range s.inputs() {
		in.queue.close()
	}
}

// pause waits before a record is tried again. A task that is dropped ends it.
func (s *slot) pause(ms int64) error {
	return pause(s.cut, time.Duration(ms)*time.Millisecond)
}

// reportEvery is the time between two lines of the log about records of one task that
// a policy went on without.
const reportEvery = time.Second

// report logs what policies go on without, with a count of what was left unsaid.
func (s *slot) report(a *App) func(*RecordError) {
	var last time.Time
	unsaid := 0
	return func(e *RecordError) {
		now := time.Now()
		if now.Sub(last) < reportEvery {
			unsaid++
			return
		}
		a.log.Warn("went on without a record that failed", "task", e.Task, "topic", e.Topic, "partition", e.Partition,
			"offset", e.Offset, "step", e.Node, "stage", e.Stage.String(), "err", e.Err, "others", unsaid)
		last, unsaid = now, 0
	}
}

// offer tells the worker that there is something to do, unless it knows.
func (s *slot) offer() {
	if s.listed.CompareAndSwap(false, true) {
		s.worker.offer(s)
	}
}

// An openStore is a store of a slot with its way to the changelog.
type openStore struct {
	base      state.Base
	store     state.Store
	header    state.Header // as of the last commit
	changelog *link.Dest
	flushed   time.Time
}

func (a *App) newSlot(id TaskID, sub *plan.Sub) *slot {
	s := &slot{
		id: id, sub: sub,
		have:     map[link.Partition]bool{},
		released: make(chan struct{}),
		sought:   make(chan struct{}),
		closed:   make(chan struct{}),
		worker:   a.leastLoaded(),
	}
	known := a.topics.Load()
	for _, topic := range sub.Topics(nil) {
		if id.Partition < known.base[topic] {
			s.need = append(s.need, link.Partition{Topic: topic, Num: id.Partition})
		}
	}
	s.ctx, s.cancel = context.WithCancel(a.hard)
	s.streamTime.Store(NoTime)
	s.logs.Store(-1)
	s.cut, s.drop = context.WithCancel(a.hard)
	s.worker.load++
	return s
}

// inputs are the partitions that the task reads. The map is not changed.
func (s *slot) inputs() map[link.Partition]*progress {
	if ins := s.ins.Load(); ins != nil {
		return *ins
	}
	return nil
}

// newInputs makes inputs of partitions, of which nothing is known yet.
func (a *App) newInputs(s *slot, parts []link.Partition) map[link.Partition]*progress {
	inputs := make(map[link.Partition]*progress, len(parts))
	limit := a.queueBytes() / int64(len(s.inputs())+len(parts))
	for _, p := range parts {
		in := &progress{internal: a.topics.Load().internal[p.Topic]}
		in.position.Store(-1)
		in.committed.Store(-1)
		in.end.Store(-1)
		in.fetched.Store(-1)
		in.queue = &queue{pressure: a.pressure, memory: a.memory, flow: a.member, input: p, limit: limit}
		inputs[p] = in
	}
	return inputs
}

// matches are the topics of patterns among the task's inputs.
func (s *slot) matches() plan.Matches {
	m := plan.Matches{}
	for _, n := range s.sub.Sources {
		if n.Pattern == nil || m[n.Pattern.Expr] != nil {
			continue
		}
		for p := range s.inputs() {
			if n.Pattern.Matches(p.Topic) {
				m[n.Pattern.Expr] = append(m[n.Pattern.Expr], p.Topic)
			}
		}
	}
	return m
}

// leastLoaded picks the worker with the fewest tasks. Under App.mu.
func (a *App) leastLoaded() *worker {
	return slices.MinFunc(a.workers, func(x, y *worker) int { return x.load - y.load })
}

// assigned implements link.MemberConfig.Assigned.
func (a *App) assigned(parts []link.Partition) {
	<-a.joined // the member is known from here on
	a.mu.Lock()
	a.inGroup = true
	known := a.topics.Load()
	for _, p := range parts {
		switch {
		case a.closing:
		case known.has(p):
			a.attach(p, 0, false)
		default: // the leader has seen the topic grow first: the watcher says whether it may
			a.unknown = append(a.unknown, p)
			a.wonder()
		}
	}
	a.begin()
	a.mu.Unlock()
	a.refresh()
}

// attach gives a partition to its task, which begin lets go on. One that comes back,
// perhaps after a delay, has its inputs fetched again from where it stands: what was
// fetched for its last slot is gone. Under App.mu.
func (a *App) attach(p link.Partition, delay time.Duration, back bool) {
	sub := a.topics.Load().subs[p.Topic]
	if sub == nil {
		return
	}
	id := TaskID{sub.Name, p.Num}
	s := a.slots[id]
	if s == nil {
		s = a.newSlot(id, sub)
		s.delay, s.rewind, s.rewinding = delay, back, back
		a.slots[id] = s
	}
	s.have[p] = true
	a.owners[p] = s
	if s.phase != waiting {
		s.late = append(s.late, p)
	}
}

// detach takes partitions away and returns the tasks that lose any. What such a
// task keeps waits in a new slot. Under App.mu.
func (a *App) detach(parts []link.Partition) []*slot {
	var gone []*slot
	a.unknown = slices.DeleteFunc(a.unknown, func(p link.Partition) bool { return slices.Contains(parts, p) })
	for _, p := range parts {
		s := a.owners[p]
		if s == nil {
			continue
		}
		delete(a.owners, p)
		delete(s.have, p)
		if !slices.Contains(gone, s) {
			gone = append(gone, s)
		}
	}
	for _, s := range gone {
		a.forget(s)
		for p := range s.have {
			a.member.Pause(p)
			a.attach(p, s.delay, true)
		}
	}
	a.begin()
	return gone
}

// forget makes room for another slot of the same task, which will wait until the
// stores of this one are closed. Under App.mu.
func (a *App) forget(s *slot) {
	if a.slots[s.id] != s {
		return
	}
	delete(a.slots, s.id)
	a.ended[s.id] = s.closed
	s.worker.load--
}

// revoked implements link.MemberConfig.Revoked: it returns when the tasks are
// committed and released.
func (a *App) revoked(parts []link.Partition) {
	a.mu.Lock()
	gone := a.detach(parts)
	for _, s := range gone {
		a.end(s, false)
	}
	a.mu.Unlock()
	a.refresh()
	limit := time.NewTimer(a.cfg.RebalanceTimeout * 4 / 5)
	defer limit.Stop()
	for _, s := range gone {
		select {
		case <-s.released:
			continue
		case <-a.hard.Done():
			return
		case <-limit.C:
			a.log.Warn("tasks could not be committed before the rebalance ended: they are dropped",
				"tasks", len(gone), "bound", a.cfg.RebalanceTimeout*4/5)
		}
		a.dropAll(gone)
		return
	}
}

// lost implements link.MemberConfig.Lost.
func (a *App) lost(parts []link.Partition) {
	a.mu.Lock()
	gone := a.detach(parts)
	a.mu.Unlock()
	if len(gone) > 0 {
		a.log.Warn("partitions are lost: their tasks are dropped, and go on from the last commit", "tasks", len(gone))
	}
	a.dropAll(gone)
	a.refresh()
}

// dropAll ends tasks without a commit and waits until they are.
func (a *App) dropAll(gone []*slot) {
	a.mu.Lock()
	for _, s := range gone {
		a.end(s, true)
	}
	a.mu.Unlock()
	for _, s := range gone {
		select {
		case <-s.released:
		case <-a.hard.Done():
			return
		}
	}
}

// end starts the end of a slot, with a commit or without. Under App.mu.
func (a *App) end(s *slot, drop bool) {
	was := s.phase
	s.phase = ending
	if drop {
		s.drop()
	}
	s.closeQueues()
	s.cancel()
	switch was {
	case waiting:
		s.drop()
		close(s.released)
		close(s.closed)
	case restoring: // bring sees it
	case running, ending:
		if s.given {
			s.worker.do(func() { s.worker.end(s, drop) })
		}
	}
}

// tasks lists the slots in order of their ids. Under App.mu.
func (a *App) tasks() []*slot {
	return slices.SortedFunc(maps.Values(a.slots), func(x, y *slot) int { return compareID(x.id, y.id) })
}
