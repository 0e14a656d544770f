// SPDX-License-Identifier: Apache-2.0

//go:build rocksdb

package rocksdb

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/linxGnu/grocksdb"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/internal/malloc"
)

// base is the base of one store. In its family lie:
//
//	0        the header
//	1 | key  an entry
type base struct {
	db        *db
	family    *grocksdb.ColumnFamilyHandle
	unflushed atomic.Int64
	pending   atomic.Bool // something was applied since the last Flush, if only a header
}

const (
	headerKey = 0
	dataKey   = 1
)

// ingestBytes is the size from which Load writes a table of its own.
const ingestBytes = 1 << 20

// lookKeys bounds how many keys one call of the library looks up.
const lookKeys = 512

func appendKey(dst []byte, kind byte, key []byte) []byte {
	return append(append(dst, kind), key...)
}

// keys holds buffers for the keys of readers.
var keys = sync.Pool{New: func() any { return new([]byte) }}

// AppendGet implements [state.Base].
func (b *base) AppendGet(dst, key []byte) ([]byte, bool, error) {
	if !b.db.gate.Enter() {
		return dst, false, state.ErrClosed
	}
	defer b.db.gate.Leave()
	return b.get(dst, dataKey, key)
}

func (b *base) get(dst []byte, kind byte, key []byte) ([]byte, bool, error) {
	buf := keys.Get().(*[]byte)
	defer keys.Put(buf)
	*buf = appendKey((*buf)[:0], kind, key)
	value, err := b.db.r.GetPinnedCF(b.db.shared.read, b.family, *buf)
	if err != nil {
		return dst, false, fmt.Errorf("rocksdb get: %w", classify(err))
	}
	if !value.Exists() {
		return dst, false, nil
	}
	dst = append(dst, value.Data()...)
	value.Destroy()
	return dst, true, nil
}

// MultiGet implements [state.Base].
func (b *base) MultiGet(keys [][]byte, each func(i int, value []byte, ok bool)) error {
	if !b.db.gate.Enter() {
		return state.ErrClosed
	}
	defer b.db.gate.Leave()
	for from := 0; from < len(keys); from += lookKeys {
		part := make([][]byte, 0, min(lookKeys, len(keys)-from))
		for _, key := range keys[from:min(from+lookKeys, len(keys))] {
			part = append(part, appendKey(nil, dataKey, key))
		}
		values, err := b.db.r.BatchedMultiGetCF(b.db.shared.read, b.family, false, part...)
		if err != nil {
			return fmt.Errorf("rocksdb multi-get: %w", classify(err))
		}
		for i, value := range values {
			if value.Exists() {
				each(from+i, value.Data(), true)
			} else {
				each(from+i, nil, false)
			}
		}
		values.Destroy()
	}
	return nil
}

// Iterate implements [state.Base].
func (b *base) Iterate(lower, upper []byte, o state.Order) (state.Iterator, error) {
	if !b.db.gate.Enter() {
		return nil, state.ErrClosed
	}
	i := &iterator{db: b.db, order: o, opts: grocksdb.NewDefaultReadOptions()}
	from, to := appendKey(nil, dataKey, lower), []byte{dataKey + 1}
	if upper != nil {
		to = appendKey(nil, dataKey, upper)
	}
	// The library keeps the bounds, not copies.
	i.pins.Pin(&from[0])
	i.pins.Pin(&to[0])
	i.opts.SetIterateLowerBound(from)
	i.opts.SetIterateUpperBound(to)
	i.it = b.db.r.NewIteratorCF(i.opts, b.family)
	return i, nil
}

// Apply implements [state.Base].
func (b *base) Apply(w *state.Writes, h state.Header) error {
	if !b.db.gate.Enter() {
		return state.ErrClosed
	}
	defer b.db.gate.Leave()
	return b.apply(w, h)
}

func (b *base) apply(w *state.Writes, h state.Header) error {
	list := newBatch(b.family.ID())
	for _, c := range w.List() {
		switch {
		case c.Range:
			list.deleteRange(c.Key, c.Value)
		case c.Delete:
			list.delete(c.Key)
		default:
			list.put(c.Key, c.Value)
		}
	}
	list.header(h.Append(nil))
	native := list.native()
	list.release()
	defer native.Destroy()
	if err := b.db.r.Write(b.db.shared.write, native); err != nil {
		return fmt.Errorf("rocksdb apply: %w", classify(err))
	}
	malloc.Trim(time.Now())
	b.unflushed.Add(w.Bytes())
	b.pending.Store(true)
	if int64(b.db.shared.buffers.MemoryUsage()) <= b.db.shared.mostBuffers {
		return nil
	}
	// Files are written more slowly than what is applied comes: wait for this one, and
	// those before it. The library's own way would wait for ever, if what takes the memory
	// were in DBs that nothing is written to any more.
	return b.flush()
}

