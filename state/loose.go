// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"

	"github.com/millrace/millrace/internal/invariant"
)

// setRow sets the row of keyBuf to v, or removes it if it is not ok, without reading
// what it was, in a store with a shelf. It asks the shelf where the row's entry is,
// and makes loose ones of rows that nothing is known of elsewhere.
func (s *core[V]) setRow(v V, ok bool, timestamp int64) error {
	if s.fold != nil {
		return s.failed(ErrRestoring)
	}
	h, rows := s.shelf, s.clock.rows
	limit := s.cacheBytes()
	if h.trim(limit); h.lost {
		s.index()
	}
	key, time, rest := rows.Key(s.keyBuf), rows.Time(s.keyBuf), rows.Rest(s.keyBuf)
	hash := s.hash(key)
	p := h.seek(hash, key, time, rest, s.clock.floor)
	fresh := p.known && !p.found && time > h.doubt
	e := s.rowEntry(p, fresh && ok)
	c := &e.cell
	c.Value, c.Timestamp, c.OK = v, timestamp, ok
	if c.state&cellDirty == 0 {
		if fresh {
			c.state |= cellFresh
		}
		s.touch(c)
	}
	if ok {
		w := s.weight(v)
		if p.known {
			h.set(p, hash, key, heldRow[V]{time: time, rest: rest, timestamp: timestamp, value: v, vlen: w, cell: c.index + 1}, limit)
		}
		if s.length != nil {
			s.weigh(e, w)
		}
	} else {
		c.Timestamp, e.removed = 0, timestamp
		h.unset(p)
		s.release(e)
	}
	if invariant.Enabled {
		s.freeze(c)
	}
	return nil
}

// rowEntry finds or makes the entry of keyBuf, whose row is at p. fresh tells that
// there is none below the open layer, and that one is put.
func (s *core[V]) rowEntry(p spot[V], fresh bool) *entry[V] {
	if p.found {
		if e := s.entryOf(p.held.rows[p.at].cell); e != nil {
			return e
		}
	}
	if !p.known {
		s.index()
	}
	if fresh && s.young.used == 0 && s.old.n == 0 {
		return s.looseEntry()
	}
	hash := s.hash(s.keyBuf)
	if e := s.cached(hash); e != nil {
		return e
	}
	if fresh {
		return s.looseEntry()
	}
	e := s.place(hash, stampLen)
	e.cell.state = cellLoaded
	return e
}

// entryOf gives the entry that a row leads to, if it is that of keyBuf.
func (s *core[V]) entryOf(cell uint32) *entry[V] {
	if cell == 0 || int(cell) > s.young.n {
		return nil
	}
	e := s.young.at(cell - 1)
	if e.cell.state&(cellDirty|cellFree) != cellDirty || !bytes.Equal(s.young.key(e), s.keyBuf) {
		return nil
	}
	return e
}

// looseEntry makes an entry of keyBuf, or one of another row that has come and gone.
func (s *core[V]) looseEntry() *entry[V] {
	h := s.shelf
	if n := len(h.free); n > 0 && s.order == nil {
		if e := s.young.at(h.free[n-1]); int(e.klen) == len(s.keyBuf) {
			h.free = h.free[:n-1]
			copy(s.young.key(e), s.keyBuf)
			e.cell.state &^= cellFree
			return e
		}
	}
	e := s.young.addLoose(s.keyBuf, 0)
	e.cell.state |= cellLoaded
	return e
}

// release lets go of an entry whose row is gone from the shelf: nothing leads to it
// any more, if it is loose.
func (s *core[V]) release(e *entry[V]) {
	switch h := s.shelf; {
	case e.cell.state&cellLoose == 0:
	case h.brief:
		e.cell.state |= cellFree
		h.free = append(h.free, e.cell.index)
	default:
		s.young.link(s.hash(s.young.key(e)), e)
	}
}

// index lets all entries of rows be found by their keys, for who does not ask the
// shelf for them.
func (s *core[V]) index() {
	h := s.shelf
	if h == nil {
		return
	}
	for _, index := range s.dirty[min(h.tight, len(s.dirty)):] {
		if e := s.young.at(index); e.cell.state&(cellLoose|cellFree) == cellLoose {
			s.young.link(s.hash(s.young.key(e)), e)
		}
	}
	h.tight, h.free, h.lost = len(s.dirty), h.free[:0], false
}

// settle is index for who is to make another list of changes: entries of rows that have
// come and gone leave it.
func (s *core[V]) settle() {
	if s.shelf == nil {
		return
	}
	s.index()
	kept := s.dirty[:0]
	for _, index := range s.dirty {
		if e := s.young.at(index); e.cell.state&cellFree != 0 {
			s.dirtyBytes -= entryBytes(e)
		} else {
			kept = append(kept, index)
		}
	}
	if len(kept) < len(s.dirty) {
		s.order = nil // it has positions
	}
	s.dirty, s.shelf.tight = kept, len(kept)
}
