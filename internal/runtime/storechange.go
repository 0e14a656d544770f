// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"hash/fnv"

	"github.com/millrace/millrace/state"
)

// OnStoreChange says what happens at a store whose kind or encodings are not those that
// it was written with.
type OnStoreChange int

// What happens at a store that has changed.
const (
	// RefuseStore ends the application with a [*StoreChangedError] before it reads or
	// writes any of it.
	RefuseStore OnStoreChange = iota
	// RebuildStore reads the changelog as if it had been written in the new form: for
	// encodings that have changed in name only.
	RebuildStore
)

// A StoreChangedError says that a store in the topology is not the one that was written.
type StoreChangedError struct {
	App, Store, Changelog string
	Task                  TaskID
	Was, Is               string // kind and encodings; Was is "" where it is not known
}

// Error tells which store, why, and what to do.
func (e *StoreChangedError) Error() string {
	was := "in another form"
	if e.Was != "" {
		was = "as " + e.Was
	}
	return fmt.Sprintf("store %q was written %s and is %s now, and so is its changelog %s (task %s): give the store another name, which begins it empty, or reset the application (millrace app reset %s), or, if the bytes are the same, start it once with OnStoreChange = RebuildStore",
		e.Store, was, e.Is, e.Changelog, e.Task, e.App)
}

// form is what a store's rows can be read with.
func form(kind, serdes string) string { return fmt.Sprintf("%s store of (%s)", kind, serdes) }

// changedStore compares a base with the store that is to be opened on it, both of the
// same changelog. Nil: it may be used, or other differences have it rebuilt.
func (a *App) changedStore(id TaskID, store string, have, want state.Header) error {
	same := have.Cluster == want.Cluster && have.ChangelogID == want.ChangelogID && have.Changelog == want.Changelog
	if a.cfg.OnStoreChange == RebuildStore || !same || have.Kind == want.Kind && have.Serdes == want.Serdes {
		return nil
	}
	return &StoreChangedError{
		App: a.plan.App, Store: store, Changelog: want.Changelog, Task: id,
		Was: form(have.Kind, have.Serdes), Is: form(want.Kind, want.Serdes),
	}
}

// formOf is the form of a store as it is committed with the offsets, so that a change is
// noticed where no base is left to tell.
func formOf(s state.Store) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(form(s.Kind(), s.Serdes())))
	return int64(h.Sum64())
}

// storeForm is the name under which the form of a store is committed.
func storeForm(store string) string { return "form " + store }

// checkForms compares the stores of a task with what was committed of them.
func (a *App) checkForms(s *slot) error {
	if a.cfg.OnStoreChange == RebuildStore {
		return nil
	}
	for _, at := range s.origins {
		m, _ := decodeTimes(at.Metadata)
		for _, o := range s.stores {
			if was, ok := m.observed[hashName(storeForm(o.store.Name()))]; ok && was != formOf(o.store) {
				return &StoreChangedError{
					App: a.plan.App, Store: o.store.Name(), Changelog: o.header.Changelog, Task: s.id,
					Is: form(o.store.Kind(), o.store.Serdes()),
				}
			}
		}
	}
	return nil
}
