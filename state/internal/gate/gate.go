// SPDX-License-Identifier: Apache-2.0

// Package gate lets readers in until a place is closed, and makes the one who
// closes it wait until the last reader has left. Unlike with an RWMutex a reader
// who is inside and tries to enter again while Close waits is refused, not
// blocked, and entering takes no lock.
package gate

import (
	"sync"
	"sync/atomic"
)

const closed = 1 << 62

// A Gate is open at first. The zero value is ready. Safe for concurrent use.
type Gate struct {
	state atomic.Int64  // readers inside, plus closed
	mu    sync.Mutex    // held by Close
	empty chan struct{} // one token at most: the last reader has left
}

// Enter reports whether the gate is open. Each true is paid back with a Leave.
func (g *Gate) Enter() bool {
	if g.state.Add(1)&closed == 0 {
		return true
	}
	g.Leave()
	return false
}

// Leave ends what an Enter began.
func (g *Gate) Leave() {
	if g.state.Add(-1) == closed {
		// A late Enter that was refused may come to zero again: one token is enough.
		select {
		case g.empty <- struct{}{}:
		default:
		}
	}
}

// Close closes the gate and waits until all have left. It reports whether this
// call was the first.
func (g *Gate) Close() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state.Load()&closed != 0 {
		return false
	}
	g.empty = make(chan struct{}, 1) // seen by all who see the closed bit
	if g.state.Add(closed) != closed {
		<-g.empty
	}
	return true
}
