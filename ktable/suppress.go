// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// ErrBufferFull says that [KTable.Suppress] may hold no more changes back, and may
// not send any on early either.
var ErrBufferFull = errors.New("the buffer of Suppress is full")

// A Suppression says until when [KTable.Suppress] holds changes back. It follows
// Suppressed of Kafka Streams (KIP-328).
type Suppression struct {
	closes  bool
	limit   time.Duration
	records int
	bytes   int64
	fail    bool
}

// UntilWindowCloses holds the results of a window back until stream time passes its end
// by its grace period, for a session by its gap as well: one result of each window
// comes out, the last. The table must be one of windows of time, or of sessions.
// A buffer that has a bound and is full ends the processing with [ErrBufferFull]: a
// result sent on early would not be the last.
func UntilWindowCloses() Suppression { return Suppression{closes: true, fail: true} }

// UntilTimeLimit holds the changes of a row back until stream time is limit past the
// first of them; the latest comes out. A limit of 0 holds nothing back but what is in
// order.
func UntilTimeLimit(limit time.Duration) Suppression { return Suppression{limit: limit} }

// MaxRecords bounds the buffer to so many rows. When it holds more, the oldest are sent
// on early. 0, the default, is no bound.
func (s Suppression) MaxRecords(rows int) Suppression {
	s.records = rows
	return s
}

// MaxBytes bounds the buffer to so many bytes of encoded keys and values, as MaxRecords
// does.
func (s Suppression) MaxBytes(bytes int64) Suppression {
	s.bytes = bytes
	return s
}

// FailWhenFull has a full buffer end the processing with [ErrBufferFull].
func (s Suppression) FailWhenFull() Suppression {
	s.fail = true
	return s
}

func (s Suppression) check(windowed bool) error {
	switch {
	case s.closes && !windowed:
		return errors.New("suppress until windows close: the table has no windows that close")
	case s.limit < 0 || s.limit%time.Millisecond != 0:
		return fmt.Errorf("suppress: the limit %s is not a whole number of milliseconds", s.limit)
	case s.records < 0 || s.bytes < 0:
		return errors.New("suppress: a bound of the buffer is below 0")
	}
	return nil
}

// A closes tells when the windows of a table close.
type closes[K any] struct {
	end   func(K) int64
	grace int64 // ms after the end
}

// Suppress is the table whose changes are held back, in a store of that name with a
// changelog, and then sent on: of each row the latest. A row that comes out keeps the
// timestamp and the headers of its last change; the old value that goes with it is the
// one that was sent on before. (Kafka Streams gives the one before the last change.)
//
// A deletion is sent on as well, but by [UntilWindowCloses]: nothing came out before.
//
// (S is Suppression; as a parameter it has only those programs compile this that use it.)
func (t *KTable[K, V]) Suppress[S interface{ Suppression }](name string, until S) *KTable[K, V] {
	return suppress(t, name, Suppression(until))
}

func suppress[K, V any](t *KTable[K, V], name string, until Suppression) *KTable[K, V] {
	what := fmt.Sprintf("store %q", name)
	flow.Check(t.changes.T, until.check(t.closes != nil))
	keys, values := t.changes.KeySerde(what), flow.Values(t.changes.T, t.values, what)
	places, rows := heldPlaces(keys), heldRows(values)
	def := keyValue(t.changes.T, name, places, rows)
	need := &oldNeed{of: []*oldNeed{t.old}}
	if t.rows != nil {
		need.require() // to look up what was sent on
	}
	out := flow.Then(t.changes, "suppress", name, func(env plan.Env, n *plan.Node, next flow.Next[K, flow.Change[V]]) flow.Next[K, flow.Change[V]] {
		s := &suppressing[K, V]{
			until: until, closes: t.closes, places: places, rows: rows, null: values.IsNull, wait: until.limit.Milliseconds(),
			store: env.Store(name).(*state.KeyValueStore[heldPlace[K], held[V]]), observed: env.Observed(n), next: flow.Guard(env, n, next),
		}
		if until.closes && t.closes != nil {
			s.wait = t.closes.grace
		}
		env.AtTime(n, s.atTime)
		return s.process
	}, def)
	out.Keys = keys
	return &KTable[K, V]{
		changes: out, values: values, old: need, closes: t.closes,
		rows: heldBack[K, V](t.rows, name), stores: append([]*plan.Store{def}, t.stores...),
	}
}

