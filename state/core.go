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
	// CacheBytes is how much of clean decoded entries is kept; half of it is kept for
	// sure. 16 MiB; with a Budget that has more for each store, that.
	CacheBytes   int64
	ApplyBytes   int64 // 1 MiB, 4 MiB in memory: committed layers are handed to the base from this size on
	RestoreBytes int64 // 16 MiB: changelog records are folded up to this size before a bulk load

	Budget *Budget // none: of the stores of the process together
}

func (o Options) withDefaults(base Base) Options {
	if o.CacheBytes == 0 && o.Budget == nil {
		o.CacheBytes = defaultCache
	}
	if o.ApplyBytes == 0 {
		o.ApplyBytes = 1 << 20
		if _, ok := base.(*memoryBase); ok { // where each change copies its surroundings
			o.ApplyBytes = 4 << 20
		}
	}
	if o.RestoreBytes == 0 {
		o.RestoreBytes = 16 << 20
	}
	return o
}

// A core is a store but for the type of its keys: it knows them as the bytes they
// have in the base. Each kind of store is a core that is told how to make these;
// of its methods those of [life] are the store's.
type core[V any] struct {
	stack
	values  serde.Serde[V]
	seed    maphash.Seed
	flat    bool        // no V holds a pointer: its memory is all in the entry
	length  func(V) int // memory of a value beside the entry, if that is quick to tell; else nil, and known from Seal on
	typical uint32      // of the values in the last sealed layer: a guess for one not sealed yet
	layout  layout      // nil: keys are in the changelog as they are in the base
	clock   *clock      // nil: rows do not expire

	young, old *generation[V]
	dirty      []uint32                // entries of young changed in the open layer, in order of first change
	dirtyBytes int64                   // their memory
	order      *btree.BTreeG[dirtyKey] // the same in order of key; nil until somebody scans the open layer
	shelf      *shelf[V]               // rows by key; nil if the store has none
	frozen     map[string][]byte       // under -tags invariants: value as encoded when it was given
	fold       *fold                   // not nil during a restore
	report     report                  // to the budget
	keyBuf     []byte                  // the last key looked for
	valBuf     []byte                  // the last value read
}

// A layout tells how the keys of a base are written in the changelog.
type layout interface {
	// AppendChangelog appends the changelog's form of a key of the base to dst.
	AppendChangelog(dst, key []byte) ([]byte, error)
	// FromChangelog makes the key of the base of one of the changelog, in dst from
	// its front.
	FromChangelog(dst, key []byte) ([]byte, error)
}

// valuesOf is the serde of the values of a store.
type valuesOf[V any] = serde.Serde[V]

// begin makes the zero core ready.
func (s *core[V]) begin(name string, values valuesOf[V], base Base, opt Options) {
	s.stack.begin(name, base, opt.withDefaults(base))
	s.values, s.seed = values, maphash.MakeSeed()
	s.flat, s.length = isFlat[V](), lengthOf[V]()
	s.young, s.old = newGeneration[V](), newGeneration[V]()
	s.report.begin(opt.Budget)
	if invariant.Enabled {
		s.frozen = map[string][]byte{}
	}
}

// cell finds the place of keyBuf, and reads its value from the layers below if it
// is not there yet.
func (s *core[V]) cell() (*Cell[V], error) {
	hash := s.hash(s.keyBuf)
	if e := s.young.find(hash, s.keyBuf); e != nil && e.cell.state&cellLoaded != 0 {
		return &e.cell, nil
	}
	return s.load(hash)
}

