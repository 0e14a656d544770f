// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"sync"
	"time"
)

// deadline is a moment after which a channel is closed. Moving it gives a new
// channel to those who ask afterwards and wakes those who wait for the old one,
// so that they ask again.
type deadline struct {
	mu    sync.Mutex
	at    time.Time
	timer *time.Timer
	ch    chan struct{} // nil until somebody asks
	moved bool          // ch was closed by set, not by time
}

// expired returns a channel that is closed once the deadline has passed, or
// moves.
func (d *deadline) expired() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ch == nil || d.moved {
		d.arm()
	}
	return d.ch
}

// passed tells whether the deadline lies behind. A closed channel alone does not
// say so: it may have been closed because the deadline moved.
func (d *deadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.at.IsZero() && !time.Now().Before(d.at)
}

// arm makes a new channel and a timer that closes it. d.mu is held.
func (d *deadline) arm() {
	ch := make(chan struct{})
	d.ch, d.moved = ch, false
	if d.at.IsZero() {
		return
	}
	left := time.Until(d.at)
	if left <= 0 {
		close(ch)
		return
	}
	d.timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.ch == ch && !d.moved {
			close(ch)
		}
	})
}

// set moves the deadline; the zero time takes it away.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if d.ch == nil || d.moved {
		return
	}
	select {
	case <-d.ch: // it had passed: nobody waits on it
	default:
		close(d.ch)
	}
	d.moved = true
}
