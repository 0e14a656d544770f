// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/millrace/millrace/state"
)

// A disk is a backend whose bases outlive their DBs and can crash: what was not
// flushed is lost, and what was is kept for each base by itself.
type disk struct {
	dir string

	mu     sync.Mutex
	bases  map[string]*diskBase // by path and store
	open   map[string]bool
	down   bool
	causes []string // of SetAside
	fault  func(step, store string) error
	closes chan struct{} // not nil: a DB closes when it can receive
}

func newDisk(dir string) *disk {
	return &disk{dir: dir, bases: map[string]*diskBase{}, open: map[string]bool{}}
}

var errDown = errors.New("the process is dead")

func (d *disk) String() string { return "disk" }
func (d *disk) Dir() string    { return d.dir }
func (d *disk) Close() error   { return nil }

func (d *disk) Open(path string) (state.DB, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[path] {
		return nil, fmt.Errorf("%s: %w", path, state.ErrLocked)
	}
	d.open[path] = true
	return &diskDB{d, path}, nil
}

func (d *disk) SetAside(path, cause string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.causes = append(d.causes, cause)
	maps.DeleteFunc(d.bases, func(_ string, b *diskBase) bool { return b.path == path })
	return nil
}

// crash ends the process that works on the disk: nothing takes effect any more.
func (d *disk) crash() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = true
}

// recover is the start of the next process. keep tells whether what was applied
// but not flushed is found all the same, as it may be.
func (d *disk) recover(keep bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down, d.open, d.fault = false, map[string]bool{}, nil
	for _, b := range d.bases {
		if !keep {
			b.now = b.flushed
		}
	}
}

type diskDB struct {
	d    *disk
	path string
}

func (db *diskDB) Base(name string) (state.Base, error) {
	db.d.mu.Lock()
	defer db.d.mu.Unlock()
	id := db.path + "/" + name
	if db.d.bases[id] == nil {
		db.d.bases[id] = &diskBase{d: db.d, path: db.path, name: name}
	}
	return db.d.bases[id], nil
}

func (db *diskDB) Close() error {
	if db.d.closes != nil {
		<-db.d.closes
	}
	db.d.mu.Lock()
	defer db.d.mu.Unlock()
	delete(db.d.open, db.path)
	if db.d.down {
		return errDown
	}
	for _, b := range db.d.bases {
		if b.path == db.path {
			b.flushed = b.now
		}
	}
	return nil
}

type diskBase struct {
	d            *disk
	path, name   string
	now, flushed snapshot
}

// A snapshot does not change once it is there.
type snapshot struct {
	data   map[string]string
	header *state.Header
	size   int64
}

func (b *diskBase) AppendGet(dst, key []byte) ([]byte, bool, error) {
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	v, ok := b.now.data[string(key)]
	return append(dst, v...), ok, nil
}

func (b *diskBase) MultiGet(keys [][]byte, each func(int, []byte, bool)) error {
	for i, k := range keys {
		v, ok, _ := b.AppendGet(nil, k)
		each(i, v, ok)
	}
	return nil
}

func (b *diskBase) Iterate(lower, upper []byte, o state.Order) (state.Iterator, error) {
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	keys := slices.Sorted(maps.Keys(b.now.data))
	keys = slices.DeleteFunc(keys, func(k string) bool { return !within(k, lower, upper) })
	if o == state.Backward {
		slices.Reverse(keys)
	}
	return &diskIterator{data: b.now.data, keys: keys, at: -1}, nil
}

// within tells whether a key is in [lower, upper); nil leaves an end open.
func within(key string, lower, upper []byte) bool {
	return (lower == nil || key >= string(lower)) && (upper == nil || key < string(upper))
}

func (b *diskBase) step(name string) error {
	b.d.mu.Lock()
	fault := b.d.fault
	b.d.mu.Unlock()
	if fault != nil {
		return fault(name, b.name)
	}
	return nil
}

func (b *diskBase) Apply(w *state.Writes, h state.Header) error {
	if err := b.step("apply"); err != nil {
		return err
	}
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	if b.d.down {
		return errDown
	}
	data := maps.Clone(b.now.data)
	if data == nil {
		data = map[string]string{}
	}
	for _, c := range w.List() {
		switch {
		case c.Range:
			maps.DeleteFunc(data, func(k, _ string) bool { return within(k, c.Key, c.Value) })
		case c.Delete:
			delete(data, string(c.Key))
		default:
			data[string(c.Key)] = string(c.Value)
		}
	}
	b.now = snapshot{data, &h, b.now.size + w.Bytes()}
	return nil
}

func (b *diskBase) Load(w *state.Writes, h state.Header) error { return b.Apply(w, h) }

func (b *diskBase) Header() (state.Header, bool, error) {
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	if b.now.header == nil {
		return state.Header{}, false, nil
	}
	return *b.now.header, true, nil
}

func (b *diskBase) Flush() error {
	if err := b.step("flush"); err != nil {
		return err
	}
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	if b.d.down {
		return errDown
	}
	b.flushed = b.now
	b.flushed.size, b.now.size = 0, 0
	return nil
}

func (b *diskBase) Unflushed() int64 {
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	return b.now.size
}

func (b *diskBase) Checkpoint(string) error { return errors.ErrUnsupported }

type diskIterator struct {
	data map[string]string
	keys []string
	at   int
}

func (i *diskIterator) Next() bool    { i.at++; return i.at < len(i.keys) }
func (i *diskIterator) Key() []byte   { return []byte(i.keys[i.at]) }
func (i *diskIterator) Value() []byte { return []byte(i.data[i.keys[i.at]]) }
func (i *diskIterator) Err() error    { return nil }
func (i *diskIterator) Close() error  { return nil }
