// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/invariant"
)

// A requestBudget bounds the bytes of all requests that are being read or
// handled. A frame is charged as its bytes arrive, never by what its length
// claims: who sends little can hold little. The beginnings of frames have a part of
// the memory for themselves: however much waits in long frames, the short requests
// of others (heartbeats, fetches) go on.
type requestBudget struct{ beginnings, rests *requestMemory }

// beginning is how much of a frame is charged to the beginnings.
const beginning = 64 << 10

func newRequestBudget(limit int64) *requestBudget {
	quarter := limit / 4
	return &requestBudget{newRequestMemory(quarter), newRequestMemory(limit - quarter)}
}

// inUse is the sum of all charges.
func (b *requestBudget) inUse() int64 { return b.beginnings.inUse() + b.rests.inUse() }

// A frameCharge is what one frame uses of both parts.
type frameCharge struct{ beginning, rest charge }

func (b *requestBudget) charge() *frameCharge {
	return &frameCharge{charge{mem: b.beginnings}, charge{mem: b.rests}}
}

// add takes n more bytes behind those that the frame has, and waits for them if
// need be. Who waits for the rest holds a beginning, never the other way round:
// nobody waits for himself.
func (c *frameCharge) add(ctx context.Context, has, n int) error {
	if has+n <= beginning {
		return c.beginning.add(ctx, int64(n))
	}
	return c.rest.add(ctx, int64(n))
}

// waits notes that the request waits for its client, and tells whether others
// wait for memory that it holds. If they come to do so later, hurry is called.
func (c *frameCharge) waits(hurry func()) (pressed bool) {
	pressed = c.beginning.waits(hurry)
	return c.rest.waits(hurry) || pressed
}

// came ends waits.
func (c *frameCharge) came() {
	c.beginning.came()
	c.rest.came()
}

// release gives all back. It may be called twice.
func (c *frameCharge) release() {
	c.beginning.release()
	c.rest.release()
}

// requestMemory is a bounded amount of memory.
//
// When all is in use, connections wait. Frames that are half read must then
// arrive at some speed or their connections end (see hurry). And so that
// half-read frames that fill the memory do not wait for each other, one at a
// time may go over the limit, until its request is done.
type requestMemory struct {
	mu        sync.Mutex
	used      int64
	limit     int64
	overdraft *charge                   // may exceed the limit
	waiters   map[*charge]chan struct{} // to be closed when something was freed
	reading   map[*charge]func()        // waits for its client; called once, it waits no longer than hurryUp
}

// hurryUp is how long a chunk of a frame may take to arrive while others wait
// for memory.
const hurryUp = time.Second

func newRequestMemory(limit int64) *requestMemory {
	return &requestMemory{limit: limit, waiters: make(map[*charge]chan struct{}), reading: make(map[*charge]func())}
}

// A charge is what one request uses.
type charge struct {
	mem *requestMemory
	n   int64
}

// add takes n more bytes, and waits for them if need be.
func (c *charge) add(ctx context.Context, n int64) error {
	for {
		freed := c.tryAdd(n)
		if freed == nil {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			c.giveUp()
			return ctx.Err()
		}
	}
}

// tryAdd returns nil if it could take the bytes, else a channel that is closed
// when it should be tried again.
func (c *charge) tryAdd(n int64) <-chan struct{} {
	m := c.mem
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used+n > m.limit {
		if m.overdraft == nil {
			m.overdraft = c
		}
		if m.overdraft != c {
			ch := make(chan struct{})
			m.waiters[c] = ch
			for r, hurry := range m.reading {
				hurry()
				delete(m.reading, r)
			}
			return ch
		}
	}
	delete(m.waiters, c)
	m.used += n
	c.n += n
	return nil
}

// set makes it n bytes, without a wait.
func (c *charge) set(n int64) {
	if n < c.n {
		c.release()
	}
	c.mem.mu.Lock()
	defer c.mem.mu.Unlock()
	c.mem.used += n - c.n
	c.n = n
}

func (c *charge) giveUp() {
	c.mem.mu.Lock()
	defer c.mem.mu.Unlock()
	delete(c.mem.waiters, c)
}

// waits notes that the request waits for its client, and tells whether others
// wait for memory already. If they come to do so later, hurry is called.
func (c *charge) waits(hurry func()) (pressed bool) {
	c.mem.mu.Lock()
	defer c.mem.mu.Unlock()
	if len(c.mem.waiters) > 0 {
		return true
	}
	c.mem.reading[c] = hurry
	return false
}

// came ends waits.
func (c *charge) came() {
	c.mem.mu.Lock()
	defer c.mem.mu.Unlock()
	delete(c.mem.reading, c)
}

// release gives all back. It may be called twice.
func (c *charge) release() {
	m := c.mem
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.overdraft == c {
		m.overdraft = nil
	}
	m.used -= c.n
	c.n = 0
	for k, ch := range m.waiters {
		close(ch)
		delete(m.waiters, k)
	}
}

// inUse is the sum of all charges.
func (m *requestMemory) inUse() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// Buffers of frames and answers are reused up to pooledBytes, those of short
// frames by themselves: a fetch that is parked holds its frame, and is not to hold
// what a long produce has left behind.
const (
	shortBytes  = 2 << 10
	pooledBytes = 1 << 20
)

var (
	shortBuffers = newBuffers(shortBytes)
	longBuffers  = newBuffers(16 << 10)
)

func newBuffers(n int) *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, 0, n); return &b }}
}

// getBuffer returns an empty buffer for about n bytes.
func getBuffer(n int) *[]byte {
	if n <= shortBytes {
		return shortBuffers.Get().(*[]byte)
	}
	return longBuffers.Get().(*[]byte)
}

// putBuffer takes back a buffer that nobody looks at any more.
func putBuffer(b *[]byte) {
	if invariant.Enabled {
		clear(*b) // what still aliases it fails at once
	}
	*b = (*b)[:0]
	switch {
	case cap(*b) <= shortBytes:
		shortBuffers.Put(b)
	case cap(*b) <= pooledBytes:
		longBuffers.Put(b)
	}
}
