// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"fmt"

	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// Filter is the table of the rows for which keep answers true. A row that was kept
// and is not any more is deleted. With [Store] the result has a store of its own.
func (t *KTable[K, V]) Filter(keep func(K, V) bool, options ...Option) *KTable[K, V] {
	o := gather(options)
	out := mapRows(t, "filter", t.values, func(k K, v V) opt.V[V] {
		return opt.V[V]{Value: v, OK: keep(k, v)}
	}, o)
	if o.store != "" {
		out.old.require()
	}
	return out
}

// MapValues is the table whose values are f of these. With [Store] the result has
// a store of its own.
func (t *KTable[K, V]) MapValues[V2 any](f func(V) V2, options ...Option) *KTable[K, V2] {
	return mapRows(t, "map-values", serde.Serde[V2]{}, func(_ K, v V) opt.V[V2] { return opt.Some(f(v)) }, gather(options))
}

// MapRows is MapValues for a function that looks at the key as well, and that may
// leave a row out.
func (t *KTable[K, V]) MapRows[V2 any](f func(K, V) opt.V[V2], options ...Option) *KTable[K, V2] {
	return mapRows(t, "map-values", serde.Serde[V2]{}, f, gather(options))
}

// mapRows follows KTableFilter and KTableMapValues of Kafka Streams: a change that
// leaves nothing is sent on as a deletion even if there was nothing before, but by a
// filter that has the old values.
func mapRows[K, V, V2 any](t *KTable[K, V], op string, known serde.Serde[V2], f func(K, V) opt.V[V2], o tableOptions) *KTable[K, V2] {
	apply := func(k K, row opt.V[V]) opt.V[V2] {
		if !row.OK {
			return opt.None[V2]()
		}
		return f(k, row.Value)
	}
	if o.values != nil || o.store != "" {
		if o.values == nil {
			o.values = known
		}
		known = valuesOf[V2](t.changes.T, o, fmt.Sprintf("store %q", o.store))
	}
	need := &oldNeed{of: []*oldNeed{t.old}}
	rows, defs := mapped(t.rows, apply), t.stores
	var own []*plan.Store
	if o.store != "" {
		keys := t.changes.KeySerde(fmt.Sprintf("store %q", o.store))
		own = append(own, keyValue(t.changes.T, o.store, keys, known))
		rows, defs = storeRows[K, V2](o.store), own
	}
	out := flow.Then(t.changes, op, o.store, func(env plan.Env, _ *plan.Node, next flow.Next[K, flow.Change[V2]]) flow.Next[K, flow.Change[V]] {
		var store *state.KeyValueStore[K, V2]
		if o.store != "" {
			store = env.Store(o.store).(*state.KeyValueStore[K, V2])
		}
		return func(r processor.Record[K, flow.Change[V]]) error {
			c := flow.Change[V2]{New: apply(r.Key, r.Value.New)}
			if need.on {
				c.Old = apply(r.Key, r.Value.Old)
				if op == "filter" && !c.Old.OK && !c.New.OK {
					return nil
				}
			}
			if store != nil {
				if err := put(store, r.Key, c.New, r.Timestamp); err != nil {
					return err
				}
			}
			return next(processor.Record[K, flow.Change[V2]]{Key: r.Key, Value: c, Timestamp: r.Timestamp, Headers: r.Headers})
		}
	}, own...)
	out.Keys = t.changes.Keys
	return &KTable[K, V2]{changes: out, values: known, old: need, rows: rows, stores: defs, closes: t.closes}
}

// mapped looks rows up in the table that they are made of.
func mapped[K, V, V2 any](rows func(plan.Env) Rows[K, V], apply func(K, opt.V[V]) opt.V[V2]) func(plan.Env) Rows[K, V2] {
	if rows == nil {
		return nil
	}
	return func(env plan.Env) Rows[K, V2] {
		up := rows(env)
		return func(key K) (opt.V[V2], int64, error) {
			row, timestamp, err := up(key)
			return apply(key, row), timestamp, err
		}
	}
}

// put sets or deletes a row without reading it.
func put[K, V any](store *state.KeyValueStore[K, V], key K, row opt.V[V], timestamp int64) error {
	if row.OK {
		return store.Put(key, row.Value, timestamp)
	}
	return store.Delete(key, timestamp)
}
