// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state/internal/keyenc"
)

// A span is where the rows of a scan lie.
type span struct {
	ranges []keyRange            // in order
	accept func(key []byte) bool // not all that lies there is meant; nil: it is
}

// keyRange is [lower, upper); nil is open.
type keyRange struct{ lower, upper []byte }

func (sp *span) add(lower, upper []byte) {
	sp.ranges = append(sp.ranges, keyRange{lower, upper})
}

// segments adds the ranges of times from lo to hi in a store that is ordered by
// segment, key, time. lower and upper are escaped keys, nil is open. one says that
// they are the same, then times bound the ranges too.
func (sp *span) segments(k *clock, lo, hi int64, lower, upper []byte, one bool) {
	list, few := k.segments(lo, hi)
	if !few || lower == nil && upper == nil {
		first, last := keyenc.SegmentOf(lo, k.segment), keyenc.SegmentOf(hi, k.segment)
		sp.add(keyenc.AppendTime(nil, first), successor(keyenc.AppendTime(nil, last)))
		return
	}
	for _, n := range list {
		from := append(keyenc.AppendTime(nil, n), lower...)
		to := successor(append(keyenc.AppendTime(nil, n), upper...))
		if one {
			to = successor(keyenc.AppendTime(append(keyenc.AppendTime(nil, n), upper...), hi))
			from = keyenc.AppendTime(from, lo)
		}
		sp.add(from, to)
	}
}

// escapedBounds encodes the first and the last key of a scan; nil is open.
func escapedBounds[K any](keys serde.Serde[K], first, last opt.V[K]) (lower, upper []byte, err error) {
	if first.OK {
		if lower, err = encodeBound(keys, first.Value); err != nil {
			return nil, nil, err
		}
		lower = keyenc.Escape(lower, 0)
	}
	if last.OK {
		if upper, err = encodeBound(keys, last.Value); err != nil {
			return nil, nil, err
		}
		upper = keyenc.Escape(upper, 0)
	}
	return lower, upper, nil
}

// between tells whether b, which begins with an escaped key, is in its bounds.
func between(b, lower, upper []byte) bool {
	return bytes.Compare(b, lower) >= 0 &&
		(upper == nil || bytes.Compare(b, upper) < 0 || bytes.HasPrefix(b, upper))
}

// successor gives the first key that is greater than all that begin with prefix, in
// the same memory; nil if there is none.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i]++; prefix[i] != 0 {
			return prefix[:i+1]
		}
	}
	return nil
}

// A rowScan walks over rows as bytes, with decoded values.
type rowScan[V any] struct {
	name   string
	values serde.Serde[V]
	parts  []*merge // one a range, in the scan's order
	accept func(key []byte) bool
	err    error

	key       []byte // valid until next
	value     V
	timestamp int64
}

// openScan opens a scan of all that the store holds now.
func (s *core[V]) openScan(sp span, o Order) *rowScan[V] {
	sc := &rowScan[V]{name: s.name, values: s.values, accept: sp.accept}
	if s.fold != nil {
		sc.fail(ErrRestoring)
		return sc
	}
	for _, r := range ordered(sp.ranges, o) {
		m := &merge{order: o}
		sc.parts = append(sc.parts, m)
		m.add(&openCursor[V]{items: s.snapshot(r.lower, r.upper, o), at: -1})
		if err := m.stack(s.layers, s.base, r.lower, r.upper, o); err != nil {
			sc.fail(err)
			return sc
		}
	}
	return sc
}

// openView opens a scan of what is committed, by any goroutine. where is told the
// marks of the commit if the store has a clock.
func (s *core[V]) openView(o Order, where func(marks) (span, error)) *rowScan[V] {
	for {
		seen := s.view.Load()
		sc, err := s.tryView(o, where)
		// The worker applies layers to the base, then takes them out of the view. If
		// the view is still the same, the base under the iterators has got nothing that
		// is not in these layers too: together they are one commit. Else it may be that
		// the iterators see a later commit than the layers.
		if err != nil || s.view.Load() == seen {
			sc.fail(err)
			return sc
		}
		if err := sc.close(); err != nil {
			sc.fail(err)
			return sc
		}
	}
}

func (s *core[V]) tryView(o Order, where func(marks) (span, error)) (*rowScan[V], error) {
	sc := &rowScan[V]{name: s.name, values: s.values}
	seen := s.committed()
	m := noMarks
	var err error
	if seen.told != nil {
		m = *seen.told
	} else if s.clock != nil {
		if m, err = s.readMarks(seen.layers); err != nil {
			return sc, err
		}
		m = m.believed()
	}
	sp, err := where(m)
	if err != nil {
		return sc, err
	}
	sc.accept = sp.accept
	for _, r := range ordered(sp.ranges, o) {
		m := &merge{order: o}
		sc.parts = append(sc.parts, m)
		if err := m.stack(seen.layers, s.base, r.lower, r.upper, o); err != nil {
			return sc, err
		}
	}
	return sc, nil
}

func ordered(ranges []keyRange, o Order) []keyRange {
	if o == Backward {
		slices.Reverse(ranges)
	}
	return ranges
}

// next goes to the next row. At the end, and after an error, all is freed.
func (sc *rowScan[V]) next() bool {
	for sc.err == nil && len(sc.parts) > 0 {
		m := sc.parts[0]
		c, ok := m.next()
		if !ok {
			err := m.err
			if closing := m.close(); err == nil {
				err = closing
			}
			sc.parts = sc.parts[1:]
			sc.fail(err)
			continue
		}
		if sc.accept == nil || sc.accept(c.key()) {
			return sc.take(c)
		}
	}
	return false
}

func (sc *rowScan[V]) take(c cursor) bool {
	sc.key = c.key()
	if open, ok := c.(*openCursor[V]); ok {
		it := &open.items[open.at]
		sc.value, sc.timestamp = it.value, it.timestamp
		return true
	}
	body, _ := c.body()
	var err error
	if sc.value, sc.timestamp, err = decodeBody(sc.values, body); err != nil {
		sc.fail(fmt.Errorf("key %x: %w", sc.key, err))
		return false
	}
	return true
}

// fail ends the scan with an error; nil does nothing.
func (sc *rowScan[V]) fail(err error) {
	if err == nil || sc.err != nil {
		return
	}
	sc.err = fmt.Errorf("scan store %s: %w", sc.name, err)
	_ = sc.close() // the first failure is told
}

func (sc *rowScan[V]) close() error {
	var errs []error
	for _, m := range sc.parts {
		errs = append(errs, m.close())
	}
	sc.parts = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("scan store %s: %w", sc.name, err)
	}
	return nil
}
