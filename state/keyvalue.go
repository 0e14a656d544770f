// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"github.com/tidwall/btree"

	"github.com/millrace/millrace/internal/invariant"
	"github.com/millrace/millrace/serde"
)

// Options are the limits of one store. The zero value of a field means the default
// in its comment.
type Options struct {
	CacheBytes   int64 // 16 MiB: clean decoded entries kept; half of it is kept for sure
	ApplyBytes   int64 // 1 MiB: committed layers are handed to the base from this size on
	RestoreBytes int64 // 16 MiB: changelog records are folded up to this size before a bulk load
}

func (o Options) withDefaults() Options {
	if o.CacheBytes == 0 {
		o.CacheBytes = 16 << 20
	}
	if o.ApplyBytes == 0 {
		o.ApplyBytes = 1 << 20
	}
	if o.RestoreBytes == 0 {
		o.RestoreBytes = 16 << 20
	}
	return o
}

// KindKeyValue is the [Store.Kind] of a [KeyValueStore].
const KindKeyValue = "keyvalue"

// A KeyValueStore holds the latest value of each key, with its timestamp. Keys are
// equal if their encodings are, and ordered as those are. Values given to it are
// frozen: neither the caller nor who reads them may change what they refer to.
//
// It belongs to one worker, but for the view that Committed gives. It is a [Store].
type KeyValueStore[K, V any] struct {
	stack
	keys    serde.Serde[K]
	values  serde.Serde[V]
	seed    maphash.Seed
	flat    bool        // no V holds a pointer: its memory is all in the entry
	length  func(V) int // memory of a value beside the entry, if that is quick to tell; else nil, and known from Seal on
	typical uint32      // of the values in the last sealed layer: a guess for one not sealed yet

	young, old *generation[V]
	dirty      []uint32                // entries of young changed in the open layer, in order of first change
	dirtyBytes int64                   // their memory
	order      *btree.BTreeG[dirtyKey] // the same in order of key; nil until somebody scans
	frozen     map[string][]byte       // under -tags invariants: value as encoded when it was given
	fold       *fold                   // not nil during a restore
	keyBuf     []byte                  // the last key looked for
	valBuf     []byte                  // the last value read
}

var _ Store = (*KeyValueStore[string, int64])(nil)

// OpenKeyValue makes the store called name on base. It reads nothing yet: whether
// what the base holds fits is told by its header, and checked by the caller.
func OpenKeyValue[K, V any](name string, keys serde.Serde[K], values serde.Serde[V], base Base, opt Options) *KeyValueStore[K, V] {
	s := &KeyValueStore[K, V]{
		stack:  newStack(name, base, opt.withDefaults()),
		keys:   keys,
		values: values,
		seed:   maphash.MakeSeed(),
		flat:   isFlat[V](),
		length: lengthOf[V](),
	}
	if invariant.Enabled {
		s.frozen = map[string][]byte{}
	}
	s.young, s.old = newGeneration[V](), newGeneration[V]()
	return s
}

// Name implements [Store].
func (s *KeyValueStore[K, V]) Name() string { return s.name }

// Kind implements [Store].
func (s *KeyValueStore[K, V]) Kind() string { return KindKeyValue }

// Serdes implements [Store]: the names of the serdes of key and value.
func (s *KeyValueStore[K, V]) Serdes() string { return s.keys.Name + "," + s.values.Name }

// Cell finds key's place, and reads its value from the layers below if it is not
// there yet. It allocates nothing for a key in the cache. The cell is valid until
// the next call on the store.
func (s *KeyValueStore[K, V]) Cell(key K) (*Cell[V], error) {
	if err := s.encodeKey(key); err != nil {
		return nil, err
	}
	hash := maphash.Bytes(s.seed, s.keyBuf)
	if e := s.young.find(hash, s.keyBuf); e != nil && e.cell.state&cellLoaded != 0 {
		return &e.cell, nil
	}
	return s.load(hash)
}

