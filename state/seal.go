// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"reflect"

	"github.com/millrace/millrace/internal/invariant"
)

// seal is [Store.Seal].
func (s *core[V]) seal() (*Layer, error) {
	if s.clock != nil && s.clock.err != nil {
		return nil, s.failed(fmt.Errorf("seal: %w", s.clock.err))
	}
	// Without a time there are no rows of ours: what the changelog claims may stay.
	ticked := s.clock != nil && s.clock.known && s.clock.now != s.clock.sealed && s.clock.now.observed != NoTime
	if len(s.dirty) == 0 && !ticked {
		return nil, nil
	}
	live, gone := s.changes()
	l := &Layer{recs: make([]layerRec, 0, len(live)+1), data: make([]byte, 0, s.dirtyData(live)), layout: s.layout}
	if s.clock != nil {
		l.rows, l.floor = s.clock.rows, s.clock.floor
		s.encodeMarks(l, ticked)
	}
	if s.shelf != nil {
		l.fresh = make([]bool, len(l.recs), cap(l.recs))
	}
	for _, at := range s.inKeyOrder(live) {
		if err := s.encode(l, s.young.at(at.index)); err != nil {
			return nil, s.failed(fmt.Errorf("seal: %w", err))
		}
	}
	if s.shelf == nil { // else hardly anybody looks
		l.index = makeIndex(l.recs)
	}
	s.push(l)
	if !s.flat && len(l.recs) > 0 {
		s.typical = uint32(len(l.data) / len(l.recs))
	}
	if s.shelf != nil {
		s.young.reset() // rows are looked for in the shelf
	} else {
		for _, index := range s.dirty {
			s.young.at(index).cell.state &^= cellDirty | cellFresh
		}
		for _, index := range gone {
			s.young.at(index).unload() // Discard may turn the clock back
		}
	}
	s.forgetDirty()
	if s.clock != nil {
		s.clock.sealed = s.clock.now
	}
	s.memory()
	return l, nil
}

// encodeMarks notes the time in the layer, as its first record if it has changed.
func (s *core[V]) encodeMarks(l *Layer, changed bool) {
	m := s.clock.now
	l.marks, l.keep = m, s.clock.keep(m.observed)
	if !changed {
		return
	}
	r := layerRec{hash: s.hash(marksKey), off: len(l.data), klen: uint32(len(marksKey)), vlen: marksLen}
	l.data = append(l.data, marksKey...)
	l.data = m.append(l.data)
	l.recs = append(l.recs, r)
}

// changes gives the dirty entries that are to be sealed, and those whose rows are gone:
// nobody will look for them again.
func (s *core[V]) changes() (live, gone []uint32) {
	if s.clock == nil {
		return s.dirty, nil
	}
	live = make([]uint32, 0, len(s.dirty))
	for _, index := range s.dirty {
		e := s.young.at(index)
		switch {
		case s.clock.gone(s.young.key(e), s.clock.floor):
			gone = append(gone, index)
		case !e.cell.OK && e.cell.state&cellFresh != 0: // it was put and removed, and nobody has seen it
		default:
			live = append(live, index)
		}
	}
	return live, gone
}

// dirtyData estimates the data of the layer that dirty entries make, and the marks.
func (s *core[V]) dirtyData(list []uint32) int {
	n := len(marksKey) + stampLen + marksLen
	for _, index := range list {
		e := s.young.at(index)
		n += int(e.klen) + stampLen + int(e.vlen)
		if s.flat {
			n += 8
		}
	}
	return n
}

