// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"math"

	"github.com/millrace/millrace/opt"
)

// Fetch scans the rows of key whose start is in [from, to], in order of start and,
// with duplicates, of their Put. The scan sees the store as it is now, the open
// layer too: what is changed while it runs does not show. Unless it is read to its
// end it must be closed.
func (s *WindowStore[K, V]) Fetch(key K, from, to int64, o Order) *WindowScan[K, V] {
	return s.scan(opt.Some(key), opt.Some(key), from, to, o)
}

// AppendRows appends what a forward Fetch of key would give to dst. In a store with
// duplicates it allocates nothing, and reads neither layers nor base, where the rows
// lie in memory: those of recent times do.
func (s *WindowStore[K, V]) AppendRows(dst []Row[V], key K, from, to int64) ([]Row[V], error) {
	if err := s.encode(key, from, 0); err != nil {
		return dst, err
	}
	lo, hi, ok := s.c.clock.live(from, to)
	if !ok {
		return dst, nil
	}
	rows, err := s.c.heldRows(lo, func() (span, error) {
		return s.span(s.c.clock, opt.Some(key), opt.Some(key), lo, math.MaxInt64)
	})
	if err != nil {
		return dst, err
	}
	for i := range rows {
		r := &rows[i]
		if r.time > hi {
			break
		}
		dst = append(dst, Row[V]{Start: r.time, Value: r.value, Timestamp: r.timestamp})
	}
	return dst, nil
}

// FetchAll scans the rows of all keys whose start is in [from, to]. They come as they
// lie in the base: in order of segment, encoded key, start, as those of Kafka
// Streams on RocksDB do, and with ByTime in order of start, encoded key. A segment
// is half of the retention, or a minute if that is longer. As Fetch otherwise.
func (s *WindowStore[K, V]) FetchAll(from, to int64, o Order) *WindowScan[K, V] {
	return s.scan(opt.None[K](), opt.None[K](), from, to, o)
}

// FetchRange is FetchAll for the keys from first to last, both included, in order of
// their encodings; an absent bound leaves that end open.
func (s *WindowStore[K, V]) FetchRange(first, last opt.V[K], from, to int64, o Order) *WindowScan[K, V] {
	return s.scan(first, last, from, to, o)
}

// All is FetchAll without bounds.
func (s *WindowStore[K, V]) All(o Order) *WindowScan[K, V] {
	return s.FetchAll(math.MinInt64, math.MaxInt64, o)
}

func (s *WindowStore[K, V]) scan(first, last opt.V[K], from, to int64, o Order) *WindowScan[K, V] {
	sc := &WindowScan[K, V]{s: s}
	if err := s.c.ready(); err != nil {
		sc.err = err
		return sc
	}
	span, err := s.span(s.c.clock, first, last, from, to)
	if err != nil {
		sc.err = s.c.failed(err)
		return sc
	}
	sc.rows = s.c.openScan(span, o)
	return sc
}

// span tells where rows of some keys and times lie, as k has it.
func (s *WindowStore[K, V]) span(k *clock, first, last opt.V[K], from, to int64) (span, error) {
	lower, upper, err := escapedBounds(s.keys, first, last)
	if err != nil {
		return span{}, err
	}
	lo, hi, ok := k.live(from, to)
	if !ok {
		return span{}, nil
	}
	sp := span{accept: func(row []byte) bool {
		if len(row) < s.layout.Least() {
			return true // it is damaged: the decoding tells
		}
		t := s.layout.Time(row)
		return t >= lo && t <= hi && between(row[8:], lower, upper)
	}}
	if s.layout.ByTime {
		sp.add(s.layout.Head(nil, lo), successor(s.layout.Head(nil, hi)))
		return sp, nil
	}
	one := first.OK && last.OK && bytes.Equal(lower, upper)
	sp.segments(k, lo, hi, lower, upper, one)
	return sp, nil
}

// Committed gives the committed view. It may be called by any goroutine.
func (s *WindowStore[K, V]) Committed() WindowView[K, V] { return WindowView[K, V]{s} }

// A WindowView reads what is committed in a window store: the base and the
// committed layers, with the observed time of that commit. It takes no lock of the
// store, and any number of goroutines may use it beside the worker.
type WindowView[K, V any] struct {
	s *WindowStore[K, V] // only fields that never change, and stack.view
}

// Get reads the row of key and start as of the last Commit.
func (v WindowView[K, V]) Get(key K, start int64) (value V, timestamp int64, ok bool, err error) {
	sc := v.Fetch(key, start, start, Backward) // the last one of duplicates
	if sc.Next() {
		value, timestamp, ok = sc.Value(), sc.Timestamp(), true
	}
	if err = sc.Err(); err == nil {
		err = sc.Close()
	}
	return value, timestamp, ok, err
}

// Fetch is [WindowStore.Fetch] over what is committed: all of one commit, and nothing
// of the next.
func (v WindowView[K, V]) Fetch(key K, from, to int64, o Order) *WindowScan[K, V] {
	return v.FetchRange(opt.Some(key), opt.Some(key), from, to, o)
}

// FetchRange is [WindowStore.FetchRange] over what is committed.
func (v WindowView[K, V]) FetchRange(first, last opt.V[K], from, to int64, o Order) *WindowScan[K, V] {
	s := v.s
	return &WindowScan[K, V]{s: s, rows: s.c.openView(o, func(m marks) (span, error) {
		k := newClock(s.layout, s.options.Retention, s.layout.Segment)
		k.set(m)
		return s.span(k, first, last, from, to)
	})}
}

// A WindowScan walks over rows of a window store. It belongs to one goroutine.
//
//	sc := store.Fetch(key, from, to, state.Forward)
//	defer sc.Close()
//	for sc.Next() {
//		use(sc.Start(), sc.Value())
//	}
//	return sc.Err()
type WindowScan[K, V any] struct {
	s     *WindowStore[K, V]
	rows  *rowScan[V]
	err   error
	key   K
	start int64
	seq   uint32
}

// Next goes to the next row. False means the end, or an error: see Err; what the
// scan holds is then freed.
func (sc *WindowScan[K, V]) Next() bool {
	if sc.err != nil || sc.rows == nil || !sc.rows.next() {
		return false
	}
	var err error
	if sc.key, sc.start, sc.seq, err = sc.s.decode(sc.rows.key); err != nil {
		sc.rows.fail(err)
		return false
	}
	return true
}

// Key is the row's key.
func (sc *WindowScan[K, V]) Key() K { return sc.key }

// Start is the start of the row's window, ms since the Unix epoch.
func (sc *WindowScan[K, V]) Start() int64 { return sc.start }

// Value is the row's value.
func (sc *WindowScan[K, V]) Value() V { return sc.rows.value }

// Timestamp is that of the value, ms since the Unix epoch.
func (sc *WindowScan[K, V]) Timestamp() int64 { return sc.rows.timestamp }

// Err is what ended the scan early, nil at the plain end.
func (sc *WindowScan[K, V]) Err() error {
	if sc.err == nil && sc.rows != nil {
		return sc.rows.err
	}
	return sc.err
}

// Close frees what the scan holds. A second call does nothing.
func (sc *WindowScan[K, V]) Close() error {
	if sc.rows == nil {
		return nil
	}
	return sc.rows.close()
}