// heldBack looks up what was sent on.
func heldBack[K, V any](rows func(plan.Env) Rows[K, V], name string) func(plan.Env) Rows[K, V] {
	if rows == nil {
		return nil
	}
	return func(env plan.Env) Rows[K, V] {
		up, store := rows(env), env.Store(name).(*state.KeyValueStore[heldPlace[K], held[V]])
		return func(key K) (opt.V[V], int64, error) {
			h, _, ok, err := store.Get(heldPlace[K]{key: key})
			if err != nil || !ok {
				return up(key)
			}
			return h.old, h.timestamp, nil
		}
	}
}

// A suppressing is a Suppress in one task.
type suppressing[K, V any] struct {
	until    Suppression
	closes   *closes[K]
	wait     int64 // ms between the time of a row in the buffer and its going out
	places   serde.Serde[heldPlace[K]]
	rows     serde.Serde[held[V]]
	null     func(V) bool // nil where V has no null
	store    *state.KeyValueStore[heldPlace[K], held[V]]
	observed *int64 // highest timestamp seen
	next     flow.Next[K, flow.Change[V]]

	known bool  // the rest is
	count int   // rows in the buffer
	bytes int64 // theirs, if they are bounded
	first int64 // no row has an earlier time
	buf   []byte
}

func (s *suppressing[K, V]) process(r processor.Record[K, flow.Change[V]]) error {
	*s.observed = max(*s.observed, r.Timestamp)
	if err := s.know(); err != nil {
		return err
	}
	if err := s.hold(r); err != nil {
		return err
	}
	return s.release()
}

// atTime sends on what is due while all inputs are idle.
func (s *suppressing[K, V]) atTime(streamTime int64) error {
	*s.observed = max(*s.observed, streamTime)
	if err := s.know(); err != nil {
		return err
	}
	return s.release()
}

// know goes through the buffer as it was committed: to count it, and to mend what a
// commit that was not finished has left in the changelog.
func (s *suppressing[K, V]) know() error {
	if s.known {
		return nil
	}
	s.first = math.MaxInt64
	sc := s.store.Range(opt.None[heldPlace[K]](), opt.Some(heldPlace[K]{timed: true, at: math.MinInt64, bare: true}), state.Forward)
	defer sc.Close() //nolint:errcheck // Err has told
	for sc.Next() {
		p, h := sc.Key(), sc.Value()
		if p.timed {
			break
		}
		size, err := s.size(p, h)
		if err != nil {
			return err
		}
		s.count, s.bytes, s.first = s.count+1, s.bytes+size, min(s.first, h.at)
		if err := s.store.Put(heldPlace[K]{timed: true, at: h.at, key: p.key}, held[V]{mark: true}, h.timestamp); err != nil {
			return err
		}
	}
	s.known = sc.Err() == nil
	return sc.Err()
}

// hold puts a change into the buffer, in the place of the one of its row that is there.
func (s *suppressing[K, V]) hold(r processor.Record[K, flow.Change[V]]) error {
	place := heldPlace[K]{key: r.Key}
	c, err := s.store.Cell(place)
	if err != nil {
		return err
	}
	now := held[V]{at: r.Timestamp, timestamp: r.Timestamp, headers: r.Headers, old: r.Value.Old, now: r.Value.New}
	if s.until.closes {
		now.at = s.closes.end(r.Key)
	}
	added := !c.OK
	if !added {
		now.at, now.old = c.Value.at, c.Value.old
		size, err := s.size(place, c.Value)
		if err != nil {
			return err
		}
		s.bytes -= size
	}
	size, err := s.size(place, now)
	if err != nil {
		return err
	}
	s.bytes += size
	s.store.Set(c, now, r.Timestamp)
	if !added {
		return nil
	}
	s.count++
	s.first = min(s.first, now.at)
	return s.store.Put(heldPlace[K]{timed: true, at: now.at, key: r.Key}, held[V]{mark: true}, r.Timestamp)
}

