// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state/internal/keyenc"
)

// KindList is the [Store.Kind] of a [ListStore].
const KindList = "list"

// A ListStore holds a list of values of each key, each with a timestamp: values are
// added at its end and dropped at its front. Values given to it are frozen: neither
// the caller nor who reads them may change what they refer to. It belongs to one
// worker.
//
// Beside its values, which are numbered from 1, a key has a row after them that tells where its list begins and ends, so
// that only this one is read to add to a list, to drop from it, or to tell its
// length. The rows of an empty list are removed.
type ListStore[K, V any] struct {
	life[listRow[V]]
	keys serde.Serde[K]
	head []byte // the escaped key of the list in hand
}

var _ Store = (*ListStore[string, int64])(nil)

// listRow is what a list store keeps under a key: a value of the list, or the list's
// ends.
type listRow[V any] struct {
	value      V
	head, tail uint64 // of the first value and after the last; 0 if it is a value
}

// listLast is the number of the row of the ends: a commit writes it after the values,
// and removes it before them.
const listLast = math.MaxUint64

// OpenList makes the store called name on base. It reads nothing yet: whether what
// the base holds fits is told by its header, and checked by the caller.
func OpenList[K, V any](name string, keys serde.Serde[K], values serde.Serde[V], base Base, opt Options) *ListStore[K, V] {
	s := &ListStore[K, V]{keys: keys}
	s.c.begin(name, listSerde(values), base, opt)
	if length := lengthOf[V](); length != nil {
		s.c.length = func(r listRow[V]) int { return length(r.value) }
	}
	return s
}

// The first byte of an encoded row.
const (
	listValue = 0 // the value's bytes follow
	listNull  = 1 // the null of its type
	listEnds  = 2 // head uint64 | tail uint64 follow
)

func listSerde[V any](values serde.Serde[V]) serde.Serde[listRow[V]] {
	return serde.Serde[listRow[V]]{
		Name: values.Name,
		Append: func(dst []byte, r listRow[V]) ([]byte, error) {
			switch {
			case r.tail > 0:
				dst = binary.BigEndian.AppendUint64(append(dst, listEnds), r.head)
				return binary.BigEndian.AppendUint64(dst, r.tail), nil
			case values.IsNull != nil && values.IsNull(r.value):
				return append(dst, listNull), nil
			default:
				return values.Append(append(dst, listValue), r.value)
			}
		},
		Decode: func(b []byte) (r listRow[V], err error) {
			switch {
			case len(b) == 17 && b[0] == listEnds:
				r.head, r.tail = binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:])
				if r.head == 0 || r.head >= r.tail {
					err = fmt.Errorf("list from %d to %d: %w", r.head, r.tail, ErrDamaged)
				}
			case len(b) == 1 && b[0] == listNull:
				r.value, err = values.Decode(nil)
			case len(b) > 0 && b[0] == listValue:
				r.value, err = values.Decode(b[1:])
			default:
				err = fmt.Errorf("row of a list, %d bytes: %w", len(b), ErrDamaged)
			}
			return r, err
		},
	}
}

// Kind implements [Store].
func (s *ListStore[K, V]) Kind() string { return KindList }

// Serdes implements [Store]: the names of the serdes of key and value.
func (s *ListStore[K, V]) Serdes() string { return s.keys.Name + "," + s.c.values.Name }

// Append adds v at the end of the list of key. Of what the store holds below it
// reads the ends of the list at most.
func (s *ListStore[K, V]) Append(key K, v V, timestamp int64) error {
	ends, err := s.ends(key)
	if err != nil {
		return err
	}
	row := ends.Value
	if row.tail == 0 {
		row = listRow[V]{head: 1, tail: 1}
	}
	at := row.tail
	row.tail++
	s.c.set(ends, row, timestamp)
	s.seek(at)
	c, err := s.c.blindCell()
	if err == nil {
		s.c.set(c, listRow[V]{value: v}, timestamp)
	}
	return err
}

// Len is the number of values in the list of key.
func (s *ListStore[K, V]) Len(key K) (int, error) {
	ends, err := s.ends(key)
	if err != nil {
		return 0, err
	}
	return int(ends.Value.tail - ends.Value.head), nil
}

