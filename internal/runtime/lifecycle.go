// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"sync"
)

// A State is what an App is doing.
//
//	Created -> Rebalancing <-> Running -> Closing -> Closed
//	              ^               |           \
//	              v               v            -> Failed
//	            WaitingForBroker (from any but the last three, and back)
type State int32

// The states of an App.
const (
	Created          State = iota // not connected yet
	WaitingForBroker              // no broker can be reached
	Rebalancing                   // joining the group, or restoring tasks: others may run
	Running                       // all tasks of this instance run
	Closing                       // committing, releasing, leaving
	Closed                        // closed, as asked
	Failed                        // closed by an error: see App.Err
)

// String names the state in words.
func (s State) String() string {
	names := [...]string{"created", "waiting for the broker", "rebalancing", "running", "closing", "closed", "failed"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("State(%d)", int32(s))
	}
	return names[s]
}

// lifecycle holds the state and tells the listener of its changes, in order, on a
// goroutine of the App's.
type lifecycle struct {
	listener func(State)

	mu    sync.Mutex
	state State
	told  []State       // not yet handed to the listener
	wake  chan struct{} // capacity 1: something was added to told, or over
	over  bool
}

func newLifecycle(listener func(State)) *lifecycle {
	return &lifecycle{listener: listener, wake: make(chan struct{}, 1)}
}

func (l *lifecycle) get() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

func (l *lifecycle) set(s State) {
	l.mu.Lock()
	if l.state != s {
		l.state = s
		l.told = append(l.told, s)
	}
	l.mu.Unlock()
	signal(l.wake)
}

// end lets run return once everything is told.
func (l *lifecycle) end() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	signal(l.wake)
}

func (l *lifecycle) run() {
	for range l.wake {
		l.mu.Lock()
		told, over := l.told, l.over
		l.told = nil
		l.mu.Unlock()
		for _, s := range told {
			if l.listener != nil {
				l.listener(s)
			}
		}
		if over {
			return
		}
	}
}

// signal wakes who waits on a channel of capacity 1, now or at its next look.
func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
