// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"math/bits"
	"slices"
	"sync"

	"github.com/millrace/millrace/internal/invariant"
)

// longFrame is from where on frames have buffers of their own kind. A frame of a
// producer is some megabytes long: made anew, its buffer costs more, in memory that
// the system takes back and gives again page by page, than all else that is done
// with it.
const longFrame = 64 << 10

// framesKept is the part of the memory for requests, one in so many bytes, that buffers
// of long frames may take beside it.
const framesKept = 16

// frameBuffers lends buffers for long frames, and keeps those that come back for
// the next ones. The collector never takes them, as it would those of a sync.Pool:
// what is kept is bounded instead. Safe for concurrent use.
//
// A buffer for a whole frame is lent before the frame has arrived. What is lent
// ahead and what is free are at most limit bytes together: so much can all clients
// hold that claim long frames and do not send them, over what their charges say.
type frameBuffers struct {
	limit int

	mu   sync.Mutex
	used int      // guarded by mu: capacity of free, and of those lent whose frames have not arrived
	free [][]byte // guarded by mu: the one longest unused first
}

// lend returns an empty buffer for a frame of n bytes, or nil if the limit has no
// room for it. The caller tells by arrived that it has all n bytes, or that it gives
// up, and returns the buffer by keep after that.
func (p *frameBuffers) lend(n int) []byte {
	p.mu.Lock()
	if i := p.fitLocked(n); i >= 0 {
		b := p.free[i]
		p.free = slices.Delete(p.free, i, i+1)
		p.mu.Unlock()
		return b
	}
	room := frameRoom(n)
	ok := p.makeRoomLocked(room)
	if ok {
		p.used += room
	}
	p.mu.Unlock()
	if !ok {
		return nil
	}
	return make([]byte, 0, room)
}

// fitLocked finds the shortest free buffer that a frame of n bytes fits in, -1 if
// there is none. Much longer ones are left: a frame that is charged n bytes is not
// to hold a multiple of them.
func (p *frameBuffers) fitLocked(n int) int {
	best := -1
	for i, b := range p.free {
		if cap(b) >= n && cap(b) <= 2*n && (best < 0 || cap(b) < cap(p.free[best])) {
			best = i
		}
	}
	return best
}

// makeRoomLocked drops free buffers until n more bytes are within the limit, and
// drops none if that would not help.
func (p *frameBuffers) makeRoomLocked(n int) bool {
	over, drop := p.used+n-p.limit, 0
	for over > 0 && drop < len(p.free) {
		over -= cap(p.free[drop])
		drop++
	}
	if over > 0 {
		return false
	}
	for _, b := range p.free[:drop] {
		p.used -= cap(b)
	}
	p.free = slices.Delete(p.free, 0, drop)
	return true
}

// arrived says that the charge of b's frame covers it now, or that its client has
// given up. b was lent.
func (p *frameBuffers) arrived(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= cap(b)
}

// keep takes a buffer that nobody looks at any more, lent or not, if there is room
// for it.
func (p *frameBuffers) keep(b []byte) {
	if invariant.Enabled {
		clear(b) // what still aliases it fails at once
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if cap(b) < longFrame || !p.makeRoomLocked(cap(b)) {
		return
	}
	p.used += cap(b)
	p.free = append(p.free, b[:0])
}

// frameRoom is n, rounded up by an eighth at most: frames of about the same length
// share buffers.
func frameRoom(n int) int {
	step := 1 << max(0, bits.Len(uint(n))-4)
	return (n + step - 1) / step * step
}
