// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"fmt"
	"math"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state/internal/keyenc"
)

// KindSession is the [Store.Kind] of a [SessionStore].
const KindSession = "session"

// SessionOptions are what a session store is, beside its types.
type SessionOptions struct {
	// Gap is the inactivity gap in ms. The store only notes it.
	Gap int64
	// Retention is how long sessions are kept, in ms: one is gone once the observed
	// time is Retention or more after its end. 0: for ever.
	Retention int64
	// Brief says that EachDirty need not tell of sessions that were put and removed
	// since the last Seal: they leave nothing.
	Brief bool
}

// A SessionStore holds the latest value of each key, session start and session end
// (included), with its timestamp. Sessions expire by their end, see [Timed]. Values
// given to it are frozen: neither the caller nor who reads them may change what
// they refer to.
//
// It belongs to one worker, but for the view that Committed gives.
type SessionStore[K, V any] struct {
	timedCore[V]
	keys    serde.Serde[K]
	options SessionOptions
	layout  keyenc.Session
}

var _ Timed = (*SessionStore[string, int64])(nil)

// OpenSession makes the store called name on base. It reads nothing yet: whether
// what the base holds fits is told by its header, and checked by the caller.
func OpenSession[K, V any](name string, keys serde.Serde[K], values serde.Serde[V], o SessionOptions, base Base, opt Options) *SessionStore[K, V] {
	length := keyenc.SegmentLength(o.Retention)
	s := &SessionStore[K, V]{keys: keys, options: o, layout: keyenc.Session(length)}
	s.begin(name, values, base, opt, newClock(s.layout, o.Retention, length))
	s.c.useShelf(opt)
	s.c.shelf.brief = o.Brief
	return s
}

// Kind implements [Store].
func (s *SessionStore[K, V]) Kind() string { return KindSession }

// Serdes implements [Store]: the names of the serdes of key and value, the gap, and
// what the bytes in a base depend on.
func (s *SessionStore[K, V]) Serdes() string {
	return fmt.Sprintf("%s,%s,gap=%d,segment=%d", s.keys.Name, s.c.values.Name, s.options.Gap, int64(s.layout))
}

// Options gives what the store was opened with.
func (s *SessionStore[K, V]) Options() SessionOptions { return s.options }

// Cell finds the place of a session, and reads its value from the layers below if it
// is not there yet. The cell is valid until the next call on the store. For a
// session that is gone it has no value, and takes none.
func (s *SessionStore[K, V]) Cell(key K, start, end int64) (*Cell[V], error) {
	if err := s.encode(key, start, end); err != nil {
		return nil, err
	}
	return s.rowCell(end)
}

// Get reads a session. ok is false if it has no value.
func (s *SessionStore[K, V]) Get(key K, start, end int64) (v V, timestamp int64, ok bool, err error) {
	c, err := s.Cell(key, start, end)
	if err != nil {
		return v, 0, false, err
	}
	return c.Value, c.Timestamp, c.OK, nil
}

// Put sets a session to v without reading what it was. A v that is the null of its
// type removes it. False if the session is gone.
func (s *SessionStore[K, V]) Put(key K, start, end int64, v V, timestamp int64) (bool, error) {
	if err := s.encode(key, start, end); err != nil {
		return false, err
	}
	return s.putRow(end, v, s.c.values.IsNull == nil || !s.c.values.IsNull(v), timestamp)
}

// Remove removes a session without reading what it was. False if it is gone anyway.
func (s *SessionStore[K, V]) Remove(key K, start, end, timestamp int64) (bool, error) {
	var none V
	if err := s.encode(key, start, end); err != nil {
		return false, err
	}
	return s.putRow(end, none, false, timestamp)
}

// EachDirty calls fn for every session that the open layer has changed, in order of
// the first change, until it fails; also for those that are gone since. c is valid
// during the call; fn calls nothing of the store but OldOf.
func (s *SessionStore[K, V]) EachDirty(fn func(key K, start, end int64, c *Cell[V]) error) error {
	return s.c.eachDirty(func(k []byte, c *Cell[V]) error {
		key, start, end, err := s.decode(k)
		if err != nil {
			return s.c.failed(err)
		}
		return fn(key, start, end, c)
	})
}

// FindSessions scans the sessions of key that end at earliestEnd or later and start
// at latestStart or earlier, in order of end, then start: those that may be merged
// with one from earliestEnd + gap to latestStart - gap. The scan sees the store as
// it is now, the open layer too: what is changed while it runs does not show.
// Unless it is read to its end it must be closed.
func (s *SessionStore[K, V]) FindSessions(key K, earliestEnd, latestStart int64, o Order) *SessionScan[K, V] {
	return s.FindRange(opt.Some(key), opt.Some(key), earliestEnd, latestStart, o)
}

// AppendSessions appends what a forward FindSessions would give to dst. It allocates
// nothing, and reads neither layers nor base, where the sessions lie in memory:
// those of recent times do.
func (s *SessionStore[K, V]) AppendSessions(dst []Row[V], key K, earliestEnd, latestStart int64) ([]Row[V], error) {
	if err := s.encode(key, earliestEnd, earliestEnd); err != nil {
		return dst, err
	}
	lo, _, ok := s.c.clock.live(earliestEnd, math.MaxInt64)
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
		if r := &rows[i]; r.rest <= latestStart {
			dst = append(dst, Row[V]{Start: r.rest, End: r.time, Value: r.value, Timestamp: r.timestamp})
		}
	}
	return dst, nil
}

// Fetch is FindSessions for all sessions of key.
func (s *SessionStore[K, V]) Fetch(key K, o Order) *SessionScan[K, V] {
	return s.FindSessions(key, math.MinInt64, math.MaxInt64, o)
}

