// SPDX-License-Identifier: Apache-2.0

package processor

import (
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/state"
)

// A StoreHandle is a handle of package state: it names a store and opens it.
type StoreHandle[S state.Store] interface {
	Name() string
	Open(base state.Base, opt state.Options) (S, error)
}

// A Store is a store that low-level steps of a topology use, all those that it is
// given to: they are then in one sub-topology, and each task has one part of it.
// S is what it is used as: for state.KV[K, V] a *state.KeyValueStore[K, V].
type Store[S state.Store] struct {
	def *plan.Store
}

// AddStore adds a store to t, with the changelog topic <application
// id>-<name>-changelog. A name that is taken, and a type without an encoding, are
// errors of the topology's check.
//
//	seen := processor.AddStore(t, state.KeyValue[string, int64]("seen"))
//	s.Process("dedupe", func(pc *processor.Context[…], r processor.Record[…]) error {
//		last, _, ok, err := seen.In(pc).Get(r.Key)
//		…
//	}, seen)
func AddStore[S state.Store](t *Topology, h StoreHandle[S]) *Store[S] {
	site := plan.Site()
	if err := tryOpen(h); err != nil {
		t.graph.Fail(site, "store %q: %w", h.Name(), err)
	}
	return &Store[S]{t.graph.AddStore(&plan.Store{
		Name: h.Name(), Site: site,
		Open: func(base state.Base, opt state.Options) state.Store {
			s, err := h.Open(base, opt)
			if err != nil {
				panic(err) // tryOpen has found it
			}
			return s
		},
	})}
}

// tryOpen finds out what is wrong with a handle.
func tryOpen[S state.Store](h StoreHandle[S]) error {
	db, err := state.Memory().Open("try")
	if err != nil {
		return err
	}
	base, err := db.Base("try")
	if err != nil {
		return err
	}
	_, err = h.Open(base, state.Options{})
	return err
}

// A Scope is the context of any step.
type Scope interface{ scope() plan.Env }

// In gives the store of the task that a step runs in. It looks the store up: a step
// that is made by ProcessWith does so once a task. The step must have been given the
// store.
func (s *Store[S]) In(pc Scope) S { return pc.scope().Store(s.def.Name).(S) }

// A StoreRef is a store of any kind, as steps are given it.
type StoreRef interface{ Plan() *plan.Store }

// Plan is the definition, as the DSL packages of this module read it.
func (s *Store[S]) Plan() *plan.Store { return s.def }
