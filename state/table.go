// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"slices"
)

// A table is an ordered map from keys to values that never changes: a change makes
// another one, which shares the blocks that are the same in both. Keys and values lie
// side by side in blocks of some KiB without a pointer, so that a look misses the
// processor's cache a few times only, the collector has a block to look at and not each
// entry, and a sorted batch of changes copies each block once. The zero value is empty.
type table struct {
	blocks []blockRef // in order of their first keys, none of them empty
	same   int        // what all keys begin with alike, in bytes
}

// A blockRef is a block with the head of its first key, behind same bytes.
type blockRef struct {
	head  uint64
	block *block
}

// A block holds entries in order.
type block struct {
	same int        // what all its keys begin with alike, in bytes
	recs []blockRec // in order of keys
	data []byte     // of each entry: key | value
}

// A blockRec is where an entry lies in the data of its block.
type blockRec struct {
	head uint64 // of the key, behind same bytes
	off  uint32
	klen uint32
}

// Blocks hold from leastBlock bytes on, but for the last one, up to mostBlock, or one
// entry.
const (
	goodBlock  = 4 << 10
	leastBlock = goodBlock / 4
	mostBlock  = 2 * goodBlock
)

func (b *block) key(i int) []byte {
	r := &b.recs[i]
	return b.data[r.off : r.off+r.klen : r.off+r.klen]
}

func (b *block) value(i int) []byte {
	end := b.end(i)
	return b.data[b.recs[i].off+b.recs[i].klen : end : end]
}

// end is where an entry ends in data.
func (b *block) end(i int) uint32 {
	if i+1 < len(b.recs) {
		return b.recs[i+1].off
	}
	return uint32(len(b.data))
}

// search gives the position of the first entry from from on whose key is not less than
// key, and whether it is key.
func (b *block) search(key []byte, from int) (int, bool) {
	prefix := b.key(0)[:b.same]
	if c := bytes.Compare(key[:min(len(key), b.same)], prefix); c < 0 {
		return from, false
	} else if c > 0 {
		return len(b.recs), false
	}
	h := head(key[b.same:])
	lo, hi := from, len(b.recs)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if r := &b.recs[mid]; r.head < h || r.head == h && bytes.Compare(b.key(mid), key) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(b.recs) && b.recs[lo].head == h && bytes.Equal(b.key(lo), key)
}

// seek gives the block in which key is or would be: the last one whose first key is not
// greater, or the first one.
func (t *table) seek(key []byte) int {
	if len(t.blocks) == 0 {
		return 0
	}
	if c := bytes.Compare(key[:min(len(key), t.same)], t.blocks[0].block.key(0)[:t.same]); c < 0 {
		return 0
	} else if c > 0 {
		return len(t.blocks) - 1
	}
	h := head(key[t.same:])
	lo, hi := 0, len(t.blocks) // the first block whose first key is greater
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if r := &t.blocks[mid]; r.head < h || r.head == h && bytes.Compare(r.block.key(0), key) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return max(lo-1, 0)
}

// get gives the value of key, which nobody changes.
func (t *table) get(key []byte) ([]byte, bool) {
	if len(t.blocks) == 0 {
		return nil, false
	}
	b := t.blocks[t.seek(key)].block
	i, ok := b.search(key, 0)
	if !ok {
		return nil, false
	}
	return b.value(i), true
}

// with is the table after changes that set or remove keys; of several changes of a key
// the last counts.
func (t *table) with(list []Write) *table {
	if len(list) == 0 {
		return t
	}
	m := tableMaker{from: t, list: list, order: sortWrites(list)}
	m.next.blocks = make([]blockRef, 0, len(t.blocks)+8)
	for len(m.order) > 0 {
		at := t.seek(m.first())
		m.keep(at)
		m.take()
		for len(m.data) > 0 && len(m.data) < leastBlock && m.at < len(t.blocks) {
			m.take()
		}
		m.cut()
	}
	m.keep(len(t.blocks))
	return m.done()
}

