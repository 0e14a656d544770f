// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"unsafe"
)

// A Layer is a sealed layer: the changes of one store between two commits, each
// key once, encoded, in order of the encoded key. It never changes and may be read
// by many goroutines.
type Layer struct {
	recs  []layerRec // in key order
	index []uint32   // open addressing by hash: position in recs + 1, 0 is free; nil: none, keys are looked for by halves
	data  []byte     // of each record: key | timestamp int64 | value

	gone   int       // how many of recs are tombstones
	layout layout    // of the keys; nil: the changelog has them as they are
	marks  marks     // if the store has a clock
	keep   []byte    // all rows before it are gone; nil: none
	rows   rowLayout // of the keys if the store has a clock; else nil
	floor  int64     // rows at or before it are gone
	fresh  []bool    // of each record: below the layer there is nothing; nil: not known
}

// layerRec is where one change lies in a layer's data.
type layerRec struct {
	hash uint64
	off  int    // of the key
	klen uint32 // bytes of the key
	vlen int32  // bytes of the value; tombstone if there is none
}

// size is how much of the data the record takes.
func (r *layerRec) size() int { return int(r.klen) + stampLen + max(int(r.vlen), 0) }

const (
	tombstone = int32(-1)
	stampLen  = 8 // the timestamp before each value
)

// Len is the number of changed keys.
func (l *Layer) Len() int { return len(l.recs) }

// Each calls fn for every change until it fails: first for those that set a value,
// in order of the keys in the base, then in reverse order for those that remove
// one, last for a store's observed time. Without transactions a changelog may end
// in the middle of a commit: then it has rather too much than too little, as
// where rows are merged into one. The slices of c never change and may be kept, at
// the price of keeping the whole layer.
func (l *Layer) Each(fn func(c Change) error) error {
	last := -1
	gone := make([]int, 0, l.gone)
	var keys []byte // those of the changelog, which are not longer
	if l.layout != nil {
		n := 0
		for i := range l.recs {
			n += int(l.recs[i].klen)
		}
		keys = make([]byte, 0, n)
	}
	emit := func(i int) error {
		c := l.change(i)
		if l.layout != nil {
			from := len(keys)
			var err error
			if keys, err = l.layout.AppendChangelog(keys, c.Key); err != nil {
				return fmt.Errorf("key %x: %w", c.Key, err)
			}
			c.Key = keys[from:len(keys):len(keys)]
		}
		return fn(c)
	}
	for i := range l.recs {
		if l.layout != nil && bytes.Equal(l.key(i), marksKey) {
			last = i
			continue
		}
		if l.recs[i].vlen == tombstone {
			gone = append(gone, i)
			continue
		}
		if err := emit(i); err != nil {
			return err
		}
	}
	for _, i := range slices.Backward(gone) {
		if err := emit(i); err != nil {
			return err
		}
	}
	if last < 0 {
		return nil
	}
	c := l.change(last)
	c.Key = marksRecord
	return fn(c)
}

func (l *Layer) change(i int) Change {
	c := Change{Key: l.key(i), Timestamp: l.stamp(i)}
	if body, ok := l.body(i); ok {
		c.Value = body[stampLen:]
	}
	return c
}

func (l *Layer) key(i int) []byte {
	r := &l.recs[i]
	end := r.off + int(r.klen)
	return l.data[r.off:end:end]
}

func (l *Layer) stamp(i int) int64 {
	r := &l.recs[i]
	return int64(binary.BigEndian.Uint64(l.data[r.off+int(r.klen):]))
}

// body gives timestamp and value as a base stores them; false for a tombstone.
func (l *Layer) body(i int) ([]byte, bool) {
	r := &l.recs[i]
	if r.vlen == tombstone {
		return nil, false
	}
	start := r.off + int(r.klen)
	end := start + stampLen + int(r.vlen)
	return l.data[start:end:end], true
}

// find gives the position of key, -1 if the layer does not speak of it.
func (l *Layer) find(hash uint64, key []byte) int {
	if l.index == nil {
		if i := l.seek(key); i < len(l.recs) && bytes.Equal(l.key(i), key) {
			return i
		}
		return -1
	}
	mask := uint64(len(l.index) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		i := int(l.index[at]) - 1
		if i < 0 {
			return -1
		}
		if l.recs[i].hash == hash && bytes.Equal(l.key(i), key) {
			return i
		}
	}
}

// seek gives the position of the first record whose key is not less than key; nil
// is less than every key.
func (l *Layer) seek(key []byte) int {
	if key == nil {
		return 0
	}
	return sort.Search(len(l.recs), func(i int) bool { return bytes.Compare(l.key(i), key) >= 0 })
}

// bytes is the layer's memory.
func (l *Layer) bytes() int64 {
	return int64(cap(l.data)) + int64(cap(l.recs))*int64(unsafe.Sizeof(layerRec{})) + int64(len(l.index))*4 + int64(cap(l.fresh))
}

// hides tells whether the row under key does not show as of the layer.
func (l *Layer) hides(key []byte) bool { return l.rows != nil && goneRow(l.rows, key, l.floor) }

// makeIndex builds the hash index of recs: at most two thirds full.
func makeIndex(recs []layerRec) []uint32 {
	size := 4
	for size*2 < len(recs)*3 {
		size *= 2
	}
	index := make([]uint32, size)
	for i := range recs {
		addIndex(index, recs[i].hash, i)
	}
	return index
}

func addIndex(index []uint32, hash uint64, i int) {
	mask := uint64(len(index) - 1)
	at := hash & mask
	for index[at] != 0 {
		at = (at + 1) & mask
	}
	index[at] = uint32(i) + 1
}