// head gives the first eight bytes of key as a number of the same order; a shorter
// key counts as filled up with zeros.
func head(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

// encode appends the entry to the layer.
func (s *core[V]) encode(l *Layer, e *entry[V]) error {
	r := layerRec{hash: e.hash, off: len(l.data), klen: e.klen, vlen: tombstone}
	key := s.young.key(e)
	if e.cell.state&cellLoose != 0 {
		r.hash = s.hash(key)
	}
	l.data = append(l.data, key...)
	if !e.cell.OK {
		l.gone++
		l.data = binary.BigEndian.AppendUint64(l.data, uint64(e.removed))
	} else {
		l.data = binary.BigEndian.AppendUint64(l.data, uint64(e.cell.Timestamp))
		start := len(l.data)
		data, err := s.values.Append(l.data, e.cell.Value)
		if err != nil {
			return fmt.Errorf("encode value of key %x: %w", key, err)
		}
		if len(data)-start > math.MaxInt32 {
			return fmt.Errorf("value of key %x has %d bytes", key, len(data)-start)
		}
		l.data, r.vlen = data, int32(len(data)-start)
		s.weigh(e, uint32(r.vlen))
	}
	if invariant.Enabled {
		if err := s.thaw(key, l.data[r.off+int(r.klen)+stampLen:]); err != nil {
			return err
		}
	}
	l.recs = append(l.recs, r)
	if s.shelf != nil {
		l.fresh = append(l.fresh, e.cell.state&cellFresh != 0)
	}
	return nil
}

// weigh notes how long the entry's value is, now that it is known.
func (s *core[V]) weigh(e *entry[V], vlen uint32) {
	if s.flat || e.vlen == vlen {
		return
	}
	s.young.bytes += int64(vlen) - int64(e.vlen)
	s.dirtyBytes += int64(vlen) - int64(e.vlen)
	e.vlen = vlen
}

// commitUpTo is [Store.Commit].
func (s *core[V]) commitUpTo(l *Layer, h Header) error {
	if l != nil {
		s.told = nil
	}
	err := s.commit(l, h)
	if s.clock != nil && l != nil && err == nil {
		s.clock.committed, s.clock.written = l.marks, l.marks
	}
	s.memory()
	return err
}

// discard is [Store.Discard].
func (s *core[V]) discard() {
	reach := s.reach()
	if s.shelf != nil { // the shelf knows, or the layers that are left
		s.young.reset()
		s.old = newGeneration[V]()
	} else {
		for _, index := range s.dirty {
			s.young.at(index).unload()
		}
	}
	s.forgetDirty()
	if s.clock != nil && s.clock.known {
		s.clock.set(s.clock.committed)
		s.clock.sealed = s.clock.written
	}
	for _, l := range s.dropSealed() {
		for i := range l.recs {
			for _, g := range []*generation[V]{s.young, s.old} {
				if e := g.find(l.recs[i].hash, l.key(i)); e != nil {
					e.unload()
				}
			}
		}
	}
	if s.shelf != nil {
		s.shelf.forget(s.reach())
		s.shelf.doubt = max(s.shelf.doubt, reach)
	}
	s.memory()
}

func (s *core[V]) forgetDirty() {
	s.dirty, s.dirtyBytes, s.order = s.dirty[:0], 0, nil
	if s.shelf != nil {
		s.shelf.begin()
	}
	clear(s.frozen)
}

// oldOf reads what the key of c held when the open layer began.
func (s *core[V]) oldOf(c *Cell[V]) (v V, timestamp int64, ok bool, err error) {
	if c.state&cellDirty == 0 {
		return c.Value, c.Timestamp, c.OK, nil
	}
	e := s.young.at(c.index)
	body, ok, err := s.lookup(s.valBuf[:0], e.hash, s.young.key(e))
	if err != nil || !ok {
		return v, 0, false, s.failed(err)
	}
	s.valBuf = body
	v, timestamp, err = decodeBody(s.values, body)
	return v, timestamp, err == nil, s.failed(err)
}

// memory is [Store.Bytes].
func (s *core[V]) memory() (dirty, cached int64) {
	dirty, cached = s.dirtyBytes+s.size, s.young.bytes+s.old.bytes-s.dirtyBytes
	cached += max(0, s.young.spare-s.young.bytes)
	if s.shelf != nil {
		cached += s.shelf.memory()
	}
	if s.fold != nil {
		dirty += s.fold.size()
	}
	s.report.tell(dirty, cached)
	return dirty, cached
}

// shrink is [Store.Shrink].
func (s *core[V]) shrink(target int64) {
	if _, cached := s.memory(); cached > target {
		s.old = newGeneration[V]()
	}
	if _, cached := s.memory(); cached > target {
		s.turn()
		s.old = newGeneration[V]()
	}
	if _, cached := s.memory(); s.shelf != nil && cached > target {
		s.shelf.turn()
	}
	if _, cached := s.memory(); s.shelf != nil && cached > target {
		s.shelf.forget(s.reach())
	}
	s.memory()
}

// close is [Store.Close].
func (s *core[V]) close() error {
	s.dropSealed()
	s.forgetDirty()
	s.order = nil
	s.young, s.old = newGeneration[V](), newGeneration[V]()
	if s.shelf != nil {
		s.shelf.forget(s.reach())
	}
	s.report.end()
	return s.apply()
}

// freeze remembers how c's value is encoded at this moment.
func (s *core[V]) freeze(c *Cell[V]) {
	key := string(s.young.key(s.young.at(c.index)))
	delete(s.frozen, key)
	if !c.OK {
		return
	}
	if b, err := s.values.Append(nil, c.Value); err == nil { // Seal will meet the error again
		s.frozen[key] = b
	}
}

// thaw compares what is sealed with what was given. An encoding need not be the
// same each time (maps): what counts is what it decodes to.
func (s *core[V]) thaw(key, now []byte) error {
	was, ok := s.frozen[string(key)]
	if !ok || bytes.Equal(was, now) {
		return nil
	}
	a, errA := s.values.Decode(was)
	b, errB := s.values.Decode(now)
	if errA != nil || errB != nil || reflect.DeepEqual(a, b) {
		return nil
	}
	return fmt.Errorf("key %x was %x, is %x: %w", key, was, now, ErrNotFrozen)
}

// lengthOf gives the function that measures a V, if it is a kind of bytes.
func lengthOf[V any]() func(V) int {
	var f any
	switch any(*new(V)).(type) {
	case string:
		f = func(v string) int { return len(v) }
	case []byte:
		f = func(v []byte) int { return len(v) }
	}
	length, _ := f.(func(V) int)
	return length
}

// isFlat tells whether a V holds no pointer, so that all its memory is its size.
func isFlat[V any]() bool { return flat(reflect.TypeFor[V]()) }

func flat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return flat(t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			if !flat(f.Type) {
				return false
			}
		}
		return true
	default:
		return t.Kind() >= reflect.Bool && t.Kind() <= reflect.Complex128
	}
}

func (s *core[V]) hash(key []byte) uint64 { return maphash.Bytes(s.seed, key) }