// At reads the value that i others of key's list are before. ok is false if there is
// none.
func (s *ListStore[K, V]) At(key K, i int) (v V, timestamp int64, ok bool, err error) {
	ends, err := s.ends(key)
	if err != nil || i < 0 || uint64(i) >= ends.Value.tail-ends.Value.head {
		return v, 0, false, err
	}
	c, err := s.value(ends.Value.head + uint64(i))
	if err != nil {
		return v, 0, false, err
	}
	return c.Value.value, c.Timestamp, true, nil
}

// Each calls fn for the values in the list of key, in order, until it fails. What is
// not in the cache is read from the base in one call. fn calls nothing of the
// store.
func (s *ListStore[K, V]) Each(key K, fn func(v V, timestamp int64) error) error {
	ends, err := s.ends(key)
	if err != nil {
		return err
	}
	row := ends.Value
	var w wanted
	for at := row.head; at < row.tail; at++ {
		s.seek(at)
		s.c.want(&w)
	}
	if err := s.c.fetch(&w); err != nil {
		return err
	}
	for at := row.head; at < row.tail; at++ {
		c, err := s.value(at)
		if err != nil {
			return err
		}
		if err := fn(c.Value.value, c.Timestamp); err != nil {
			return err
		}
	}
	return nil
}

// DropFront removes the first n values of the list of key, or all if there are
// fewer, without reading them. The tombstones in the changelog have the timestamp
// of the last value that was added.
func (s *ListStore[K, V]) DropFront(key K, n int) error {
	ends, err := s.ends(key)
	if err != nil || n <= 0 || !ends.OK {
		return err
	}
	row, timestamp := ends.Value, ends.Timestamp
	from := row.head
	row.head += min(uint64(n), row.tail-row.head)
	if row.head == row.tail {
		s.c.unset(ends, timestamp)
	} else {
		s.c.set(ends, row, timestamp)
	}
	for at := from; at < row.head; at++ {
		s.seek(at)
		c, err := s.c.blindCell()
		if err != nil {
			return err
		}
		s.c.unset(c, timestamp)
	}
	return nil
}

// Clear removes the list of key.
func (s *ListStore[K, V]) Clear(key K) error {
	n, err := s.Len(key)
	if err != nil {
		return err
	}
	return s.DropFront(key, n)
}

// EachKey calls fn for every key that has a list, with its length, in order of the
// encoded keys, until it fails. It goes through all rows.
func (s *ListStore[K, V]) EachKey(fn func(key K, n int) error) error {
	sc := s.c.openScan(span{ranges: []keyRange{{}}}, Forward)
	defer sc.close() //nolint:errcheck // of a scan that was read to its end, or gave up
	for sc.next() {
		if sc.value.tail == 0 {
			continue
		}
		k, _, err := keyenc.ParseList(nil, sc.key)
		if err != nil {
			return s.c.failed(fmt.Errorf("key %x: %w: %w", sc.key, ErrDamaged, err))
		}
		key, err := s.keys.Decode(k)
		if err != nil {
			return s.c.failed(fmt.Errorf("decode key %x: %w", k, err))
		}
		if err := fn(key, int(sc.value.tail-sc.value.head)); err != nil {
			return err
		}
	}
	return sc.err
}

// ends finds the cell that tells where the list of key begins and ends, and sets
// head.
func (s *ListStore[K, V]) ends(key K) (*Cell[listRow[V]], error) {
	b, err := appendKey(s.head[:0], s.keys, key)
	if err != nil {
		return nil, s.c.failed(err)
	}
	s.head = keyenc.Escape(b, 0)
	c, err := s.row(listLast)
	if err == nil && c.OK && c.Value.tail == 0 {
		err = s.c.failed(fmt.Errorf("ends of list %x: %w", s.head, ErrDamaged))
	}
	return c, err
}

// row finds the cell of a row of the list in hand.
func (s *ListStore[K, V]) row(seq uint64) (*Cell[listRow[V]], error) {
	s.seek(seq)
	return s.c.cell()
}

// value finds the cell of a value of the list in hand.
func (s *ListStore[K, V]) value(seq uint64) (*Cell[listRow[V]], error) {
	c, err := s.row(seq)
	if err == nil && (!c.OK || c.Value.tail > 0) {
		err = s.c.failed(fmt.Errorf("list %x has no value %d: %w", s.head, seq, ErrDamaged))
	}
	return c, err
}

// seek sets keyBuf to a row of the list in hand.
func (s *ListStore[K, V]) seek(seq uint64) {
	s.c.keyBuf = binary.BigEndian.AppendUint64(append(s.c.keyBuf[:0], s.head...), seq)
}
