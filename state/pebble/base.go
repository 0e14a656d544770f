// SPDX-License-Identifier: Apache-2.0

package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace/millrace/state"
)

// base is the base of one store.
type base struct {
	db        *db
	number    uint32
	unflushed atomic.Int64
}

const (
	headerKey = 0
	dataKey   = 1
	prefixLen = 5
)

const (
	ingestBytes = 1 << 20 // Load writes a table of its own from this size on
	loadLevel   = 5       // and with the options of this level
)

func (b *base) appendKey(dst []byte, kind byte, key []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, b.number)
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
	*buf = b.appendKey((*buf)[:0], kind, key)
	value, closer, err := b.db.p.Get(*buf)
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, false, nil
	}
	if err != nil {
		return dst, false, fmt.Errorf("pebble get: %w", classify(err))
	}
	dst = append(dst, value...)
	if err := closer.Close(); err != nil {
		return dst, false, fmt.Errorf("pebble get: %w", classify(err))
	}
	return dst, true, nil
}

// MultiGet implements [state.Base].
func (b *base) MultiGet(keys [][]byte, each func(i int, value []byte, ok bool)) error {
	if !b.db.gate.Enter() {
		return state.ErrClosed
	}
	defer b.db.gate.Leave()
	var buf []byte
	for i, key := range keys {
		value, ok, err := b.get(buf[:0], dataKey, key)
		if err != nil {
			return err
		}
		buf = value
		each(i, value, ok)
	}
	return nil
}

// Iterate implements [state.Base].
func (b *base) Iterate(lower, upper []byte, o state.Order) (state.Iterator, error) {
	if !b.db.gate.Enter() {
		return nil, state.ErrClosed
	}
	opts := &pebble.IterOptions{LowerBound: b.appendKey(nil, dataKey, lower)}
	if upper == nil {
		opts.UpperBound = b.appendKey(nil, dataKey+1, nil)
	} else {
		opts.UpperBound = b.appendKey(nil, dataKey, upper)
	}
	it, err := b.db.p.NewIter(opts)
	if err != nil {
		b.db.gate.Leave()
		return nil, fmt.Errorf("pebble iterate: %w", classify(err))
	}
	return &iterator{db: b.db, it: it, order: o}, nil
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
	batch := b.db.p.NewBatchWithSize(int(w.Bytes()) + 16*w.Len() + 256)
	defer batch.Close()
	var key []byte
	for _, c := range w.List() {
		var err error
		key = b.appendKey(key[:0], dataKey, c.Key)
		switch {
		case c.Range:
			err = batch.DeleteRange(key, b.appendKey(nil, dataKey, c.Value), nil)
		case c.Delete:
			err = batch.Delete(key, nil)
		default:
			err = batch.Set(key, c.Value, nil)
		}
		if err != nil {
			return fmt.Errorf("pebble apply: %w", err)
		}
	}
	if err := batch.Set(b.appendKey(key[:0], headerKey, nil), h.Append(nil), nil); err != nil {
		return fmt.Errorf("pebble apply: %w", err)
	}
	if err := b.db.p.Apply(batch, pebble.NoSync); err != nil {
		return fmt.Errorf("pebble apply: %w", err)
	}
	b.unflushed.Add(w.Bytes())
	return nil
}

// Load implements [state.Base]. A big load becomes one table, header included, that
// is put into the tree as a whole.
func (b *base) Load(w *state.Writes, h state.Header) error {
	if !b.db.gate.Enter() {
		return state.ErrClosed
	}
	defer b.db.gate.Leave()
	if w.Ranges() {
		return fmt.Errorf("pebble load with a range that is deleted: %w", errors.ErrUnsupported)
	}
	if w.Bytes() < ingestBytes {
		return b.apply(w, h)
	}
	if err := b.writeTable(w, h); err != nil {
		return fmt.Errorf("pebble load: %w", err)
	}
	if err := b.db.p.Ingest(context.Background(), []string{b.db.loadFile(b.number)}); err != nil {
		return fmt.Errorf("pebble load: %w", classify(err))
	}
	b.unflushed.Add(w.Bytes()) // it may wait in memory behind older writes
	return nil
}

func (b *base) writeTable(w *state.Writes, h state.Header) (err error) {
	f, err := b.db.fs.Create(b.db.loadFile(b.number), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	// Not the options of the lowest level: in a table written with those a deletion
	// hides nothing.
	opts := b.db.opts.MakeWriterOptions(loadLevel, b.db.p.TableFormat())
	tw := sstable.NewWriter(objstorageprovider.NewFileWritable(f), opts)
	defer func() { err = errors.Join(err, tw.Close()) }()
	key := b.appendKey(nil, headerKey, nil)
	if err := tw.Set(key, h.Append(nil)); err != nil {
		return err
	}
	for _, c := range w.List() {
		key = b.appendKey(key[:0], dataKey, c.Key)
		if c.Delete {
			err = tw.Delete(key)
		} else {
			err = tw.Set(key, c.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
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

// Flush implements [state.Base]. It makes all stores of the task durable.
func (b *base) Flush() error {
	if !b.db.gate.Enter() {
		return state.ErrClosed
	}
	defer b.db.gate.Leave()
	if err := b.db.flush(); err != nil {
		return fmt.Errorf("pebble flush: %w", err)
	}
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
	if err := b.db.flush(); err != nil {
		return fmt.Errorf("pebble checkpoint: %w", err)
	}
	if err := b.db.p.Checkpoint(dir); err != nil {
		return fmt.Errorf("pebble checkpoint: %w", classify(err))
	}
	return nil
}

// iterator walks over the entries of one store.
type iterator struct {
	db    *db
	it    *pebble.Iterator // nil after Close
	order state.Order
	begun bool
	value []byte
	err   error
}

func (i *iterator) Next() bool {
	if i.it == nil || i.err != nil || !i.move() {
		return false
	}
	i.value, i.err = i.it.ValueAndErr()
	return i.err == nil
}

func (i *iterator) move() bool {
	begun := i.begun
	i.begun = true
	switch {
	case begun && i.order == state.Backward:
		return i.it.Prev()
	case begun:
		return i.it.Next()
	case i.order == state.Backward:
		return i.it.Last()
	default:
		return i.it.First()
	}
}

func (i *iterator) Key() []byte   { return i.it.Key()[prefixLen:] }
func (i *iterator) Value() []byte { return i.value }

func (i *iterator) Err() error {
	err := i.err
	if err == nil && i.it != nil {
		err = i.it.Error()
	}
	if err != nil {
		return fmt.Errorf("pebble iterate: %w", classify(err))
	}
	return nil
}

func (i *iterator) Close() error {
	if i.it == nil {
		return nil
	}
	err := i.it.Close()
	i.it = nil
	i.db.gate.Leave()
	if err != nil {
		return fmt.Errorf("pebble iterate: %w", classify(err))
	}
	return nil
}