// without is the table without the keys of [lower, upper).
func (t *table) without(lower, upper []byte) *table {
	if len(t.blocks) == 0 || bytes.Compare(lower, upper) >= 0 {
		return t
	}
	m := tableMaker{from: t}
	first, last := t.seek(lower), t.seek(upper)
	m.keep(first)
	from, _ := t.blocks[first].block.search(lower, 0)
	m.copy(t.blocks[first].block, 0, from)
	to, _ := t.blocks[last].block.search(upper, 0)
	m.copy(t.blocks[last].block, to, len(t.blocks[last].block.recs))
	m.cut()
	m.at = last + 1
	m.keep(len(t.blocks))
	return m.done()
}

// A tableMaker makes a table out of one before it and changes.
type tableMaker struct {
	from  *table
	at    int       // of the blocks of from, those before it are dealt with
	list  []Write   // changes
	order []keyItem // those to come, in order of key
	next  table
	recs  []blockRec // entries to be cut into blocks, without heads
	data  []byte
}

// first is the key of the next change.
func (m *tableMaker) first() []byte { return m.list[m.order[0].index].Key }

// keep takes blocks over as they are, up to one.
func (m *tableMaker) keep(to int) {
	m.next.blocks = append(m.next.blocks, m.from.blocks[m.at:max(to, m.at)]...)
	m.at = max(to, m.at)
}

// take adds the entries of the next block, with the changes before the one after it.
func (m *tableMaker) take() {
	var b *block
	var bound []byte
	if m.at < len(m.from.blocks) {
		b = m.from.blocks[m.at].block
		m.at++
		if m.at < len(m.from.blocks) {
			bound = m.from.blocks[m.at].block.key(0)
		}
	}
	done := 0 // of the entries of b
	for len(m.order) > 0 {
		c := &m.list[m.order[0].index]
		if bound != nil && bytes.Compare(c.Key, bound) >= 0 {
			break
		}
		m.order = m.order[1:]
		if b != nil {
			at, found := b.search(c.Key, done)
			m.copy(b, done, at)
			if done = at; found {
				done++
			}
		}
		if !c.Delete {
			m.recs = append(m.recs, blockRec{off: uint32(len(m.data)), klen: uint32(len(c.Key))})
			m.data = append(append(m.data, c.Key...), c.Value...)
			m.bound()
		}
	}
	if b != nil {
		m.copy(b, done, len(b.recs))
	}
}

// copy adds entries of a block, from one up to another.
func (m *tableMaker) copy(b *block, from, to int) {
	if from >= to {
		return
	}
	begin := b.recs[from].off
	shift := uint32(len(m.data)) - begin
	m.data = append(m.data, b.data[begin:b.end(to-1)]...)
	for _, r := range b.recs[from:to] {
		m.recs = append(m.recs, blockRec{off: r.off + shift, klen: r.klen})
	}
	m.bound()
}

// bound cuts what has become much: offsets have 32 bits.
func (m *tableMaker) bound() {
	if len(m.data) >= 16*mostBlock {
		m.cut()
	}
}

// cut makes blocks of about the same size out of what was added.
func (m *tableMaker) cut() {
	pieces := 1
	if len(m.data) > mostBlock {
		pieces = len(m.data) / goodBlock
	}
	size := len(m.data) / pieces
	for from := 0; from < len(m.recs); {
		begin, to := m.recs[from].off, from+1
		for to < len(m.recs) && int(m.recs[to].off-begin) < size && int(m.end(to)-begin) <= mostBlock {
			to++
		}
		m.block(from, to)
		from = to
	}
	m.recs, m.data = m.recs[:0], m.data[:0]
}

// end is where an entry ends in data.
func (m *tableMaker) end(i int) uint32 {
	if i+1 < len(m.recs) {
		return m.recs[i+1].off
	}
	return uint32(len(m.data))
}

