// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/binary"
	"unsafe"
)

// A Cell is a key's place in a store. It is read and passed back to the store it
// came from; only the store writes it. It is valid until the next call on the
// store: a cell kept longer may have been evicted or belong to another moment.
type Cell[V any] struct {
	Value     V     // the zero value if not OK
	Timestamp int64 // of the value, ms since the Unix epoch; without meaning if not OK
	OK        bool  // the key has a value

	state uint8
	index uint32 // of the entry in its generation
}

const (
	cellLoaded uint8 = 1 << iota // Value, Timestamp and OK say what the store holds
	cellDirty                    // changed in the open layer; then always loaded and young
	cellFresh                    // and there was nothing when the open layer began
	cellLoose                    // and find does not know the entry: it is a row that the shelf leads to
	cellFree                     // and the row is gone: the entry is for the next one
)

// entry is a cell with its key. It holds no pointer of its own, so that the
// collector skips tables whose V has none. One of a number with a short key is a line
// of the processor's cache: a look costs one miss for the slot and one for all else.
type entry[V any] struct {
	cell    Cell[V]
	hash    uint64
	removed int64          // timestamp of the deletion, if dirty and not OK
	vlen    uint32         // bytes of the value when last seen encoded
	klen    uint32         // bytes of the key
	key     [shortKey]byte // the key if it is short, else its chunk and offset in the arena
}

// shortKey is how long a key may be to lie in its entry.
const shortKey = 16

// A generation is a hash table from encoded keys to cells that only grows. A store
// keeps two: what is used moves to the young one; when that is full, the old one is
// dropped as a whole and the young one becomes old. So evicting needs no list and
// no bit per access, and leaves no holes.
type generation[V any] struct {
	slots  []uint64 // upper half of the hash | index + 1; 0 is free
	chunks []*[chunkLen]entry[V]
	n      int
	used   int // of slots
	keys   arena
	bytes  int64 // memory of entries, slots, keys and estimated values
	spare  int64 // what bytes was before a reset, at most: memory that is kept
}

const chunkLen = 256

func newGeneration[V any]() *generation[V] {
	return &generation[V]{slots: make([]uint64, 64)}
}

func (g *generation[V]) at(i uint32) *entry[V] { return &g.chunks[i/chunkLen][i%chunkLen] }

func (g *generation[V]) find(hash uint64, key []byte) *entry[V] {
	mask := uint64(len(g.slots) - 1)
	tag := hash >> 32
	for i := hash & mask; ; i = (i + 1) & mask {
		slot := g.slots[i&uint64(len(g.slots)-1)]
		if slot == 0 {
			return nil
		}
		if slot>>32 != tag {
			continue
		}
		if e := g.at(uint32(slot) - 1); bytes.Equal(g.key(e), key) {
			return e
		}
	}
}

// key gives an entry's key, valid until reset. Nobody changes it.
func (g *generation[V]) key(e *entry[V]) []byte {
	if e.klen <= shortKey {
		return e.key[:e.klen:e.klen]
	}
	return g.keys.at(binary.LittleEndian.Uint32(e.key[:]), binary.LittleEndian.Uint32(e.key[4:]), e.klen)
}

// add makes an entry for a key that is not there. vlen is the memory its value takes
// beside the entry.
func (g *generation[V]) add(hash uint64, key []byte, vlen uint32) *entry[V] {
	e := g.addLoose(key, vlen)
	g.link(hash, e)
	return e
}

// addLoose is add for an entry that find is not to know.
func (g *generation[V]) addLoose(key []byte, vlen uint32) *entry[V] {
	if g.n/chunkLen == len(g.chunks) {
		g.chunks = append(g.chunks, new([chunkLen]entry[V]))
	}
	index := uint32(g.n)
	g.n++
	e := g.at(index)
	e.klen, e.vlen, e.cell.index, e.cell.state = uint32(len(key)), vlen, index, cellLoose
	if len(key) <= shortKey {
		copy(e.key[:], key)
	} else {
		chunk, off := g.keys.add(key)
		binary.LittleEndian.PutUint32(e.key[:], chunk)
		binary.LittleEndian.PutUint32(e.key[4:], off)
	}
	g.bytes += entryBytes(e)
	return e
}

// link lets find know an entry.
func (g *generation[V]) link(hash uint64, e *entry[V]) {
	if g.used*4 >= len(g.slots)*3 {
		g.grow()
	}
	e.hash = hash
	e.cell.state &^= cellLoose
	g.used++
	g.put(hash, e.cell.index)
}

func (g *generation[V]) put(hash uint64, index uint32) {
	mask := uint64(len(g.slots) - 1)
	i := hash & mask
	for g.slots[i] != 0 {
		i = (i + 1) & mask
	}
	g.slots[i] = hash>>32<<32 | uint64(index+1)
}

func (g *generation[V]) grow() {
	g.slots = make([]uint64, 2*len(g.slots))
	for i := range g.n {
		if e := g.at(uint32(i)); e.cell.state&cellLoose == 0 {
			g.put(e.hash, uint32(i))
		}
	}
}

// reset removes all entries and keeps the memory for those to come. What keys it gave
// are not valid any more.
func (g *generation[V]) reset() {
	for i := range (g.n + chunkLen - 1) / chunkLen {
		clear(g.chunks[i][:])
	}
	clear(g.slots)
	g.keys.reset()
	g.spare = max(g.spare, g.bytes)
	g.n, g.used, g.bytes = 0, 0, 0
}

// entryBytes is the memory of an entry with its share of the slots.
func entryBytes[V any](e *entry[V]) int64 {
	n := int64(unsafe.Sizeof(*e)) + 16 + int64(e.vlen)
	if e.klen > shortKey {
		n += int64(e.klen)
	}
	return n
}

// unload makes the entry forget its value: the next look reads it anew.
func (e *entry[V]) unload() {
	e.cell = Cell[V]{index: e.cell.index}
}

// An arena holds key bytes in a few large pieces without pointers.
type arena struct {
	chunks [][]byte
	last   int // the one that is being filled
}

const (
	minArenaChunk = 4 << 10
	maxArenaChunk = 256 << 10
)

func (a *arena) at(chunk, off, n uint32) []byte {
	return a.chunks[chunk][off : off+n : off+n]
}

// add copies a key and tells where it lies.
func (a *arena) add(key []byte) (chunk, off uint32) {
	for a.last < len(a.chunks) && cap(a.chunks[a.last])-len(a.chunks[a.last]) < len(key) {
		a.last++
	}
	if a.last == len(a.chunks) {
		size := minArenaChunk
		if a.last > 0 {
			size = min(2*cap(a.chunks[a.last-1]), maxArenaChunk)
		}
		a.chunks = append(a.chunks, make([]byte, 0, max(size, len(key))))
	}
	c := a.chunks[a.last]
	a.chunks[a.last] = append(c, key...)
	return uint32(a.last), uint32(len(c))
}

// reset removes all keys and keeps the memory.
func (a *arena) reset() {
	for i := range a.chunks {
		a.chunks[i] = a.chunks[i][:0]
	}
	a.last = 0
}