// size is what a row counts for, if bytes are bounded.
func (s *suppressing[K, V]) size(p heldPlace[K], h held[V]) (int64, error) {
	if s.until.bytes == 0 {
		return 0, nil
	}
	b, err := s.places.Append(s.buf[:0], p)
	if err == nil {
		b, err = s.rows.Append(b, h)
	}
	s.buf = b[:0]
	return int64(len(b)), err
}

func (s *suppressing[K, V]) full() bool {
	return s.until.records > 0 && s.count > s.until.records || s.until.bytes > 0 && s.bytes > s.until.bytes
}

// release sends on what is due, and the oldest while the buffer holds too much.
func (s *suppressing[K, V]) release() error {
	due := *s.observed - s.wait
	if s.first <= due {
		err := s.each(s.first, due, func(p heldPlace[K]) (bool, error) { return true, s.send(p) })
		if err != nil {
			return err
		}
		s.first = due + 1
		if s.count == 0 {
			s.first = math.MaxInt64
		}
	}
	for s.full() {
		if s.until.fail {
			return fmt.Errorf("%d rows of %d bytes: %w", s.count, s.bytes, ErrBufferFull)
		}
		if err := s.sendOldest(); err != nil {
			return err
		}
	}
	return nil
}

// sendOldest sends the first row on. It looks for it in ever longer spans: what the open
// layer has of a span is copied.
func (s *suppressing[K, V]) sendOldest() error {
	for length := int64(1); ; length *= 2 {
		to := s.first + length - 1
		if length <= 0 || to < s.first {
			to = math.MaxInt64
		}
		sent := false
		err := s.each(s.first, to, func(p heldPlace[K]) (bool, error) {
			sent, s.first = true, p.at
			return false, s.send(p)
		})
		if err != nil || sent || to == math.MaxInt64 {
			return err
		}
		s.first = to + 1
	}
}

// each calls fn for the rows whose times are from from to to, in order of time and key,
// until it answers false.
func (s *suppressing[K, V]) each(from, to int64, fn func(heldPlace[K]) (bool, error)) error {
	end := opt.None[heldPlace[K]]()
	if to < math.MaxInt64 {
		end = opt.Some(heldPlace[K]{timed: true, at: to + 1, bare: true})
	}
	sc := s.store.Range(opt.Some(heldPlace[K]{timed: true, at: from, bare: true}), end, state.Forward)
	defer sc.Close() //nolint:errcheck // Err has told
	for sc.Next() {
		p := sc.Key()
		if p.at > to {
			break
		}
		if more, err := fn(p); err != nil || !more {
			return err
		}
	}
	return sc.Err()
}

// send takes a row out of the buffer and sends it on.
func (s *suppressing[K, V]) send(p heldPlace[K]) error {
	place := heldPlace[K]{key: p.key}
	h, _, ok, err := s.store.Get(place)
	if err != nil {
		return err
	}
	if err := s.store.Delete(p, *s.observed); err != nil {
		return err
	}
	if !ok || h.at != p.at { // what is left of a commit that was not finished
		return nil
	}
	size, err := s.size(place, h)
	if err != nil {
		return err
	}
	s.count, s.bytes = s.count-1, s.bytes-size
	if err := s.store.Delete(place, *s.observed); err != nil {
		return err
	}
	if s.until.closes && (!h.now.OK || s.null != nil && s.null(h.now.Value)) {
		return nil
	}
	return s.next(processor.Record[K, flow.Change[V]]{
		Key: p.key, Value: flow.Change[V]{Old: h.old, New: h.now}, Timestamp: h.timestamp, Headers: h.headers,
	})
}
