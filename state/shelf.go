// SPDX-License-Identifier: Apache-2.0

package state

import (
	"math"
	"slices"
	"unsafe"
)

// A shelf holds rows decoded, those of a key side by side in order of time, for
// stores that are asked for the rows of one key with each record: the buffers of
// joins, and sessions. It holds what the store holds, the open layer too: each
// change of a row is made here as well.
//
// It knows what it does not hold: every row after missing lies here. So a key that
// is not here has no rows after it, and neither layers nor base need be asked. In
// a store whose records come about in order of time that answers nearly all looks.
// What has not been used for long leaves with its generation, which moves missing.
type shelf[V any] struct {
	young, old   *generation[held[V]]
	rows, oldest int64 // memory of the rows in the young generation, and in the old one
	missing      int64
	// doubt bounds the times of rows that were dropped before they were committed: the
	// changelog may hold them all the same.
	doubt int64

	// What follows is of the open layer. Its loose entries are those that only rows lead
	// to: most rows that are put are new, and most that are removed have just been put, so
	// that no table of all of them is needed.
	tight int      // of the store's list of changes, those before it are not loose
	free  []uint32 // loose entries whose rows are gone
	lost  bool     // rows that led to loose entries may have been dropped
	brief bool     // entries of rows that come and go within the layer are for the next ones
}

// held are rows of one key.
type held[V any] struct {
	since int64        // every row after it is in rows, and no other
	rows  []heldRow[V] // in order of time and rest; those before head are gone
	head  int
	bytes int64 // as counted in the shelf's
}

// A heldRow is a row: time and rest are those of [rowLayout].
type heldRow[V any] struct {
	time, rest int64
	timestamp  int64
	value      V
	vlen       uint32 // memory of the value beside the row
	cell       uint32 // its entry in the open layer + 1, as far as is known: it may be that of another row by now
}

// never is before all times.
const never = math.MinInt64

func newShelf[V any]() *shelf[V] {
	h := &shelf[V]{doubt: never}
	h.forget(never)
	return h
}

// forget drops all. Rows up to missing may exist.
func (h *shelf[V]) forget(missing int64) {
	h.young, h.old = newGeneration[held[V]](), newGeneration[held[V]]()
	h.missing, h.rows, h.oldest, h.lost = missing, 0, 0, true
}

// begin is for a new open layer.
func (h *shelf[V]) begin() { h.tight, h.free, h.lost = 0, h.free[:0], false }

// memory is that of all that is held.
func (h *shelf[V]) memory() int64 { return h.rows + h.oldest + h.young.bytes + h.old.bytes }

// trim makes room for more if half of limit is reached by what was used last.
func (h *shelf[V]) trim(limit int64) {
	if h.rows+h.young.bytes > limit/2 {
		h.turn()
	}
}

// turn drops the old generation. The young one becomes old.
func (h *shelf[V]) turn() {
	for i := range h.old.n {
		e := h.old.at(uint32(i))
		if !e.cell.OK {
			continue // it is in the young one
		}
		g := &e.cell.Value
		h.missing = max(h.missing, g.since)
		if n := len(g.rows); n > g.head {
			h.missing = max(h.missing, g.rows[n-1].time)
		}
	}
	h.old, h.young = h.young, newGeneration[held[V]]()
	h.oldest, h.rows, h.lost = h.rows, 0, true
}

// find gives the rows of a key; nil if the key is not here.
func (h *shelf[V]) find(hash uint64, key []byte) *held[V] {
	e := h.young.find(hash, key)
	if e != nil {
		return &e.cell.Value
	}
	was := h.old.find(hash, key)
	if was == nil || !was.cell.OK {
		return nil
	}
	e = h.young.add(hash, key, 0)
	e.cell.Value, e.cell.OK = was.cell.Value, true
	h.rows += e.cell.Value.bytes
	h.oldest -= e.cell.Value.bytes
	was.unload()
	return &e.cell.Value
}

// add is find for a key that may not be here.
func (h *shelf[V]) add(hash uint64, key []byte) *held[V] {
	if g := h.find(hash, key); g != nil {
		return g
	}
	e := h.young.add(hash, key, 0)
	e.cell.Value, e.cell.OK = held[V]{since: h.missing}, true
	return &e.cell.Value
}

// A spot is where a row is on the shelf, or would be. It is valid until the next call.
type spot[V any] struct {
	held  *held[V] // rows of the key; nil: there are none here
	at    int      // in them
	found bool
	known bool // the row is here if there is one
}

