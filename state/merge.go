// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"errors"
	"slices"
)

// A cursor walks over one source of a scan, in the scan's order. It starts before
// the first entry.
type cursor interface {
	next() (bool, error)
	key() []byte          // valid until next
	body() ([]byte, bool) // timestamp and value, valid until next; false for a removed key
	close() error
}

// A merge walks over several cursors as one: where many have a key, that of the one
// added first counts, and removed keys are left out. They are few: each step
// looks at all of them.
type merge struct {
	cursors []cursor // that have an entry; newest source first
	all     []cursor // to close
	order   Order
	last    int // position in cursors of what next gave
	begun   bool
	err     error
}

func (m *merge) add(c cursor) {
	m.cursors = append(m.cursors, c)
	m.all = append(m.all, c)
}

// stack adds the layers, given oldest first, and the base.
func (m *merge) stack(layers []*Layer, base Base, lower, upper []byte, o Order) error {
	it, err := base.Iterate(lower, upper, o)
	if err != nil {
		return err
	}
	m.layers(layers, lower, upper, o)
	m.add(baseCursor{it})
	return nil
}

func (m *merge) layers(layers []*Layer, lower, upper []byte, o Order) {
	m.order = o
	for _, l := range slices.Backward(layers) {
		m.add(newLayerCursor(l, lower, upper, o))
	}
}

// next gives the cursor that stands on the next entry.
func (m *merge) next() (cursor, bool) {
	for m.err == nil {
		if !m.begun {
			m.begun = true
			m.step(func(cursor) bool { return true })
		} else if len(m.cursors) > 0 {
			key := m.cursors[m.last].key()
			// The one that was given is stepped last: the others are compared with its key.
			given := m.cursors[m.last]
			m.step(func(c cursor) bool { return c != given && bytes.Equal(c.key(), key) })
			m.step(func(c cursor) bool { return c == given })
		}
		if m.err != nil || len(m.cursors) == 0 {
			return nil, false
		}
		m.last = 0
		for i, c := range m.cursors {
			if d := bytes.Compare(c.key(), m.cursors[m.last].key()); d < 0 == (m.order == Forward) && d != 0 {
				m.last = i
			}
		}
		if _, ok := m.cursors[m.last].body(); ok {
			return m.cursors[m.last], true
		}
	}
	return nil, false
}

// step moves the cursors that which picks, and drops those that end.
func (m *merge) step(which func(c cursor) bool) {
	kept := m.cursors[:0]
	for _, c := range m.cursors {
		if which(c) {
			ok, err := c.next()
			if err != nil && m.err == nil {
				m.err = err
			}
			if !ok {
				continue
			}
		}
		kept = append(kept, c)
	}
	m.cursors = kept
}

func (m *merge) close() error {
	var errs []error
	for _, c := range m.all {
		errs = append(errs, c.close())
	}
	m.all, m.cursors, m.begun = nil, nil, true
	return errors.Join(errs...)
}

// layerCursor walks over the part [lo, hi) of a layer.
type layerCursor struct {
	l      *Layer
	lo, hi int
	at     int
	order  Order
}

func newLayerCursor(l *Layer, lower, upper []byte, o Order) *layerCursor {
	c := &layerCursor{l: l, lo: l.seek(lower), hi: l.Len(), order: o}
	if upper != nil {
		c.hi = l.seek(upper)
	}
	c.at = c.lo - 1
	if o == Backward {
		c.at = c.hi
	}
	return c
}

func (c *layerCursor) next() (bool, error) {
	if c.order == Backward {
		c.at--
	} else {
		c.at++
	}
	return c.at >= c.lo && c.at < c.hi, nil
}

func (c *layerCursor) key() []byte          { return c.l.key(c.at) }
func (c *layerCursor) body() ([]byte, bool) { return c.l.body(c.at) }
func (c *layerCursor) close() error         { return nil }

// baseCursor walks over a base.
type baseCursor struct{ it Iterator }

func (c baseCursor) next() (bool, error) {
	if c.it.Next() {
		return true, nil
	}
	return false, c.it.Err()
}

func (c baseCursor) key() []byte          { return c.it.Key() }
func (c baseCursor) body() ([]byte, bool) { return c.it.Value(), true }
func (c baseCursor) close() error         { return c.it.Close() }
