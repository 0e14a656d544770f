// SPDX-License-Identifier: Apache-2.0

package state

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/tidwall/btree"

	"github.com/millrace/millrace/state/internal/gate"
)

// Memory makes a backend whose bases are B-trees in memory, copied on write: a read
// or an iterator works on the tree of its moment and never waits. A DB's stores
// are gone when it is closed, and restored from the changelog when it is opened again.
func Memory() Backend { return &memory{open: map[string]bool{}} }

type memory struct {
	mu   sync.Mutex
	open map[string]bool // paths in use
	shut bool
}

func (m *memory) String() string { return "memory" }
func (m *memory) Dir() string    { return "" }

func (m *memory) Open(path string) (DB, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shut {
		return nil, fmt.Errorf("open %s: %w", path, ErrClosed)
	}
	if m.open[path] {
		return nil, fmt.Errorf("open %s: %w", path, ErrLocked)
	}
	m.open[path] = true
	return &memoryDB{m: m, path: path, bases: map[string]*memoryBase{}}, nil
}

func (m *memory) SetAside(string, string) error { return nil }

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shut = true
	return nil
}

type memoryDB struct {
	m     *memory
	path  string
	gate  gate.Gate
	bases map[string]*memoryBase
}

func (db *memoryDB) Base(name string) (Base, error) {
	if !db.gate.Enter() {
		return nil, fmt.Errorf("store %s: %w", name, ErrClosed)
	}
	defer db.gate.Leave()
	b := db.bases[name]
	if b == nil {
		b = &memoryBase{gate: &db.gate}
		b.tree.Store(&memoryTree{data: *btree.NewMap[string, []byte](0)})
		db.bases[name] = b
	}
	return b, nil
}

func (db *memoryDB) Close() error {
	if !db.gate.Close() {
		return nil
	}
	for _, b := range db.bases {
		b.tree.Store(&memoryTree{})
	}
	db.m.mu.Lock()
	defer db.m.mu.Unlock()
	delete(db.m.open, db.path)
	return nil
}

// memoryTree is a state of a base. It does not change once it is published.
type memoryTree struct {
	data   btree.Map[string, []byte]
	header *Header
}

type memoryBase struct {
	gate *gate.Gate
	tree atomic.Pointer[memoryTree]
	size atomic.Int64 // bytes applied since Flush
}

// enter gives the present tree; the caller leaves the gate.
func (b *memoryBase) enter() (*memoryTree, error) {
	if !b.gate.Enter() {
		return nil, ErrClosed
	}
	return b.tree.Load(), nil
}

func (b *memoryBase) AppendGet(dst, key []byte) ([]byte, bool, error) {
	t, err := b.enter()
	if err != nil {
		return dst, false, err
	}
	defer b.gate.Leave()
	v, ok := t.data.Get(alias(key))
	return append(dst, v...), ok, nil
}

func (b *memoryBase) MultiGet(keys [][]byte, each func(i int, value []byte, ok bool)) error {
	t, err := b.enter()
	if err != nil {
		return err
	}
	defer b.gate.Leave()
	for i, key := range keys {
		v, ok := t.data.Get(alias(key))
		each(i, v, ok)
	}
	return nil
}

func (b *memoryBase) Iterate(lower, upper []byte, o Order) (Iterator, error) {
	t, err := b.enter()
	if err != nil {
		return nil, err
	}
	defer b.gate.Leave() // the tree stays as it is, also after Close
	return &memoryIterator{
		it: t.data.Iter(), order: o,
		lower: string(lower), upper: string(upper), bounded: upper != nil,
	}, nil
}

func (b *memoryBase) Apply(w *Writes, h Header) error {
	t, err := b.enter()
	if err != nil {
		return err
	}
	defer b.gate.Leave()
	next := &memoryTree{data: *t.data.Copy(), header: &h}
	for _, c := range w.List() {
		switch {
		case c.Range:
			next.deleteRange(c.Key, c.Value)
		case c.Delete:
			next.data.Delete(alias(c.Key))
		default:
			b := append(append(make([]byte, 0, len(c.Key)+len(c.Value)), c.Key...), c.Value...)
			next.data.Set(alias(b[:len(c.Key)]), b[len(c.Key):])
		}
	}
	b.tree.Store(next)
	b.size.Add(w.Bytes())
	return nil
}

// deleteRange takes the keys of [lower, upper) out of a tree that is not published.
func (t *memoryTree) deleteRange(lower, upper []byte) {
	var keys []string
	t.data.Ascend(alias(lower), func(key string, _ []byte) bool {
		if key < alias(upper) {
			keys = append(keys, key)
			return true
		}
		return false
	})
	for _, key := range keys {
		t.data.Delete(key)
	}
}

func (b *memoryBase) Load(w *Writes, h Header) error {
	if w.Ranges() {
		return errRange
	}
	return b.Apply(w, h)
}

var errRange = fmt.Errorf("load with a range that is deleted: %w", errors.ErrUnsupported)

func (b *memoryBase) Header() (Header, bool, error) {
	t, err := b.enter()
	if err != nil {
		return Header{}, false, err
	}
	defer b.gate.Leave()
	if t.header == nil {
		return Header{}, false, nil
	}
	return *t.header, true, nil
}

func (b *memoryBase) Flush() error {
	if _, err := b.enter(); err != nil {
		return err
	}
	defer b.gate.Leave()
	b.size.Store(0)
	return nil
}

func (b *memoryBase) Unflushed() int64 { return b.size.Load() }

func (b *memoryBase) Checkpoint(string) error {
	return fmt.Errorf("checkpoint of a store in memory: %w", errors.ErrUnsupported)
}

// memoryIterator walks over one tree.
type memoryIterator struct {
	it           btree.MapIter[string, []byte]
	order        Order
	lower, upper string
	bounded      bool // upper counts
	begun        bool
	ended        bool
}

func (i *memoryIterator) Next() bool {
	if i.ended || !i.move() {
		i.ended = true
		return false
	}
	key := i.it.Key()
	if i.order == Backward {
		i.ended = key < i.lower
	} else {
		i.ended = i.bounded && key >= i.upper
	}
	return !i.ended
}

func (i *memoryIterator) move() bool {
	begun := i.begun
	i.begun = true
	switch {
	case begun && i.order == Backward:
		return i.it.Prev()
	case begun:
		return i.it.Next()
	case i.order == Forward:
		return i.it.Seek(i.lower)
	case !i.bounded:
		return i.it.Last()
	case i.it.Seek(i.upper): // stands on upper or after it
		return i.it.Prev()
	default:
		return i.it.Last()
	}
}

func (i *memoryIterator) Key() []byte {
	key := i.it.Key()
	if key == "" {
		return []byte{} // nil would be a null
	}
	return unsafe.Slice(unsafe.StringData(key), len(key))
}

func (i *memoryIterator) Value() []byte { return i.it.Value() }
func (i *memoryIterator) Err() error    { return nil }

func (i *memoryIterator) Close() error {
	i.ended = true
	return nil
}

// alias reads b as a string without copying, for a look-up that keeps nothing.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
