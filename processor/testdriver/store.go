// SPDX-License-Identifier: Apache-2.0

package testdriver

import (
	"github.com/millrace/millrace/state"
)

// An Entry is a row of a store.
type Entry[K, V any] struct {
	Key       K
	Value     V
	Timestamp int64 // ms since the Unix epoch
}

// Get reads a key of a store. The handle's types must be the store's.
func (d *Driver) Get[K, V any](h state.KV[K, V], key K) (value V, ok bool) {
	d.tb.Helper()
	if s := d.store(h); s != nil {
		var err error
		value, _, ok, err = s.Get(key)
		d.check("read store "+h.Name(), err)
	}
	return value, ok
}

// All gives the rows of a store in the order of their encoded keys.
func (d *Driver) All[K, V any](h state.KV[K, V]) []Entry[K, V] {
	d.tb.Helper()
	s := d.store(h)
	if s == nil {
		return nil
	}
	sc := s.All(state.Forward)
	var all []Entry[K, V]
	for sc.Next() {
		all = append(all, Entry[K, V]{sc.Key(), sc.Value(), sc.Timestamp()})
	}
	d.check("scan store "+h.Name(), sc.Err())
	d.check("scan store "+h.Name(), sc.Close())
	return all
}

func (d *Driver) store[K, V any](h state.KV[K, V]) *state.KeyValueStore[K, V] {
	d.tb.Helper()
	s, ok := d.find(h.Name()).(*state.KeyValueStore[K, V])
	if !ok {
		d.tb.Fatalf("store %q is not of the handle's types", h.Name())
	}
	return s
}

// A WindowEntry is a row of a window or session store.
type WindowEntry[K, V any] struct {
	Key        K
	Start, End int64 // ms since the Unix epoch; End is exclusive in a window, inclusive in a session
	Value      V
	Timestamp  int64
}

// AllWindows gives the rows of a window store, in the order of its All.
func (d *Driver) AllWindows[K, V any](h state.Windows[K, V]) []WindowEntry[K, V] {
	d.tb.Helper()
	s, ok := d.find(h.Name()).(*state.WindowStore[K, V])
	if !ok {
		d.tb.Fatalf("store %q is not of the handle's types", h.Name())
		return nil
	}
	sc := s.All(state.Forward)
	var all []WindowEntry[K, V]
	for sc.Next() {
		all = append(all, WindowEntry[K, V]{sc.Key(), sc.Start(), sc.Start() + s.Options().Size, sc.Value(), sc.Timestamp()})
	}
	d.check("scan store "+h.Name(), sc.Err())
	d.check("scan store "+h.Name(), sc.Close())
	return all
}

// AllSessions gives the rows of a session store, in the order of its All.
func (d *Driver) AllSessions[K, V any](h state.Sessions[K, V]) []WindowEntry[K, V] {
	d.tb.Helper()
	s, ok := d.find(h.Name()).(*state.SessionStore[K, V])
	if !ok {
		d.tb.Fatalf("store %q is not of the handle's types", h.Name())
		return nil
	}
	sc := s.All(state.Forward)
	var all []WindowEntry[K, V]
	for sc.Next() {
		all = append(all, WindowEntry[K, V]{sc.Key(), sc.Start(), sc.End(), sc.Value(), sc.Timestamp()})
	}
	d.check("scan store "+h.Name(), sc.Err())
	d.check("scan store "+h.Name(), sc.Close())
	return all
}

// find gives an open store by name, and ends the test if there is none.
func (d *Driver) find(name string) state.Store {
	d.tb.Helper()
	if s := d.lookUp(name); s != nil {
		return s
	}
	d.tb.Fatalf("the topology has no store %q", name)
	return nil
}

// lookUp gives an open store by name, nil if there is none.
func (d *Driver) lookUp(name string) state.Store {
	for _, t := range d.tasks {
		if s := t.Store(name); s != nil {
			return s
		}
	}
	return nil
}
