// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
)

// A KTable is a table with keys of type K and values of type V, at one point of
// a topology. It is a value to chain on: several steps may follow the same
// table, and each gets every change.
type KTable[K, V any] struct {
	changes flow.Stream[K, flow.Change[V]]
	values  serde.Serde[V] // zero: to be found by type when needed
	old     *oldNeed
	rows    func(env plan.Env) Rows[K, V] // how a task looks rows up
	stores  []*plan.Store                 // that rows needs
	closes  *closes[K]                    // nil: it is not one of windows that close
}

// Rows looks rows of a table up in one task: the value of a key and its timestamp.
type Rows[K, V any] = func(key K) (row opt.V[V], timestamp int64, err error)

// storeRows looks rows up in a store.
func storeRows[K, V any](name string) func(plan.Env) Rows[K, V] {
	return func(env plan.Env) Rows[K, V] {
		store := env.Store(name).(*state.KeyValueStore[K, V])
		return func(key K) (opt.V[V], int64, error) {
			v, timestamp, ok, err := store.Get(key)
			return opt.V[V]{Value: v, OK: ok}, timestamp, err
		}
	}
}

// Lookup is how a task looks the table's rows up, and the stores that it needs for
// it, for the DSL packages of this module. A table whose rows can't be looked up is an
// error of the topology.
func (t *KTable[K, V]) Lookup() (rows func(plan.Env) Rows[K, V], stores []*plan.Store) {
	if t.rows == nil {
		t.changes.T.Graph().Fail(plan.Site(), "the rows of a table of count windows can't be looked up")
	}
	return t.rows, t.stores
}

// An oldNeed says whether anyone needs the old values in a table's changes, and so
// in those of the tables it is made of. It is settled when the topology is defined.
type oldNeed struct {
	on bool
	of []*oldNeed
}

func (o *oldNeed) require() {
	if o.on {
		return
	}
	o.on = true
	for _, up := range o.of {
		up.require()
	}
}

// Changes is the table's stream of changes, for the DSL packages of this module.
func (t *KTable[K, V]) Changes() flow.Stream[K, flow.Change[V]] { return t.changes }

// To writes each change of the table to a topic, which must exist when the
// application starts: a record with the row's key, its new value and the
// update's timestamp; a null value (a tombstone) where the row was deleted. A
// topic that is compacted keeps the table.
func (t *KTable[K, V]) To(out topic.Topic[K, V]) {
	flow.CheckTopic(t.changes.T, out)
	flow.Sink(t.changes, out.Name(), false, out.KeySerde(), out.ValueSerde(), func(c flow.Change[V]) (V, bool) {
		return c.New.Value, c.New.OK
	})
}
