// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"slices"

	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/window"
)

// A slidingAggregation is an aggregation over sliding windows in one task. It follows
// KStreamSlidingWindowAggregate of Kafka Streams (KIP-450): beside the windows that
// exist and hold a record, the record begins at most three: the one that ends with it,
// the one that begins just after it, if that holds anything, and the one that begins
// just after the record before it. Windows that would begin before the epoch are the
// one that begins there.
type slidingAggregation[K, V, A any] struct {
	*timeAggregation[K, V, A]
	nullValue func(V) bool // nil where V has no null
	found     []slidingRow[A]
}

// A slidingRow is a window that exists: its first ms, and its result, whose timestamp
// is that of its last record.
type slidingRow[A any] struct {
	start, last int64
	value       A
}

func (s *slidingAggregation[K, V, A]) process(r processor.Record[K, V]) error {
	switch {
	case s.nullKey != nil && s.nullKey(r.Key):
		s.env.Drop(s.node, "null key")
		return nil
	case s.nullValue != nil && s.nullValue(r.Value):
		s.env.Drop(s.node, "null value")
		return nil
	}
	*s.observed = max(*s.observed, r.Timestamp)
	closed := *s.observed - s.spec.GraceMs()
	switch late := r.Timestamp+s.length <= closed; {
	case late && s.late != nil:
		return s.late(r)
	case late:
		s.env.Drop(s.node, "late")
		return nil
	}
	if err := s.slide(r, closed); err != nil {
		return err
	}
	if s.emit != window.OnClose {
		return nil
	}
	return s.emitClosed(r, closed)
}

// slide takes r into the windows that exist and hold it, the latest first, and begins
// those that it needs.
func (s *slidingAggregation[K, V, A]) slide(r processor.Record[K, V], closed int64) error {
	if err := s.find(r.Key, max(0, r.Timestamp-2*s.size), r.Timestamp+1); err != nil {
		return err
	}
	if r.Timestamp < s.size {
		return s.early(r, closed)
	}
	var right, left opt.V[slidingRow[A]]
	for _, w := range slices.Backward(s.found) {
		switch end := w.start + s.size; {
		case w.start > r.Timestamp:
		case end >= r.Timestamp:
			if end > r.Timestamp && !right.OK {
				right = opt.Some(w)
			}
			if err := s.put(r, w.start, opt.Some(w), closed); err != nil {
				return err
			}
		case !left.OK:
			left = opt.Some(w)
		}
	}
	before, ok := s.before(r.Timestamp)
	if ok && before+1+s.size >= r.Timestamp {
		if err := s.begin(r, before+1, opt.None[slidingRow[A]](), closed); err != nil {
			return err
		}
	}
	if !ok || before < r.Timestamp-s.size {
		left = opt.None[slidingRow[A]]() // its last record is before the window that ends with r
	}
	if err := s.begin(r, r.Timestamp-s.size, left, closed); err != nil {
		return err
	}
	return s.after(r, right)
}

// early is slide for a record so close to the epoch that the window which begins there
// is the one that ends with it.
func (s *slidingAggregation[K, V, A]) early(r processor.Record[K, V], closed int64) error {
	var right, first opt.V[slidingRow[A]]
	for _, w := range s.found {
		switch {
		case w.start == 0:
			first = opt.Some(w)
		case w.start <= r.Timestamp:
			right = opt.Some(w)
			if err := s.put(r, w.start, right, closed); err != nil {
				return err
			}
		}
	}
	if !right.OK {
		right = first
	}
	if err := s.after(r, right); err != nil {
		return err
	}
	if first.OK && first.Value.last < r.Timestamp {
		if err := s.begin(r, first.Value.last+1, opt.None[slidingRow[A]](), closed); err != nil {
			return err
		}
	}
	return s.put(r, 0, first, closed)
}

// find gathers the windows of key that begin from from to to, in order.
func (s *slidingAggregation[K, V, A]) find(key K, from, to int64) error {
	s.found = s.found[:0]
	sc := s.store.Fetch(key, from, to, state.Forward)
	defer sc.Close() //nolint:errcheck // Err has told
	for sc.Next() {
		s.found = append(s.found, slidingRow[A]{sc.Start(), sc.Timestamp(), sc.Value()})
	}
	return sc.Err()
}

// before gives the time of the last record before t, as Kafka Streams finds it: that of
// the latest window found which ended before t, else of the one that ends with it.
func (s *slidingAggregation[K, V, A]) before(t int64) (last int64, ok bool) {
	for _, w := range slices.Backward(s.found) {
		switch end := w.start + s.size; {
		case end < t:
			return w.last, true
		case end == t && w.last < t:
			last, ok = w.last, true
		}
	}
	return last, ok
}

func (s *slidingAggregation[K, V, A]) exists(start int64) bool {
	return slices.ContainsFunc(s.found, func(w slidingRow[A]) bool { return w.start == start })
}

// begin makes the window that begins at start, with what from holds and r, unless it
// is there.
func (s *slidingAggregation[K, V, A]) begin(r processor.Record[K, V], start int64, from opt.V[slidingRow[A]], closed int64) error {
	if s.exists(start) {
		return nil
	}
	return s.put(r, start, from, closed)
}

// after makes the window that begins just after r, unless it is there or holds
// nothing: what of holds is all after r.
func (s *slidingAggregation[K, V, A]) after(r processor.Record[K, V], of opt.V[slidingRow[A]]) error {
	start := r.Timestamp + 1
	if !of.OK || of.Value.last <= r.Timestamp || s.exists(start) {
		return nil
	}
	return s.set(r, start, opt.None[A](), opt.Some(of.Value.value), of.Value.last)
}

// put takes r into the window that begins at start and holds what from holds, unless it
// has closed.
func (s *slidingAggregation[K, V, A]) put(r processor.Record[K, V], start int64, from opt.V[slidingRow[A]], closed int64) error {
	if start+s.length <= closed {
		s.env.Drop(s.node, "late")
		return nil
	}
	was, old, ts := opt.V[A]{Value: from.Value.value, OK: from.OK}, opt.None[A](), r.Timestamp
	if from.OK && from.Value.start == start {
		old, ts = was, max(ts, from.Value.last)
	}
	return s.set(r, start, old, s.step(was, r.Value), ts)
}

// set puts a result in place and sends it on, if that is what is asked for.
func (s *slidingAggregation[K, V, A]) set(r processor.Record[K, V], start int64, old, now opt.V[A], ts int64) error {
	s.store.Observe(start)
	var err error
	if now.OK {
		_, err = s.store.Put(r.Key, start, now.Value, ts)
	} else {
		_, err = s.store.Delete(r.Key, start, ts)
	}
	if err != nil || s.emit != window.OnUpdate {
		return err
	}
	return s.next(processor.Record[window.Key[K], flow.Change[A]]{
		Key: s.key(r.Key, start), Value: flow.Change[A]{Old: old, New: now}, Timestamp: ts, Headers: r.Headers,
	})
}