// FindRange is FindSessions for the keys from first to last, both included, in order
// of their encodings; an absent bound leaves that end open. The sessions come as
// they lie in the base: in order of the segment of their end, encoded key, end,
// start. A segment is half of the retention, or a minute if that is longer.
func (s *SessionStore[K, V]) FindRange(first, last opt.V[K], earliestEnd, latestStart int64, o Order) *SessionScan[K, V] {
	sc := &SessionScan[K, V]{s: s}
	if err := s.c.ready(); err != nil {
		sc.err = err
		return sc
	}
	span, err := s.span(s.c.clock, first, last, earliestEnd, latestStart)
	if err != nil {
		sc.err = s.c.failed(err)
		return sc
	}
	sc.rows = s.c.openScan(span, o)
	return sc
}

// All is FindRange without bounds.
func (s *SessionStore[K, V]) All(o Order) *SessionScan[K, V] {
	return s.FindRange(opt.None[K](), opt.None[K](), math.MinInt64, math.MaxInt64, o)
}

// span tells where sessions of some keys and times lie, as k has it.
func (s *SessionStore[K, V]) span(k *clock, first, last opt.V[K], earliestEnd, latestStart int64) (span, error) {
	lower, upper, err := escapedBounds(s.keys, first, last)
	if err != nil {
		return span{}, err
	}
	lo, hi, ok := k.live(earliestEnd, math.MaxInt64)
	if !ok {
		return span{}, nil
	}
	sp := span{accept: func(row []byte) bool {
		if len(row) < s.layout.Least() {
			return true // it is damaged: the decoding tells
		}
		return s.layout.Time(row) >= lo && s.layout.Start(row) <= latestStart && between(row[8:], lower, upper)
	}}
	one := first.OK && last.OK && bytes.Equal(lower, upper)
	sp.segments(k, lo, hi, lower, upper, one)
	return sp, nil
}

// encode sets keyBuf, and makes the clock ready.
func (s *SessionStore[K, V]) encode(key K, start, end int64) error {
	if err := s.c.ready(); err != nil {
		return err
	}
	b, err := appendKey(s.layout.Head(s.c.keyBuf[:0], end), s.keys, key)
	if err != nil {
		return s.c.failed(err)
	}
	s.c.keyBuf = s.layout.Tail(b, end, start)
	return nil
}

func (s *SessionStore[K, V]) decode(row []byte) (key K, start, end int64, err error) {
	k, end, start, err := s.layout.Parse(nil, row)
	if err != nil {
		return key, 0, 0, fmt.Errorf("key %x: %w: %w", row, ErrDamaged, err)
	}
	if key, err = s.keys.Decode(k); err != nil {
		return key, 0, 0, fmt.Errorf("decode key %x: %w", k, err)
	}
	return key, start, end, nil
}

// Committed gives the committed view. It may be called by any goroutine.
func (s *SessionStore[K, V]) Committed() SessionView[K, V] { return SessionView[K, V]{s} }

// A SessionView reads what is committed in a session store: the base and the
// committed layers, with the observed time of that commit. It takes no lock of the
// store, and any number of goroutines may use it beside the worker.
type SessionView[K, V any] struct {
	s *SessionStore[K, V] // only fields that never change, and stack.view
}

// FindSessions is [SessionStore.FindSessions] over what is committed: all of one
// commit, and nothing of the next.
func (v SessionView[K, V]) FindSessions(key K, earliestEnd, latestStart int64, o Order) *SessionScan[K, V] {
	return v.FindRange(opt.Some(key), opt.Some(key), earliestEnd, latestStart, o)
}

// FindRange is [SessionStore.FindRange] over what is committed.
func (v SessionView[K, V]) FindRange(first, last opt.V[K], earliestEnd, latestStart int64, o Order) *SessionScan[K, V] {
	s := v.s
	return &SessionScan[K, V]{s: s, rows: s.c.openView(o, func(m marks) (span, error) {
		k := newClock(s.layout, s.options.Retention, int64(s.layout))
		k.set(m)
		return s.span(k, first, last, earliestEnd, latestStart)
	})}
}

// A SessionScan walks over sessions of a store. It belongs to one goroutine. It is
// used as a [WindowScan].
type SessionScan[K, V any] struct {
	s          *SessionStore[K, V]
	rows       *rowScan[V]
	err        error
	key        K
	start, end int64
}

// Next goes to the next session. False means the end, or an error: see Err; what
// the scan holds is then freed.
func (sc *SessionScan[K, V]) Next() bool {
	if sc.err != nil || sc.rows == nil || !sc.rows.next() {
		return false
	}
	var err error
	if sc.key, sc.start, sc.end, err = sc.s.decode(sc.rows.key); err != nil {
		sc.rows.fail(err)
		return false
	}
	return true
}

// Key is the session's key.
func (sc *SessionScan[K, V]) Key() K { return sc.key }

// Start is the session's first ms since the Unix epoch.
func (sc *SessionScan[K, V]) Start() int64 { return sc.start }

// End is the session's last ms since the Unix epoch, which is in it.
func (sc *SessionScan[K, V]) End() int64 { return sc.end }

// Value is the session's value.
func (sc *SessionScan[K, V]) Value() V { return sc.rows.value }

// Timestamp is that of the value, ms since the Unix epoch.
func (sc *SessionScan[K, V]) Timestamp() int64 { return sc.rows.timestamp }

// Err is what ended the scan early, nil at the plain end.
func (sc *SessionScan[K, V]) Err() error {
	if sc.err == nil && sc.rows != nil {
		return sc.rows.err
	}
	return sc.err
}

// Close frees what the scan holds. A second call does nothing.
func (sc *SessionScan[K, V]) Close() error {
	if sc.rows == nil {
		return nil
	}
	return sc.rows.close()
}
