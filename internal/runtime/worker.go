// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/runtime/link"
)

// sliceRecords is how many records a worker processes between two looks at the
// clock and at its messages.
const sliceRecords = 512

// A worker runs its tasks, one at a time, and commits them together. What others
// want of it comes as messages, run on its goroutine in the order of do.
type worker struct {
	app  *App
	lane link.Lane
	load int // slots that are its; guarded by App.mu

	wake chan struct{} // capacity 1: something was added to inbox or ready

	mu         sync.Mutex
	laneClosed bool // for good; lane changes under mu
	inbox      []func()
	ready      []*slot // whose queues have something, each once

	// Its own.
	slots       []*slot
	inFlight    *commit      // at most one
	commits     chan *commit // to its committer; capacity 1, so that sending never blocks
	lastCommit  time.Time
	dirty       int64
	stopped     bool
	failure     error // of tasks that are to be started again, when inFlight has ended
	failures    int   // one after the other
	lastFailure time.Time
}

func newWorker(a *App) *worker {
	return &worker{
		app: a, lane: a.cluster.Lane(), wake: make(chan struct{}, 1), commits: make(chan *commit, 1),
	}
}

// do has fn run on the worker's goroutine.
func (w *worker) do(fn func()) {
	w.mu.Lock()
	w.inbox = append(w.inbox, fn)
	w.mu.Unlock()
	signal(w.wake)
}

// offer tells the worker that a slot's queue has something.
func (w *worker) offer(s *slot) {
	w.mu.Lock()
	w.ready = append(w.ready, s)
	w.mu.Unlock()
	signal(w.wake)
}

func (w *worker) run(ctx context.Context) {
	w.lastCommit = time.Now()
	timer := time.NewTimer(w.app.cfg.CommitInterval)
	defer timer.Stop()
	for {
		w.takeMessages()
		if w.stopped || ctx.Err() != nil {
			return
		}
		now := time.Now()
		w.tick(now)
		worked := w.step(now)
		w.commitIfDue(now)
		if worked {
			continue
		}
		timer.Reset(w.untilDue(now))
		select {
		case <-w.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// untilDue is the time to the next commit or punctuation, or to the end of a task's
// wait for an input. A commit in flight wakes the worker itself.
func (w *worker) untilDue(now time.Time) time.Duration {
	d := w.app.cfg.CommitInterval
	if w.inFlight == nil {
		d = w.lastCommit.Add(d).Sub(now)
	}
	for _, s := range w.slots {
		if next := min(s.task.NextWall(), s.task.NextRun()); next != never && !s.leaving {
			d = min(d, time.UnixMilli(next).Sub(now))
		}
	}
	return max(d, 0)
}

// tick tells the tasks the time.
func (w *worker) tick(now time.Time) {
	ms := now.UnixMilli()
	for _, s := range w.slots {
		if s.leaving || s.discarded {
			continue
		}
		if s.task.NextRun() <= ms {
			s.offer()
		}
		if s.task.NextWall() > ms {
			continue
		}
		if _, err := s.task.Punctuate(ms); err != nil {
			w.failed(err)
			return
		}
		w.ran(s)
	}
}

// ran notes that a task may have changed its stores.
func (w *worker) ran(s *slot) {
	s.touched = true
	dirty := s.task.DirtyBytes()
	w.dirty += dirty - s.dirty
	s.dirty = dirty
	s.streamTime.Store(s.task.StreamTime())
	if n := s.task.Dropped(); n != s.drops {
		drops := s.task.Drops()
		s.dropped.Store(&drops)
		s.drops = n
	}
}

func (w *worker) takeMessages() {
	w.mu.Lock()
	inbox := w.inbox
	w.inbox = nil
	w.mu.Unlock()
	for _, fn := range inbox {
		fn()
	}
}

// step processes a slice of one task's records. false means that there is nothing
// to do, or that a commit must end first.
func (w *worker) step(now time.Time) bool {
	if w.inFlight != nil && w.dirty >= 2*w.openBytes() || w.stuffed(now) {
		return false
	}
	s := w.next()
	if s == nil {
		return false
	}
	if !s.started || s.leaving || s.discarded {
		return true // start offers it again
	}
	if w.process(s, now) {
		w.requeue(s)
		return true
	}
	s.listed.Store(false)
	if w.refillable(s) { // something came between the look and the line above
		s.offer()
	}
	return true
}

func (w *worker) next() *slot {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ready) == 0 {
		return nil
	}
	s := w.ready[0]
	w.ready = slices.Delete(w.ready, 0, 1)
	return s
}

func (w *worker) requeue(s *slot) {
	w.mu.Lock()
	w.ready = append(w.ready, s)
	w.mu.Unlock()
}

// process gives the task what has come and runs a slice of it. false means that
// there was nothing that could be processed.
func (w *worker) process(s *slot, now time.Time) bool {
	w.refill(s)
	n, err := s.task.Run(now.UnixMilli(), sliceRecords)
	if err != nil {
		w.failed(err)
		return true
	}
	if n == 0 {
		return false
	}
	s.processed.Add(int64(n))
	for p, in := range s.inputs() {
		if at := s.task.Position(p.Topic); at >= 0 {
			in.position.Store(at)
		}
		if in.given && s.task.Pending(p.Topic) == 0 {
			in.queue.done(in.bytes)
			in.given = false
		}
	}
	w.ran(s)
	return true
}

// refill gives the task the next batch of each input that it has nothing of.
func (w *worker) refill(s *slot) {
	for p, in := range s.inputs() {
		if s.task.Pending(p.Topic) > 0 {
			continue
		}
		b, ok := in.queue.take()
		if !ok {
			s.task.Behind(p.Topic, in.fetched.Load() < in.end.Load())
			continue
		}
		in.given, in.bytes = true, b.Bytes
		if err := s.task.Offer(p.Topic, b.Records); err != nil {
			w.failed(err)
			return
		}
	}
}

func (w *worker) refillable(s *slot) bool {
	for p, in := range s.inputs() {
		if empty, _ := in.queue.empty(); !empty && s.task.Pending(p.Topic) == 0 {
			return true
		}
	}
	return false
}

// openBytes is this worker's share of the bound on what is not committed.
func (w *worker) openBytes() int64 { return w.app.cfg.OpenBytes / int64(len(w.app.workers)) }

// start takes a restored task over.
func (w *worker) start(s *slot) {
	w.slots = append(w.slots, s)
	now := time.Now()
	for _, st := range s.stores {
		st.flushed = now
	}
	s.noteLogs()
	s.started = true
	s.listed.Store(true)
	w.requeue(s)
}

// end lets a task go: with a commit of what it has done, or without.
func (w *worker) end(s *slot, drop bool) {
	if isClosed(s.released) {
		return
	}
	if drop {
		w.discard(s)
		w.finish(s)
		return
	}
	if s.leaving {
		return
	}
	s.leaving = true
	switch {
	case w.inFlight.has(s): // finishCommit goes on
	case !s.touched:
		w.finish(s)
	case w.inFlight == nil:
		w.startCommit([]*slot{s})
	}
}

// discard takes a task out of everything that is to come.
func (w *worker) discard(s *slot) {
	s.discarded = true
	s.touched = false
}

// finish gives a task's partitions back, and has its stores closed elsewhere.
func (w *worker) finish(s *slot) {
	w.slots = slices.DeleteFunc(w.slots, func(x *slot) bool { return x == s })
	w.dirty -= s.dirty
	close(s.released)
	w.app.wg.Go(func() { w.app.closeSlot(s) })
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