// Set puts v under the key of c, which Cell gave. A v that is the null of its type
// removes the key.
func (s *KeyValueStore[K, V]) Set(c *Cell[V], v V, timestamp int64) {
	if s.values.IsNull != nil && s.values.IsNull(v) {
		s.Unset(c, timestamp)
		return
	}
	c.Value, c.Timestamp, c.OK = v, timestamp, true
	if c.state&cellDirty == 0 {
		s.touch(c)
	}
	if s.length != nil {
		s.weigh(s.young.at(c.index), uint32(s.length(v)))
	}
	if invariant.Enabled {
		s.freeze(c)
	}
}

// Unset removes the key of c, which Cell gave. The changelog gets a tombstone with
// the timestamp, also if there was no value.
func (s *KeyValueStore[K, V]) Unset(c *Cell[V], timestamp int64) {
	var none V
	c.Value, c.Timestamp, c.OK = none, 0, false
	if c.state&cellDirty == 0 {
		s.touch(c)
	}
	s.young.at(c.index).removed = timestamp
	if invariant.Enabled {
		s.freeze(c)
	}
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
		s.Set(c, v, timestamp)
	}
	return err
}

// Delete removes key without reading what it was.
func (s *KeyValueStore[K, V]) Delete(key K, timestamp int64) error {
	c, err := s.blind(key)
	if err == nil {
		s.Unset(c, timestamp)
	}
	return err
}

