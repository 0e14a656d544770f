// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// A fold keeps the last record of each key of a piece of changelog.
type fold struct {
	hash  func(key []byte) uint64
	recs  []foldRec
	index []uint32 // as in Layer
	data  []byte
	order []foldOrder // of into
}

// foldOrder is what a record is sorted by first: eight bytes of its key, behind those
// that all keys have in common.
type foldOrder struct {
	head uint64
	rec  uint32
}

// foldRec is where a key and its last timestamp and value lie in a fold's data.
type foldRec struct {
	hash             uint64
	key, body        int // where they begin
	klen, vlen, room int // vlen: bytes of timestamp and value, 0 is a tombstone; room: what body may grow to
}

func (f *fold) add(c Change) {
	hash := f.hash(c.Key)
	r := f.find(hash, c.Key)
	if r == nil {
		if len(f.recs)*3 >= len(f.index)*2 {
			f.grow()
		}
		f.recs = append(room(f.recs, 1), foldRec{hash: hash, key: len(f.data), klen: len(c.Key)})
		f.data = append(room(f.data, len(c.Key)), c.Key...)
		r = &f.recs[len(f.recs)-1]
		r.body = len(f.data)
		addIndex(f.index, hash, len(f.recs)-1)
	}
	if c.Value == nil {
		r.vlen = 0
		return
	}
	r.vlen = stampLen + len(c.Value)
	if r.vlen > r.room {
		r.body, r.room = len(f.data), r.vlen
		f.data = room(f.data, r.room)[:len(f.data)+r.room]
	}
	body := f.data[r.body : r.body+r.vlen]
	binary.BigEndian.PutUint64(body, uint64(c.Timestamp))
	copy(body[stampLen:], c.Value)
}

// room is s with room for n more. It doubles: append alone copies what is large several
// times more often.
func room[E any](s []E, n int) []E {
	if cap(s)-len(s) >= n {
		return s
	}
	return slices.Grow(s, max(n, len(s), 1024))
}

func (f *fold) find(hash uint64, key []byte) *foldRec {
	if len(f.index) == 0 {
		return nil
	}
	mask := uint64(len(f.index) - 1)
	for at := hash & mask; f.index[at] != 0; at = (at + 1) & mask {
		if r := &f.recs[f.index[at]-1]; r.hash == hash && bytes.Equal(f.data[r.key:r.key+r.klen], key) {
			return r
		}
	}
	return nil
}

func (f *fold) grow() {
	f.index = make([]uint32, max(64, 2*len(f.index)))
	for i := range f.recs {
		addIndex(f.index, f.recs[i].hash, i)
	}
}

// size is the memory in use, as into will have it.
func (f *fold) size() int64 { return int64(len(f.data)) + int64(len(f.recs))*80 }

// into adds the last record of each key to w, in order of key.
func (f *fold) into(w *Writes) {
	f.sort()
	w.list = slices.Grow(w.list, len(f.order))
	for _, o := range f.order {
		r := &f.recs[o.rec]
		if r.vlen == 0 {
			w.Delete(f.keyOf(r))
		} else {
			w.Put(f.keyOf(r), f.data[r.body:r.body+r.vlen])
		}
	}
}

func (f *fold) keyOf(r *foldRec) []byte { return f.data[r.key : r.key+r.klen] }

// sort fills order. Most comparisons are of numbers that lie side by side.
func (f *fold) sort() {
	f.order = slices.Grow(f.order[:0], len(f.recs))
	common := f.common()
	for i := range f.recs {
		var head [8]byte
		copy(head[:], f.keyOf(&f.recs[i])[common:])
		f.order = append(f.order, foldOrder{binary.BigEndian.Uint64(head[:]), uint32(i)})
	}
	slices.SortFunc(f.order, func(a, b foldOrder) int {
		if c := cmp.Compare(a.head, b.head); c != 0 {
			return c
		}
		return bytes.Compare(f.keyOf(&f.recs[a.rec]), f.keyOf(&f.recs[b.rec]))
	})
}

// common is how many bytes all keys begin with alike.
func (f *fold) common() int {
	if len(f.recs) == 0 {
		return 0
	}
	first := f.keyOf(&f.recs[0])
	n := len(first)
	for i := range f.recs {
		key := f.keyOf(&f.recs[i])
		n = min(n, len(key))
		for j := 0; j < n; j++ {
			if key[j] != first[j] {
				n = j
			}
		}
	}
	return n
}

func (f *fold) reset() {
	clear(f.index)
	f.recs, f.data = f.recs[:0], f.data[:0]
}

// restore is [Store.Restore].
func (s *core[V]) restore(recs []Change, h Header) error {
	if s.fold == nil {
		s.fold = &fold{hash: s.hash}
	}
	for _, c := range recs {
		if err := s.refold(c); err != nil {
			return s.failed(fmt.Errorf("restore: %w", err))
		}
	}
	s.header, s.moved = h, true
	s.memory()
	if s.fold.size() >= s.opt.Budget.restore(s.opt.RestoreBytes) {
		return s.unfold()
	}
	return nil
}

// refold folds c under its key in the base.
func (s *core[V]) refold(c Change) error {
	if s.clock != nil && bytes.Equal(c.Key, marksRecord) {
		if len(c.Value) != marksLen {
			return fmt.Errorf("observed time of %d bytes: %w", len(c.Value), ErrDamaged)
		}
		c.Key = marksKey
	} else if s.layout != nil {
		key, err := s.layout.FromChangelog(s.keyBuf, c.Key)
		if err != nil {
			return fmt.Errorf("key %x: %w: %w", c.Key, ErrDamaged, err)
		}
		s.keyBuf, c.Key = key, key
		if s.clock != nil {
			s.clock.restored.restored(s.clock.rows.Time(key), s.clock.rows.Seq(key))
		}
	}
	s.fold.add(c)
	return nil
}

// restored is [Store.Restored].
func (s *core[V]) restored() error {
	if s.fold == nil {
		return nil
	}
	if err := s.unfold(); err != nil {
		return err
	}
	s.fold = nil
	s.memory()
	if s.clock != nil {
		s.clock.known, s.clock.restored = false, noMarks
	}
	return nil
}

// foldMarks makes what is folded say how far its rows reach: the last of them may
// have been written without the marks of their commit, or all by Kafka Streams,
// which has none.
func (s *core[V]) foldMarks() error {
	hash := s.hash(marksKey)
	var m marks
	seen := s.clock.restored
	var err error
	if r := s.fold.find(hash, marksKey); r != nil {
		m, err = parseMarks(s.fold.data[r.body : r.body+r.vlen])
	} else {
		m, err = s.readMarks(nil)
	}
	if err != nil {
		return err
	}
	was := m
	m.reach = max(m.reach, seen.reach)
	if m.observed == NoTime {
		m.seq = max(m.seq, seen.seq)
	}
	if m != was {
		s.fold.add(Change{Key: marksKey, Value: m.append(nil), Timestamp: m.stamp()})
	}
	return nil
}

// unfold loads what was folded into the base.
func (s *core[V]) unfold() error {
	if s.clock != nil {
		if err := s.foldMarks(); err != nil {
			return fmt.Errorf("restore store %s: %w", s.name, err)
		}
	}
	defer s.writes.Reset()
	s.fold.into(&s.writes)
	if err := s.base.Load(&s.writes, s.header); err != nil {
		return fmt.Errorf("restore store %s: %w", s.name, err)
	}
	s.moved = false
	s.fold.reset()
	return nil
}
