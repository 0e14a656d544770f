// SPDX-License-Identifier: Apache-2.0

package broker

// A waiter is somebody who waits for the high watermark of partitions to move:
// a parked fetch, a produce with acks=all. Nothing here polls: the partition
// wakes its waiters, and each looks at its own condition again.
type waiter struct {
	// wake has room for one: a wake-up that comes while the waiter is looking
	// is not lost, and a partition never waits for a waiter.
	wake chan struct{}
}

func newWaiter() *waiter { return &waiter{wake: make(chan struct{}, 1)} }

func (w *waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default: // it has not yet seen the last one
	}
}

// watch has p wake w at each move of its high watermark, until unwatch.
func (p *partition) watch(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiters[w] = struct{}{}
}

func (p *partition) unwatch(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiters, w)
}

func (p *partition) wakeLocked() {
	for w := range p.waiters {
		w.signal()
	}
}
