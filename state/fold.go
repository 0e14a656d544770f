// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unsafe"
)

// A fold gathers the records of a piece of changelog, to give the last one of each key
// in order of key. It takes them as they come, and sorts when it must: a changelog
// comes in stretches that are in order, one a commit, and a table of its keys would
// cost a miss of the processor's cache each.
type fold struct {
	recs  []layerRec // those of a Layer, but for the hash
	data  []byte     // as that of a Layer
	tidy  int        // so many recs are in order, each key once
	marks []byte     // what is to lie under marksKey, with its timestamp; nil: nothing
}

// add takes a record, and keeps none of its slices.
func (f *fold) add(c Change) {
	n := len(f.recs)
	if f.tidy == n && (n == 0 || bytes.Compare(f.key(n-1), c.Key) < 0) {
		f.tidy++
	}
	r := layerRec{off: len(f.data), klen: uint32(len(c.Key)), vlen: tombstone}
	if c.Value != nil {
		r.vlen = int32(len(c.Value))
	}
	f.recs = append(room(f.recs, 1), r)
	f.data = append(room(f.data, len(c.Key)+stampLen+len(c.Value)), c.Key...)
	f.data = binary.BigEndian.AppendUint64(f.data, uint64(c.Timestamp))
	f.data = append(f.data, c.Value...)
}

// room is s with room for n more. It doubles: append alone copies what is large several
// times more often.
func room[E any](s []E, n int) []E {
	if cap(s)-len(s) >= n {
		return s
	}
	return slices.Grow(s, max(n, len(s), 1024))
}

func (f *fold) key(i int) []byte {
	r := &f.recs[i]
	return f.data[r.off : r.off+int(r.klen)]
}

// size is the memory in use.
func (f *fold) size() int64 {
	return int64(len(f.data)) + int64(len(f.recs))*int64(unsafe.Sizeof(layerRec{}))
}

// sort leaves the last record of each key, in order of key.
func (f *fold) sort() {
	if f.tidy == len(f.recs) {
		return
	}
	items := make([]keyItem, len(f.recs), 2*len(f.recs))
	for i := range items {
		items[i].index = uint32(i)
	}
	key := func(i uint32) []byte { return f.key(int(i)) }
	last := lastOfEach(sortByKey(items, key), key)
	size := 0
	for _, it := range last {
		size += f.recs[it.index].size()
	}
	recs, data := make([]layerRec, 0, len(last)), make([]byte, 0, size)
	for _, it := range last {
		r := f.recs[it.index]
		from := r.off
		r.off = len(data)
		data = append(data, f.data[from:from+r.size()]...)
		recs = append(recs, r)
	}
	f.recs, f.data, f.tidy = recs, data, len(recs)
}

// layer gives what was folded, and empties the fold.
func (f *fold) layer() *Layer {
	f.sort()
	l := &Layer{recs: f.recs, data: f.data}
	if f.marks != nil { // before all rows
		l.recs = slices.Insert(l.recs, 0, layerRec{
			off: len(l.data), klen: uint32(len(marksKey)), vlen: int32(len(f.marks) - stampLen),
		})
		l.data = append(append(l.data, marksKey...), f.marks...)
	}
	*f = fold{}
	return l
}
