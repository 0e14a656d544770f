// SPDX-License-Identifier: Apache-2.0

package link

import "sync"

// A gate keeps the handlers of a group and what a poll has given apart: a handler waits
// until what was polled is delivered, and a poll until no handler runs or waits to.
type gate struct {
	mu       sync.Mutex
	changed  sync.Cond
	polled   bool
	handlers int
	open     bool // for good: nobody waits
}

func newGate() *gate {
	g := &gate{}
	g.changed.L = &g.mu
	return g
}

// poll keeps handlers out until delivered. It tells whether they were not kept out already.
func (g *gate) poll() (first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.polled {
		return false
	}
	for g.handlers > 0 && !g.open {
		g.changed.Wait()
	}
	g.polled = true
	return true
}

// delivered lets handlers run.
func (g *gate) delivered() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.polled = false
	g.changed.Broadcast()
}

// handle runs a handler.
func (g *gate) handle(f func()) {
	g.mu.Lock()
	g.handlers++
	for g.polled && !g.open {
		g.changed.Wait()
	}
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.handlers--
		g.changed.Broadcast()
	}()
	f()
}

// end lets everybody pass from now on.
func (g *gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = true
	g.changed.Broadcast()
}