// block makes one of the entries from from up to to.
func (m *tableMaker) block(from, to int) {
	begin, end := m.recs[from].off, m.end(to-1)
	b := &block{recs: slices.Clone(m.recs[from:to]), data: slices.Clone(m.data[begin:end])}
	for i := range b.recs {
		b.recs[i].off -= begin
	}
	b.same = alike(b.key(0), b.key(len(b.recs)-1))
	for i := range b.recs {
		b.recs[i].head = head(b.key(i)[b.same:])
	}
	m.next.blocks = append(m.next.blocks, blockRef{block: b})
}

// done gives the table.
func (m *tableMaker) done() *table {
	t := &m.next
	if n := len(t.blocks); n > 0 {
		last := t.blocks[n-1].block
		t.same = alike(t.blocks[0].block.key(0), last.key(len(last.recs)-1))
	}
	moved := t.same != m.from.same
	for i := range t.blocks {
		if r := &t.blocks[i]; moved || r.head == 0 {
			r.head = head(r.block.key(0)[t.same:])
		}
	}
	return t
}

// alike is how many bytes two keys begin with alike.
func alike(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// sortWrites gives the last change of each key, by its position in the list, in order of
// key. What comes in sorted pieces, as from layers, is merged.
func sortWrites(list []Write) []keyItem {
	key := func(at uint32) []byte { return list[at].Key }
	order := make([]keyItem, len(list))
	for i := range order {
		order[i].index = uint32(i)
	}
	setHeads(order, key)
	order = mergeRuns(order, func(a, b keyItem) bool {
		if a.head != b.head {
			return a.head < b.head
		}
		return bytes.Compare(key(a.index), key(b.index)) < 0
	})
	return lastOfEach(order, key)
}

// mergeRuns sorts s, and keeps the order of what is equal: sorted pieces are merged two
// by two.
func mergeRuns[E any](s []E, less func(a, b E) bool) []E {
	runs := []int{0} // where they begin
	for i := 1; i < len(s); i++ {
		if less(s[i], s[i-1]) {
			runs = append(runs, i)
		}
	}
	var other []E
	for len(runs) > 1 {
		if other == nil {
			other = make([]E, len(s))
		}
		merged := runs[:0]
		for i := 0; i < len(runs); i += 2 {
			from, mid, end := runs[i], len(s), len(s)
			if i+1 < len(runs) {
				mid = runs[i+1]
			}
			if i+2 < len(runs) {
				end = runs[i+2]
			}
			mergeInto(other[from:end], s[from:mid], s[mid:end], less)
			merged = append(merged, from)
		}
		s, other, runs = other, s, merged
	}
	return s
}

func mergeInto[E any](dst, a, b []E, less func(a, b E) bool) {
	for n := range dst {
		if len(b) == 0 || len(a) > 0 && !less(b[0], a[0]) {
			dst[n], a = a[0], a[1:]
		} else {
			dst[n], b = b[0], b[1:]
		}
	}
}

// A tableScan walks over a table.
type tableScan struct {
	t        *table
	block, i int
}

// at tells whether it stands on an entry.
func (s *tableScan) at() bool { return s.block >= 0 && s.block < len(s.t.blocks) }

// seek goes to the first key that is not less than key.
func (s *tableScan) seek(key []byte) {
	s.block, s.i = s.t.seek(key), 0
	if s.at() {
		b := s.t.blocks[s.block].block
		if s.i, _ = b.search(key, 0); s.i == len(b.recs) {
			s.block, s.i = s.block+1, 0
		}
	}
}

// last goes to the last key.
func (s *tableScan) last() {
	s.block, s.i = len(s.t.blocks), 0
	s.prev()
}

func (s *tableScan) next() {
	if s.i++; s.i == len(s.t.blocks[s.block].block.recs) {
		s.block, s.i = s.block+1, 0
	}
}

func (s *tableScan) prev() {
	if s.i--; s.i >= 0 {
		return
	}
	if s.block--; s.block >= 0 {
		s.i = len(s.t.blocks[s.block].block.recs) - 1
	}
}

func (s *tableScan) key() []byte   { return s.t.blocks[s.block].block.key(s.i) }
func (s *tableScan) value() []byte { return s.t.blocks[s.block].block.value(s.i) }
