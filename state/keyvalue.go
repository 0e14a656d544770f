// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"

	"github.com/millrace/millrace/serde"
)

// KindKeyValue is the [Store.Kind] of a [KeyValueStore].
const KindKeyValue = "keyvalue"

// A KeyValueStore holds the latest value of each key, with its timestamp. Keys are
// equal if their encodings are, and ordered as those are. Values given to it are
// frozen: neither the caller nor who reads them may change what they refer to.
//
// It belongs to one worker, but for the view that Committed gives. It is a [Store].
type KeyValueStore[K, V any] struct {
	life[V]
	keys serde.Serde[K]
}

var _ Store = (*KeyValueStore[string, int64])(nil)

// OpenKeyValue makes the store called name on base. It reads nothing yet: whether
// what the base holds fits is told by its header, and checked by the caller.
func OpenKeyValue[K, V any](name string, keys serde.Serde[K], values serde.Serde[V], base Base, opt Options) *KeyValueStore[K, V] {
	s := &KeyValueStore[K, V]{keys: keys}
	s.c.begin(name, values, base, opt)
	return s
}

// Kind implements [Store].
func (s *KeyValueStore[K, V]) Kind() string { return KindKeyValue }

// Serdes implements [Store]: the names of the serdes of key and value.
func (s *KeyValueStore[K, V]) Serdes() string { return s.keys.Name + "," + s.c.values.Name }

// Cell finds key's place, and reads its value from the layers below if it is not
// there yet. It allocates nothing for a key in the cache. The cell is valid until
// the next call on the store.
func (s *KeyValueStore[K, V]) Cell(key K) (*Cell[V], error) {
	if err := s.encodeKey(key); err != nil {
		return nil, err
	}
	return s.c.cell()
}

// Set puts v under the key of c, which Cell gave. A v that is the null of its type
// removes the key.
func (s *KeyValueStore[K, V]) Set(c *Cell[V], v V, timestamp int64) { s.c.set(c, v, timestamp) }

// Unset removes the key of c, which Cell gave. The changelog gets a tombstone with
// the timestamp, also if there was no value.
func (s *KeyValueStore[K, V]) Unset(c *Cell[V], timestamp int64) { s.c.unset(c, timestamp) }

// OldOf reads what the key of c held when the open layer began: after the last
// Seal. For a key that is not changed that is c itself. c stays valid.
func (s *KeyValueStore[K, V]) OldOf(c *Cell[V]) (v V, timestamp int64, ok bool, err error) {
	return s.c.oldOf(c)
}

// Get reads key. ok is false if it has no value.
func (s *KeyValueStore[K, V]) Get(key K) (v V, timestamp int64, ok bool, err error) {
	c, err := s.Cell(key)
	if err != nil {
		return v, 0, false, err
	}
	return c.Value, c.Timestamp, c.OK, nil
}

// Put sets key to v without reading what it was.
func (s *KeyValueStore[K, V]) Put(key K, v V, timestamp int64) error {
	c, err := s.blind(key)
	if err == nil {
		s.c.set(c, v, timestamp)
	}
	return err
}

// Delete removes key without reading what it was.
func (s *KeyValueStore[K, V]) Delete(key K, timestamp int64) error {
	c, err := s.blind(key)
	if err == nil {
		s.c.unset(c, timestamp)
	}
	return err
}

// Prefetch reads the keys that are not in the cache, in one call of the base.
func (s *KeyValueStore[K, V]) Prefetch(keys []K) error {
	var w wanted
	for _, key := range keys {
		if err := s.encodeKey(key); err != nil {
			return err
		}
		s.c.want(&w)
	}
	return s.c.fetch(&w)
}

// EachDirty calls fn for every key that the open layer has changed, in order of the
// first change, until it fails. c is valid during the call; fn calls nothing of
// the store but OldOf.
func (s *KeyValueStore[K, V]) EachDirty(fn func(key K, c *Cell[V]) error) error {
	return s.c.eachDirty(func(k []byte, c *Cell[V]) error {
		key, err := s.keys.Decode(k)
		if err != nil {
			return s.c.failed(fmt.Errorf("decode key: %w", err))
		}
		return fn(key, c)
	})
}

// encodeKey sets keyBuf.
func (s *KeyValueStore[K, V]) encodeKey(key K) error {
	if s.keys.IsNull == nil { // without the calls below
		if b, err := s.keys.Append(s.c.keyBuf[:0], key); err == nil {
			s.c.keyBuf = b
			return nil
		}
	}
	b, err := appendKey(s.c.keyBuf[:0], s.keys, key)
	if err != nil {
		return s.c.failed(err)
	}
	s.c.keyBuf = b
	return nil
}

// blind finds or makes the cell of key without reading below.
func (s *KeyValueStore[K, V]) blind(key K) (*Cell[V], error) {
	if err := s.encodeKey(key); err != nil {
		return nil, err
	}
	return s.c.blindCell()
}
