// SPDX-License-Identifier: Apache-2.0

package state

import "fmt"

// A Row is one of the rows of a key.
type Row[V any] struct {
	Start     int64 // of the window or session, ms since the Unix epoch
	End       int64 // of a session: its last ms, which is in it
	Value     V
	Timestamp int64 // of the value, ms since the Unix epoch
}

// applyShelved is the ApplyBytes of stores with a shelf, unless others were asked for.
const applyShelved = 8 << 20

// useShelf gives the store a shelf. opt is what it was opened with.
func (s *core[V]) useShelf(opt Options) {
	s.shelf, s.most, s.keeps = newShelf[V](), maxCommittedShelved, true
	if opt.ApplyBytes == 0 {
		s.opt.ApplyBytes = applyShelved
	}
}

// reach is the highest time that a row can have.
func (s *core[V]) reach() int64 {
	if s.clock == nil {
		return never
	}
	return s.clock.now.reach
}

// shelve notes a change of c, which is not on the list of changes yet if it is the
// first one.
func (s *core[V]) shelve(c *Cell[V]) {
	row := s.young.key(s.young.at(c.index))
	rows := s.clock.rows
	key := rows.Key(row)
	hash, time, rest := s.hash(key), rows.Time(row), rows.Rest(row)
	var fresh bool
	if c.OK {
		r := heldRow[V]{time: time, rest: rest, timestamp: c.Timestamp, value: c.Value, vlen: s.weight(c.Value), cell: c.index + 1}
		fresh = s.shelf.put(hash, key, r, s.clock.floor, s.cacheBytes())
	} else {
		fresh = s.shelf.remove(hash, key, time, rest, s.clock.floor)
	}
	if fresh && time > s.shelf.doubt && c.state&cellDirty == 0 {
		c.state |= cellFresh
	}
}

// weight is the memory of v beside its cell.
func (s *core[V]) weight(v V) uint32 {
	switch {
	case s.flat:
		return 0
	case s.length != nil:
		return uint32(s.length(v))
	default:
		return s.typical
	}
}

// unshelve makes the cell of keyBuf if the shelf knows what it holds; else nil.
func (s *core[V]) unshelve(hash uint64) *Cell[V] {
	rows := s.clock.rows
	key, time, rest := rows.Key(s.keyBuf), rows.Time(s.keyBuf), rows.Rest(s.keyBuf)
	held, ok := s.shelf.from(s.hash(key), key, time)
	if !ok {
		return nil
	}
	e := s.place(hash, stampLen)
	c := &e.cell
	var none V
	c.Value, c.Timestamp, c.OK, c.state = none, 0, false, cellLoaded
	for i := range held {
		if r := &held[i]; r.time != time {
			break
		} else if r.rest == rest {
			c.Value, c.Timestamp, c.OK = r.value, r.timestamp, true
		}
	}
	return c
}

// heldRows gives the rows of the key of keyBuf from the time lo on, until the next
// call on the store; around tells where they lie if layers and base must be asked.
func (s *core[V]) heldRows(lo int64, around func() (span, error)) ([]heldRow[V], error) {
	key := s.clock.rows.Key(s.keyBuf)
	hash := s.hash(key)
	if s.shelf != nil {
		if rows, ok := s.shelf.from(hash, key, lo); ok {
			return rows, nil
		}
	}
	sp, err := around()
	if err != nil {
		return nil, s.failed(err)
	}
	rows, err := s.readRows(sp)
	if err != nil || s.shelf == nil {
		return rows, err
	}
	s.shelf.fill(hash, key, lo, rows, s.cacheBytes())
	s.memory()
	return rows, nil
}

// readRows reads rows of one key from layers and base.
func (s *core[V]) readRows(sp span) (list []heldRow[V], err error) {
	rows := s.clock.rows
	sc := s.openScan(sp, Forward)
	for sc.next() {
		if len(sc.key) < rows.Least() {
			sc.fail(fmt.Errorf("key %x: %w", sc.key, ErrDamaged))
			break
		}
		list = append(list, heldRow[V]{
			time: rows.Time(sc.key), rest: rows.Rest(sc.key), timestamp: sc.timestamp, value: sc.value, vlen: s.weight(sc.value),
		})
	}
	return list, sc.err
}