// blindCell finds or makes the cell of keyBuf without reading below. What it holds
// is not to be looked at before it is set.
func (s *core[V]) blindCell() (*Cell[V], error) {
	hash := s.hash(s.keyBuf)
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

// wanted are keys that are to be read from the base at once.
type wanted struct {
	keys   [][]byte
	hashes []uint64
}

// want adds keyBuf to w if only the base can tell what it holds.
func (s *core[V]) want(w *wanted) {
	hash := s.hash(s.keyBuf)
	if s.cached(hash) == nil && !shadowed(s.layers, hash, s.keyBuf) {
		w.keys = append(w.keys, append([]byte(nil), s.keyBuf...))
		w.hashes = append(w.hashes, hash)
	}
}

// fetch reads w into the cache.
func (s *core[V]) fetch(w *wanted) error {
	if len(w.keys) == 0 {
		return nil
	}
	if s.fold != nil {
		return s.failed(ErrRestoring)
	}
	var bad error
	err := s.base.MultiGet(w.keys, func(i int, body []byte, ok bool) {
		s.keyBuf = append(s.keyBuf[:0], w.keys[i]...)
		if s.cached(w.hashes[i]) == nil && bad == nil { // a key may come twice
			_, bad = s.fill(w.hashes[i], body, ok)
		}
	})
	if err == nil {
		err = bad
	}
	return s.failed(err)
}

// eachDirty calls fn for every key that the open layer has changed, in order of the
// first change, until it fails.
func (s *core[V]) eachDirty(fn func(key []byte, c *Cell[V]) error) error {
	for _, index := range s.dirty {
		e := s.young.at(index)
		if e.cell.state&cellFree != 0 {
			continue
		}
		if err := fn(s.young.key(e), &e.cell); err != nil {
			return err
		}
	}
	return nil
}

// set puts v under the key of c. A v that is the null of its type removes the key.
func (s *core[V]) set(c *Cell[V], v V, timestamp int64) {
	if s.values.IsNull != nil && s.values.IsNull(v) {
		s.unset(c, timestamp)
		return
	}
	c.Value, c.Timestamp, c.OK = v, timestamp, true
	if s.shelf != nil {
		s.shelve(c)
	}
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

// unset removes the key of c.
func (s *core[V]) unset(c *Cell[V], timestamp int64) {
	var none V
	c.Value, c.Timestamp, c.OK = none, 0, false
	if s.shelf != nil {
		s.shelve(c)
	}
	if c.state&cellDirty == 0 {
		s.touch(c)
	}
	s.young.at(c.index).removed = timestamp
	if invariant.Enabled {
		s.freeze(c)
	}
}

// cached finds the entry of keyBuf with its value, in the young generation, where
// it moves if it was in the old one. Nil if it is in neither.
func (s *core[V]) cached(hash uint64) *entry[V] {
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
func (s *core[V]) load(hash uint64) (*Cell[V], error) {
	if e := s.cached(hash); e != nil {
		return &e.cell, nil
	}
	if s.fold != nil {
		return nil, s.failed(ErrRestoring)
	}
	if s.shelf != nil {
		if c := s.unshelve(hash); c != nil {
			return c, nil
		}
	}
	body, ok, err := s.lookup(s.valBuf[:0], hash, s.keyBuf)
	if err != nil {
		return nil, s.failed(err)
	}
	s.valBuf = body
	return s.fill(hash, body, ok)
}

// fill makes the cell of keyBuf and sets it to body, as stored.
func (s *core[V]) fill(hash uint64, body []byte, ok bool) (*Cell[V], error) {
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

// place gives the young entry of keyBuf, new or unloaded.
func (s *core[V]) place(hash uint64, body int) *entry[V] {
	if e := s.young.find(hash, s.keyBuf); e != nil {
		return e
	}
	var vlen uint32
	if !s.flat && body > stampLen {
		vlen = uint32(body - stampLen)
	}
	return s.add(hash, vlen)
}

// cacheBytes is how much clean entries may take now.
func (s *core[V]) cacheBytes() int64 {
	if s.report.to == nil {
		return s.opt.CacheBytes
	}
	return s.report.to.cache(s.opt.CacheBytes)
}

func (s *core[V]) add(hash uint64, vlen uint32) *entry[V] {
	clean := s.young.bytes - s.dirtyBytes
	if limit := s.cacheBytes(); clean > limit/2 && clean > s.dirtyBytes/2 {
		s.turn()
		if s.old.bytes > limit { // it grew while there was more room
			s.old = newGeneration[V]()
		}
		s.memory()
	}
	return s.young.add(hash, s.keyBuf, vlen)
}

// turn drops the old generation; the young one becomes old, but for dirty entries:
// they move to the new young one.
func (s *core[V]) turn() {
	s.settle()
	s.old, s.young = s.young, newGeneration[V]()
	for i, index := range s.dirty {
		was := s.old.at(index)
		e := s.young.add(was.hash, s.old.key(was), was.vlen)
		index := e.cell.index
		e.cell, e.removed = was.cell, was.removed
		e.cell.index = index
		s.dirty[i] = index
		was.unload()
	}
}

// touch puts c on the list of what the open layer has changed.
func (s *core[V]) touch(c *Cell[V]) {
	e := s.young.at(c.index)
	if invariant.Enabled { // the arguments cost an allocation
		invariant.Check(&e.cell == c, "store %s: cell used after the store moved on", s.name)
	}
	if e.vlen == 0 && c.OK {
		s.young.bytes += int64(s.typical)
		e.vlen = s.typical
	}
	c.state |= cellDirty
	s.dirty = append(s.dirty, c.index)
	s.dirtyBytes += entryBytes(e)
	if s.order != nil {
		s.order.Set(dirtyKey{s.young.key(e), len(s.dirty) - 1})
	}
}

// failed names the store in an error.
func (s *core[V]) failed(err error) error {
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

// appendKey appends the encoded key to dst.
func appendKey[K any](dst []byte, keys serde.Serde[K], key K) ([]byte, error) {
	if keys.IsNull != nil && keys.IsNull(key) {
		return dst, fmt.Errorf("key: %w", serde.ErrNull)
	}
	b, err := keys.Append(dst, key)
	if err != nil {
		return dst, fmt.Errorf("encode key: %w", err)
	}
	return b, nil
}