// seek looks for a row. Rows up to floor are gone.
func (h *shelf[V]) seek(hash uint64, key []byte, time, rest, floor int64) spot[V] {
	g := h.find(hash, key)
	if g == nil {
		return spot[V]{known: time > h.missing}
	}
	if time <= g.since {
		return spot[V]{}
	}
	was := g.bytes
	g.drop(floor)
	h.rows += g.bytes - was
	at, found := g.search(time, rest)
	return spot[V]{g, at, found, true}
}

// put notes a row that is set. It tells whether there surely was none. Rows up to
// floor are gone, and limit is what all rows may take.
func (h *shelf[V]) put(hash uint64, key []byte, r heldRow[V], floor, limit int64) (fresh bool) {
	h.trim(limit)
	p := h.seek(hash, key, r.time, r.rest, floor)
	if !p.known {
		return false
	}
	h.set(p, hash, key, r, limit)
	return !p.found
}

// set puts a row where seek has found its place.
func (h *shelf[V]) set(p spot[V], hash uint64, key []byte, r heldRow[V], limit int64) {
	g := p.held
	if g == nil {
		e := h.young.add(hash, key, 0)
		g = &e.cell.Value
		*g, e.cell.OK = held[V]{since: h.missing}, true
	}
	was := g.bytes
	if p.found {
		g.bytes += int64(r.vlen) - int64(g.rows[p.at].vlen)
		g.rows[p.at] = r
	} else {
		room := cap(g.rows)
		g.rows = slices.Insert(g.rows, p.at, r)
		g.bytes += int64(r.vlen) + int64(cap(g.rows)-room)*int64(unsafe.Sizeof(r))
	}
	h.rows += g.bytes - was
	if g.bytes > limit/4 { // a key that alone would drive all others out
		h.rows -= g.bytes
		*g = held[V]{since: g.rows[len(g.rows)-1].time}
		h.lost = true
	}
}

// remove notes that a row is removed. It tells whether there surely was none.
func (h *shelf[V]) remove(hash uint64, key []byte, time, rest, floor int64) (fresh bool) {
	p := h.seek(hash, key, time, rest, floor)
	h.unset(p)
	return p.known && !p.found
}

// unset removes a row where seek has found it.
func (h *shelf[V]) unset(p spot[V]) {
	if !p.found {
		return
	}
	g := p.held
	g.bytes -= int64(g.rows[p.at].vlen)
	h.rows -= int64(g.rows[p.at].vlen)
	g.rows = slices.Delete(g.rows, p.at, p.at+1)
}

// from gives the rows of a key from the time lo on, until the next call; false if
// they are not all here.
func (h *shelf[V]) from(hash uint64, key []byte, lo int64) ([]heldRow[V], bool) {
	g := h.find(hash, key)
	if g == nil {
		return nil, lo > h.missing
	}
	if lo <= g.since {
		return nil, false
	}
	at, _ := g.search(lo, math.MinInt64)
	return g.rows[at:], true
}

// fill takes rows, which are all of a key from the time lo on, and keeps the slice,
// unless they take much of limit.
func (h *shelf[V]) fill(hash uint64, key []byte, lo int64, rows []heldRow[V], limit int64) {
	n := int64(cap(rows)) * int64(unsafe.Sizeof(heldRow[V]{}))
	for i := range rows {
		n += int64(rows[i].vlen)
	}
	if n > limit/8 {
		return
	}
	h.trim(limit)
	g := h.add(hash, key)
	h.rows += n - g.bytes
	*g = held[V]{since: lo - 1, rows: rows, bytes: n}
	h.lost = true
}

// search gives the position of a row, or that where it would be.
func (g *held[V]) search(time, rest int64) (int, bool) {
	n := len(g.rows)
	if n == g.head || g.rows[n-1].before(time, rest) {
		return n, false // as most of them are
	}
	lo, hi := g.head, n
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if g.rows[mid].before(time, rest) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, g.rows[lo].time == time && g.rows[lo].rest == rest
}

func (r *heldRow[V]) before(time, rest int64) bool {
	return r.time < time || r.time == time && r.rest < rest
}

// drop lets go of rows up to floor, and of their places once these are many.
func (g *held[V]) drop(floor int64) {
	for g.head < len(g.rows) && g.rows[g.head].time <= floor {
		g.bytes -= int64(g.rows[g.head].vlen)
		g.rows[g.head] = heldRow[V]{}
		g.head++
	}
	if g.head*2 < len(g.rows) || g.head == 0 {
		return
	}
	n := copy(g.rows, g.rows[g.head:])
	clear(g.rows[n:])
	g.rows, g.head = g.rows[:n], 0
}