// Load implements [state.Base]. A big load becomes one table, header included, that
// is put into the tree as a whole and durable at once.
func (b *base) Load(w *state.Writes, h state.Header) error {
	if !b.db.gate.Enter() {
		return state.ErrClosed
	}
	defer b.db.gate.Leave()
	if w.Ranges() {
		return fmt.Errorf("rocksdb load with a range that is deleted: %w", errors.ErrUnsupported)
	}
	if w.Bytes() < ingestBytes {
		return b.apply(w, h)
	}
	if err := b.writeTable(w, h); err != nil {
		return fmt.Errorf("rocksdb load: %w", classify(err))
	}
	if err := b.db.r.IngestExternalFileCF(b.family, []string{b.db.loadFile(b.family.ID())}, b.db.shared.ingest); err != nil {
		return fmt.Errorf("rocksdb load: %w", classify(err))
	}
	return nil
}

func (b *base) writeTable(w *state.Writes, h state.Header) error {
	tw := grocksdb.NewSSTFileWriter(b.db.shared.env, b.db.shared.opts)
	defer tw.Destroy()
	if err := tw.Open(b.db.loadFile(b.family.ID())); err != nil {
		return err
	}
	if err := tw.Put([]byte{headerKey}, h.Append(nil)); err != nil {
		return err
	}
	var key []byte
	for _, c := range w.List() {
		var err error
		key = appendKey(key[:0], dataKey, c.Key)
		if c.Delete {
			err = tw.Delete(key)
		} else {
			err = tw.Put(key, c.Value)
		}
		if err != nil {
			return err
		}
	}
	return tw.Finish()
}

// Header implements [state.Base].
func (b *base) Header() (state.Header, bool, error) {
	if !b.db.gate.Enter() {
		return state.Header{}, false, state.ErrClosed
	}
	defer b.db.gate.Leave()
	body, ok, err := b.get(nil, headerKey, nil)
	if err != nil || !ok {
		return state.Header{}, false, err
	}
	h, err := state.ParseHeader(body)
	if err != nil {
		return state.Header{}, false, fmt.Errorf("%w: %w", state.ErrUnusable, err)
	}
	return h, true, nil
}

// Flush implements [state.Base].
func (b *base) Flush() error {
	if !b.db.gate.Enter() {
		return state.ErrClosed
	}
	defer b.db.gate.Leave()
	return b.flush()
}

func (b *base) flush() error {
	size := b.unflushed.Load()
	if err := b.db.r.FlushCF(b.family, b.db.shared.flush); err != nil {
		return fmt.Errorf("rocksdb flush: %w", classify(err))
	}
	b.unflushed.Add(-size)
	b.pending.Store(false)
	return nil
}

// Unflushed implements [state.Base].
func (b *base) Unflushed() int64 { return b.unflushed.Load() }

// Checkpoint implements [state.Base].
func (b *base) Checkpoint(dir string) error {
	if !b.db.gate.Enter() {
		return state.ErrClosed
	}
	defer b.db.gate.Leave()
	c, err := b.db.r.NewCheckpoint()
	if err != nil {
		return fmt.Errorf("rocksdb checkpoint: %w", classify(err))
	}
	defer c.Destroy()
	if err := c.CreateCheckpoint(dir, 0); err != nil { // 0: flush first
		return fmt.Errorf("rocksdb checkpoint: %w", classify(err))
	}
	return nil
}

// iterator walks over the entries of one store.
type iterator struct {
	db    *db
	opts  *grocksdb.ReadOptions
	it    *grocksdb.Iterator // nil after Close
	pins  runtime.Pinner     // the bounds
	order state.Order
	begun bool
}

func (i *iterator) Next() bool {
	if i.it == nil {
		return false
	}
	switch {
	case !i.begun && i.order == state.Backward:
		i.it.SeekToLast()
	case !i.begun:
		i.it.SeekToFirst()
	case !i.it.Valid():
		return false
	case i.order == state.Backward:
		i.it.Prev()
	default:
		i.it.Next()
	}
	i.begun = true
	return i.it.Valid()
}

func (i *iterator) Key() []byte   { return i.it.Key().Data()[1:] }
func (i *iterator) Value() []byte { return i.it.Value().Data() }

func (i *iterator) Err() error {
	if i.it == nil {
		return nil
	}
	if err := i.it.Err(); err != nil {
		return fmt.Errorf("rocksdb iterate: %w", classify(err))
	}
	return nil
}

func (i *iterator) Close() error {
	if i.it == nil {
		return nil
	}
	err := i.Err()
	i.it.Close()
	i.opts.Destroy()
	i.pins.Unpin()
	i.it = nil
	i.db.gate.Leave()
	return err
}
