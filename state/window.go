// SPDX-License-Identifier: Apache-2.0

package state

import (
	"errors"
	"fmt"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state/internal/keyenc"
)

// KindWindow is the [Store.Kind] of a [WindowStore].
const KindWindow = "window"

// WindowOptions are what a window store is, beside its types.
type WindowOptions struct {
	// Size is the length of a window in ms. The store only notes it.
	Size int64
	// Retention is how long rows are kept, in ms: a row is gone once the observed
	// time is Retention or more after its start. 0: for ever.
	Retention int64
	// Duplicates lets many rows have the same key and start, in order of their Put:
	// the buffers of joins.
	Duplicates bool
	// ByTime puts rows in order of start, then key. What is of a span of time, all
	// keys together, is then found at once, while Fetch of one key goes through all
	// rows of its span. Without it rows are in order of segment, key, start.
	ByTime bool
}

// A WindowStore holds the latest value of each key and window start, or with
// Duplicates each value, with timestamps. Rows expire, see [Timed]. Values given
// to it are frozen: neither the caller nor who reads them may change what they
// refer to.
//
// It belongs to one worker, but for the view that Committed gives.
type WindowStore[K, V any] struct {
	timedCore[V]
	keys    serde.Serde[K]
	options WindowOptions
	layout  keyenc.Window
}

var _ Timed = (*WindowStore[string, int64])(nil)

// OpenWindow makes the store called name on base. It reads nothing yet: whether
// what the base holds fits is told by its header, and checked by the caller.
func OpenWindow[K, V any](name string, keys serde.Serde[K], values serde.Serde[V], w WindowOptions, base Base, opt Options) *WindowStore[K, V] {
	length := keyenc.SegmentLength(w.Retention)
	s := &WindowStore[K, V]{keys: keys, options: w, layout: keyenc.Window{Segment: length, ByTime: w.ByTime}}
	s.begin(name, values, base, opt, newClock(s.layout, w.Retention, length))
	if w.Duplicates {
		s.c.useShelf(opt)
	}
	return s
}

// Kind implements [Store].
func (s *WindowStore[K, V]) Kind() string { return KindWindow }

// Serdes implements [Store]: the names of the serdes of key and value, the size of
// windows, and what the bytes in a base depend on.
func (s *WindowStore[K, V]) Serdes() string {
	text := fmt.Sprintf("%s,%s,size=%d,segment=%d", s.keys.Name, s.c.values.Name, s.options.Size, s.layout.Segment)
	if s.options.Duplicates {
		text += ",duplicates"
	}
	if s.options.ByTime {
		text += ",bytime"
	}
	return text
}

// Options gives what the store was opened with.
func (s *WindowStore[K, V]) Options() WindowOptions { return s.options }

var errDuplicates = errors.New("state: not for a store that keeps duplicates")

// Cell finds the place of the row of key and start, and reads its value from the
// layers below if it is not there yet. It allocates nothing for a row in the
// cache. The cell is valid until the next call on the store. For a row that is gone
// it has no value, and takes none. Not for stores that keep duplicates.
func (s *WindowStore[K, V]) Cell(key K, start int64) (*Cell[V], error) {
	if s.options.Duplicates {
		return nil, s.c.failed(errDuplicates)
	}
	if err := s.encode(key, start, 0); err != nil {
		return nil, err
	}
	return s.rowCell(start)
}

// Get reads the row of key and start. ok is false if it has no value. Not for stores
// that keep duplicates.
func (s *WindowStore[K, V]) Get(key K, start int64) (v V, timestamp int64, ok bool, err error) {
	c, err := s.Cell(key, start)
	if err != nil {
		return v, 0, false, err
	}
	return c.Value, c.Timestamp, c.OK, nil
}

// Put sets the row of key and start to v without reading what it was; with
// duplicates it adds one. A v that is the null of its type removes the row, and adds
// nothing. False if the row is gone.
func (s *WindowStore[K, V]) Put(key K, start int64, v V, timestamp int64) (bool, error) {
	null := s.c.values.IsNull != nil && s.c.values.IsNull(v)
	if err := s.c.ready(); err != nil {
		return false, err
	}
	seq := uint32(0)
	if s.options.Duplicates {
		if null {
			return true, nil
		}
		seq = s.c.clock.now.seq
	}
	if err := s.encode(key, start, seq); err != nil {
		return false, err
	}
	ok, err := s.putRow(start, v, !null, timestamp)
	if ok && s.options.Duplicates {
		s.c.clock.now.seq++
	}
	return ok, err
}

// Delete removes the row of key and start without reading what it was; with
// duplicates it looks for all of them. False if they are gone.
func (s *WindowStore[K, V]) Delete(key K, start, timestamp int64) (bool, error) {
	var none V
	if !s.options.Duplicates {
		if err := s.encode(key, start, 0); err != nil {
			return false, err
		}
		return s.putRow(start, none, false, timestamp)
	}
	var seqs []uint32
	sc := s.Fetch(key, start, start, Forward)
	for sc.Next() {
		seqs = append(seqs, sc.seq)
	}
	if sc.Err() != nil {
		return false, sc.Err()
	}
	live := start > s.c.clock.floor
	for _, seq := range seqs {
		if err := s.encode(key, start, seq); err != nil {
			return false, err
		}
		if _, err := s.putRow(start, none, false, timestamp); err != nil {
			return false, err
		}
	}
	return live, nil
}

// EachDirty calls fn for every row that the open layer has changed, in order of
// the first change, until it fails; also for those that are gone since. c is valid
// during the call; fn calls nothing of the store but OldOf.
func (s *WindowStore[K, V]) EachDirty(fn func(key K, start int64, c *Cell[V]) error) error {
	return s.c.eachDirty(func(k []byte, c *Cell[V]) error {
		key, start, _, err := s.decode(k)
		if err != nil {
			return s.c.failed(err)
		}
		return fn(key, start, c)
	})
}

// encode sets keyBuf, and makes the clock ready.
func (s *WindowStore[K, V]) encode(key K, start int64, seq uint32) error {
	if err := s.c.ready(); err != nil {
		return err
	}
	b, err := s.appendRow(s.c.keyBuf[:0], key, start, seq)
	if err != nil {
		return s.c.failed(err)
	}
	s.c.keyBuf = b
	return nil
}

func (s *WindowStore[K, V]) appendRow(dst []byte, key K, start int64, seq uint32) ([]byte, error) {
	b, err := appendKey(s.layout.Head(dst, start), s.keys, key)
	if err != nil {
		return dst, err
	}
	return s.layout.Tail(b, start, seq), nil
}

func (s *WindowStore[K, V]) decode(row []byte) (key K, start int64, seq uint32, err error) {
	k, start, seq, err := s.layout.Parse(nil, row)
	if err != nil {
		return key, 0, 0, fmt.Errorf("key %x: %w: %w", row, ErrDamaged, err)
	}
	if key, err = s.keys.Decode(k); err != nil {
		return key, 0, 0, fmt.Errorf("decode key %x: %w", k, err)
	}
	return key, start, seq, nil
}
