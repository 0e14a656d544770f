// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/runtime/link"
)

// Bounds of the wait before tasks are started again, and how long without a failure
// makes the next one the first again.
const (
	firstRestart = time.Second
	lastRestart  = 30 * time.Second
	calm         = 2 * time.Minute
)

// failed ends what an error ends: the worker's tasks, which are started again, or the
// App.
func (w *worker) failed(err error) {
	if w.app.cfg.OnFailure != RestartTasks || !passes(err) {
		for _, s := range w.slots {
			w.discard(s)
		}
		w.app.fail(err)
		return
	}
	if w.failure != nil {
		return
	}
	w.failure = err
	for _, s := range w.slots {
		w.discard(s)
	}
	if w.inFlight == nil { // else finishCommit goes on
		w.restart()
	}
}

// passes tells whether a failure may be over when the tasks are started again.
func passes(err error) bool {
	return !errors.Is(err, link.ErrFenced) && !errors.Is(err, link.ErrClosed) && !errors.Is(err, context.Canceled)
}

// restart starts the tasks again from the last commit, in a lane of their own.
func (w *worker) restart() {
	now, err := time.Now(), w.failure
	w.failure = nil
	if now.Sub(w.lastFailure) > calm {
		w.failures = 0
	}
	delay := min(firstRestart<<min(w.failures, 10), lastRestart)
	w.failures++
	w.lastFailure = now
	if !w.newLane() {
		w.app.fail(err)
		return
	}
	w.app.restarts.Add(1)
	w.app.log.Error("tasks have failed and are started again from the last commit", "tasks", len(w.slots), "after", delay, "err", err)
	for _, s := range slices.Clone(w.slots) {
		w.app.again(s, delay)
		if !isClosed(s.released) {
			w.finish(s)
		}
	}
	w.app.refresh()
}

// newLane replaces a lane that may have failed. false: the App is closing.
func (w *worker) newLane() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.laneClosed {
		return false
	}
	w.lane.Close()
	w.lane = w.app.cluster.Lane()
	return true
}

func (w *worker) closeLane() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.laneClosed = true
	w.lane.Close()
}

// again puts a new slot in place of one that has failed, unless that is ending anyway.
func (a *App) again(s *slot, delay time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing || s.phase == ending || a.slots[s.id] != s {
		return
	}
	parts := slices.Collect(maps.Keys(s.have))
	a.forget(s)
	s.phase = ending
	s.drop()
	s.closeQueues()
	a.member.Pause(parts...)
	for _, p := range parts {
		delete(a.owners, p)
	}
	for _, p := range parts {
		a.attach(p, delay, true)
	}
	a.begin()
}

// rewind has the inputs of a task that comes back fetched from where it stands.
func (a *App) rewind(s *slot) error {
	a.mu.Lock()
	a.seeks = append(a.seeks, s)
	if a.poke != nil {
		a.poke()
	}
	a.mu.Unlock()
	select {
	case <-s.sought:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// seek does what rewind asks for, in the fetch loop: all that was fetched before is
// delivered, and nobody takes partitions away.
func (a *App) seek() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.seeks {
		to := map[link.Partition]int64{}
		for p, in := range s.inputs() {
			if a.owners[p] == s {
				to[p] = in.position.Load()
			}
		}
		a.member.Seek(to)
		s.rewinding = false
		close(s.sought)
	}
	a.seeks = nil
}