// Prefetch reads the keys that are not in the cache, in one call of the base.
func (s *KeyValueStore[K, V]) Prefetch(keys []K) error {
	var missing [][]byte
	var hashes []uint64
	for _, key := range keys {
		if err := s.encodeKey(key); err != nil {
			return err
		}
		hash := maphash.Bytes(s.seed, s.keyBuf)
		if s.cached(hash) == nil && !shadowed(s.layers, hash, s.keyBuf) {
			missing = append(missing, append([]byte(nil), s.keyBuf...))
			hashes = append(hashes, hash)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if s.fold != nil {
		return s.failed(ErrRestoring)
	}
	var bad error
	err := s.base.MultiGet(missing, func(i int, body []byte, ok bool) {
		s.keyBuf = append(s.keyBuf[:0], missing[i]...)
		if s.cached(hashes[i]) == nil && bad == nil { // a key may come twice
			_, bad = s.fill(hashes[i], body, ok)
		}
	})
	if err == nil {
		err = bad
	}
	return s.failed(err)
}

// encodeKey sets keyBuf.
func (s *KeyValueStore[K, V]) encodeKey(key K) error {
	if s.keys.IsNull != nil && s.keys.IsNull(key) {
		return s.failed(fmt.Errorf("key: %w", serde.ErrNull))
	}
	b, err := s.keys.Append(s.keyBuf[:0], key)
	if err != nil {
		return s.failed(fmt.Errorf("encode key: %w", err))
	}
	s.keyBuf = b
	return nil
}

// cached finds the entry of keyBuf with its value, in the young generation, where
// it moves if it was in the old one. Nil if it is in neither.
func (s *KeyValueStore[K, V]) cached(hash uint64) *entry[V] {
	e := s.young.find(hash, s.keyBuf)
	if e != nil && e.cell.state&cellLoaded != 0 {
		return e
	}
	was := s.old.find(hash, s.keyBuf)
	if was == nil || was.cell.state&cellLoaded == 0 {
		return nil
	}
	if e == nil {
		e = s.add(hash, was.vlen)
	}
	index := e.cell.index
	e.cell = was.cell
	e.cell.index = index
	was.unload()
	return e
}

// load finds the cell of keyBuf outside the young generation.
func (s *KeyValueStore[K, V]) load(hash uint64) (*Cell[V], error) {
	if e := s.cached(hash); e != nil {
		return &e.cell, nil
	}
	if s.fold != nil {
		return nil, s.failed(ErrRestoring)
	}
	body, ok, err := s.lookup(s.valBuf[:0], hash, s.keyBuf)
	if err != nil {
		return nil, s.failed(err)
	}
	s.valBuf = body
	return s.fill(hash, body, ok)
}

// fill makes the cell of keyBuf and sets it to body, as stored.
func (s *KeyValueStore[K, V]) fill(hash uint64, body []byte, ok bool) (*Cell[V], error) {
	var v V
	var timestamp int64
	if ok {
		var err error
		if v, timestamp, err = decodeBody(s.values, body); err != nil {
			return nil, s.failed(err)
		}
	}
	e := s.place(hash, len(body))
	c := &e.cell
	c.Value, c.Timestamp, c.OK, c.state = v, timestamp, ok, cellLoaded
	return c, nil
}

// blind finds or makes the cell of key without reading below. What it holds is not
// to be looked at before it is set.
func (s *KeyValueStore[K, V]) blind(key K) (*Cell[V], error) {
	if err := s.encodeKey(key); err != nil {
		return nil, err
	}
	hash := maphash.Bytes(s.seed, s.keyBuf)
	e := s.cached(hash)
	if e == nil {
		if s.fold != nil {
			return nil, s.failed(ErrRestoring)
		}
		e = s.place(hash, stampLen)
		e.cell.state = cellLoaded
	}
	return &e.cell, nil
}

// place gives the young entry of keyBuf, new or unloaded.
func (s *KeyValueStore[K, V]) place(hash uint64, body int) *entry[V] {
	if e := s.young.find(hash, s.keyBuf); e != nil {
		return e
	}
	var vlen uint32
	if !s.flat && body > stampLen {
		vlen = uint32(body - stampLen)
	}
	return s.add(hash, vlen)
}

func (s *KeyValueStore[K, V]) add(hash uint64, vlen uint32) *entry[V] {
	if clean := s.young.bytes - s.dirtyBytes; clean > s.opt.CacheBytes/2 && clean > s.dirtyBytes/2 {
		s.turn()
	}
	return s.young.add(hash, s.keyBuf, vlen)
}

// turn drops the old generation; the young one becomes old, but for dirty entries:
// they move to the new young one.
func (s *KeyValueStore[K, V]) turn() {
	s.old, s.young = s.young, newGeneration[V]()
	for i, index := range s.dirty {
		was := s.old.at(index)
		e := s.young.add(was.hash, s.old.keys.at(was.key), was.vlen)
		index := e.cell.index
		e.cell, e.removed = was.cell, was.removed
		e.cell.index = index
		s.dirty[i] = index
		was.unload()
	}
}

// touch puts c on the list of what the open layer has changed.
func (s *KeyValueStore[K, V]) touch(c *Cell[V]) {
	e := s.young.at(c.index)
	invariant.Check(&e.cell == c, "store %s: cell used after the store moved on", s.name)
	if e.vlen == 0 && c.OK {
		s.young.bytes += int64(s.typical)
		e.vlen = s.typical
	}
	c.state |= cellDirty
	s.dirty = append(s.dirty, c.index)
	s.dirtyBytes += entryBytes(e)
	if s.order != nil {
		s.order.Set(dirtyKey{s.young.keys.at(e.key), len(s.dirty) - 1})
	}
}

// failed names the store in an error.
func (s *KeyValueStore[K, V]) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store %s: %w", s.name, err)
}

// decodeBody reads what a base holds under a key: timestamp and value.
func decodeBody[V any](values serde.Serde[V], body []byte) (v V, timestamp int64, err error) {
	if len(body) < stampLen {
		return v, 0, fmt.Errorf("value of %d bytes: %w", len(body), ErrDamaged)
	}
	v, err = values.Decode(body[stampLen:])
	if err != nil {
		return v, 0, fmt.Errorf("decode value: %w", err)
	}
	return v, int64(binary.BigEndian.Uint64(body)), nil
}
