// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"testing"

	"github.com/millrace/millrace/internal/invariant"
)

// usedBy is what p counts as used: what is free, and what was lent ahead.
func usedBy(p *frameBuffers, ahead ...[]byte) int {
	n := 0
	for _, b := range append(ahead, p.free...) {
		n += cap(b)
	}
	return n
}

func TestFrameBuffersAreLentUpToTheLimit(t *testing.T) {
	const frame = 1 << 20
	p := &frameBuffers{limit: 4 * frame}
	var lent [][]byte
	for b := p.lend(frame); b != nil; b = p.lend(frame) {
		lent = append(lent, b)
	}
	if len(lent) != 4 || p.used != usedBy(p, lent...) {
		t.Fatalf("%d frames of a quarter were lent ahead, %d bytes in all", len(lent), p.used)
	}
	p.arrived(lent[0])
	if p.lend(2*frame) != nil {
		t.Error("lent two quarters where one had arrived")
	}
	next := p.lend(frame)
	if next == nil {
		t.Fatal("nothing to lend after a frame has arrived")
	}
	p.keep(lent[0]) // nothing is lent for it: it is not kept
	if len(p.free) != 0 || p.used != usedBy(p, lent[1], lent[2], lent[3], next) {
		t.Errorf("%d are free, %d used, after one over the limit came back", len(p.free), p.used)
	}
	for _, b := range append(lent[1:], next) {
		p.arrived(b)
		p.keep(b)
	}
	if len(p.free) != 4 || p.used != p.limit {
		t.Errorf("%d are free, %d bytes used, of four that came back", len(p.free), p.used)
	}
}

func TestFrameBuffersAreLentAgain(t *testing.T) {
	p := &frameBuffers{limit: 8 << 20}
	first := append(p.lend(1<<20), "what the last frame had"...)
	p.arrived(first)
	p.keep(first)
	if invariant.Enabled && first[0] != 0 {
		t.Error("a buffer given back keeps its bytes")
	}
	if b := p.lend(1<<20 - 1000); b == nil || len(b) != 0 || &b[:1][0] != &first[0] {
		t.Error("a frame of about the same length has another buffer")
	} else {
		p.arrived(b)
		p.keep(b)
	}
	short := p.lend(longFrame)
	if &short[:1][0] == &first[0] {
		t.Errorf("a frame of %d bytes holds a buffer of %d", longFrame, cap(short))
	}
	p.arrived(short)
	p.keep(short)
	if p.used != usedBy(p) || len(p.free) != 2 {
		t.Errorf("%d bytes used, %d buffers free", p.used, len(p.free))
	}
	long := p.lend(7 << 20) // the others must go for it
	if long == nil || len(p.free) == 2 || p.used != usedBy(p, long) || p.used > p.limit {
		t.Errorf("for a long one %d bytes are used, %d buffers free", p.used, len(p.free))
	}
	p.keep(make([]byte, 10))
	if len(p.free) > 1 {
		t.Error("a short buffer was kept")
	}
}

func TestFrameRoom(t *testing.T) {
	for _, n := range []int{1, 15, 16, longFrame, longFrame + 1, 1_000_000, 1<<20 + 1, 100 << 20} {
		if room := frameRoom(n); room < n || room > n+n/8+1 {
			t.Errorf("%d bytes for a frame of %d", room, n)
		}
	}
}
