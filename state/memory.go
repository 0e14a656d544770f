// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/state/internal/gate"
)

// Memory makes a backend whose bases are sorted tables in memory, copied on write: a read
// or an iterator works on the table of its moment and never waits. A DB's stores
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
		b.now.Store(&memoryState{table: &table{}})
		db.bases[name] = b
	}
	return b, nil
}

func (db *memoryDB) Close() error {
	if !db.gate.Close() {
		return nil
	}
	for _, b := range db.bases {
		b.now.Store(&memoryState{table: &table{}})
	}
	db.m.mu.Lock()
	defer db.m.mu.Unlock()
	delete(db.m.open, db.path)
	return nil
}

// memoryState is what a base holds at a moment. It does not change.
type memoryState struct {
	table  *table
	header *Header
}

type memoryBase struct {
	gate *gate.Gate
	now  atomic.Pointer[memoryState]
	size atomic.Int64 // bytes applied since Flush
}

// enter gives the present state; the caller leaves the gate.
func (b *memoryBase) enter() (*memoryState, error) {
	if !b.gate.Enter() {
		return nil, ErrClosed
	}
	return b.now.Load(), nil
}

func (b *memoryBase) AppendGet(dst, key []byte) ([]byte, bool, error) {
	now, err := b.enter()
	if err != nil {
		return dst, false, err
	}
	defer b.gate.Leave()
	v, ok := now.table.get(key)
	return append(dst, v...), ok, nil
}

func (b *memoryBase) MultiGet(keys [][]byte, each func(i int, value []byte, ok bool)) error {
	now, err := b.enter()
	if err != nil {
		return err
	}
	defer b.gate.Leave()
	for i, key := range keys {
		v, ok := now.table.get(key)
		each(i, v, ok)
	}
	return nil
}

func (b *memoryBase) Iterate(lower, upper []byte, o Order) (Iterator, error) {
	now, err := b.enter()
	if err != nil {
		return nil, err
	}
	defer b.gate.Leave() // the table stays as it is, also after Close
	return &memoryIterator{
		scan: tableScan{t: now.table}, order: o, lower: bytes.Clone(lower), upper: bytes.Clone(upper),
	}, nil
}

func (b *memoryBase) Apply(w *Writes, h Header) error {
	now, err := b.enter()
	if err != nil {
		return err
	}
	defer b.gate.Leave()
	t, list := now.table, w.List()
	for len(list) > 0 {
		n := len(list)
		if w.Ranges() {
			if n = slices.IndexFunc(list, func(c Write) bool { return c.Range }); n < 0 {
				n = len(list)
			}
		}
		t = t.with(list[:n])
		if list = list[n:]; len(list) > 0 {
			t, list = t.without(list[0].Key, list[0].Value), list[1:]
		}
	}
	b.now.Store(&memoryState{t, &h})
	b.size.Add(w.Bytes())
	return nil
}

func (b *memoryBase) Load(w *Writes, h Header) error {
	if w.Ranges() {
		return errRange
	}
	return b.Apply(w, h)
}

var errRange = fmt.Errorf("load with a range that is deleted: %w", errors.ErrUnsupported)

func (b *memoryBase) Header() (Header, bool, error) {
	now, err := b.enter()
	if err != nil {
		return Header{}, false, err
	}
	defer b.gate.Leave()
	if now.header == nil {
		return Header{}, false, nil
	}
	return *now.header, true, nil
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

// memoryIterator walks over one table.
type memoryIterator struct {
	scan         tableScan
	order        Order
	lower, upper []byte
	begun        bool
	ended        bool
}

func (i *memoryIterator) Next() bool {
	if i.ended {
		return false
	}
	i.move()
	switch {
	case !i.scan.at():
		i.ended = true
	case i.order == Backward:
		i.ended = bytes.Compare(i.scan.key(), i.lower) < 0
	default:
		i.ended = i.upper != nil && bytes.Compare(i.scan.key(), i.upper) >= 0
	}
	return !i.ended
}

func (i *memoryIterator) move() {
	begun := i.begun
	i.begun = true
	switch {
	case begun && i.order == Backward:
		i.scan.prev()
	case begun:
		i.scan.next()
	case i.order == Forward:
		i.scan.seek(i.lower)
	case i.upper == nil:
		i.scan.last()
	default:
		i.scan.seek(i.upper)
		i.scan.prev()
	}
}

func (i *memoryIterator) Key() []byte   { return i.scan.key() }
func (i *memoryIterator) Value() []byte { return i.scan.value() }
func (i *memoryIterator) Err() error    { return nil }

func (i *memoryIterator) Close() error {
	i.ended = true
	return nil
}
