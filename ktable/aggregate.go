// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"fmt"

	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/window"
)

// A Step gives the next result of a key from the one so far, none if there is
// none, and a value. None out deletes the row.
type Step[V, A any] = func(opt.V[A], V) opt.V[A]

// Aggregate adds an aggregation of a grouped stream with a store of that name.
// It is what the methods of kstream.Grouped stand on. A result's timestamp is
// the highest of the values that went into it.
func Aggregate[K, V, A any](in flow.Stream[K, V], op, name string, step Step[V, A], options ...Option) *KTable[K, A] {
	o := gather(options)
	what := fmt.Sprintf("store %q", name)
	keys, values := in.KeySerde(what), valuesOf[A](in.T, o, what)
	def := keyValue(in.T, name, keys, values)
	need := &oldNeed{}
	a := aggregation[K, V, A]{step: step, nullKey: keys.IsNull, nullValue: in.NullValue()}
	out := flow.Step(in, op, func(env plan.Env, n *plan.Node, next flow.Next[K, flow.Change[A]]) flow.Next[K, V] {
		store := env.Store(name).(*state.KeyValueStore[K, A])
		if o.emit == window.OnCommit {
			results := flow.Guard(env, n, next)
			env.AtCommit(n, func() error { return emitDirty(store, need, results) })
			next = nil
		}
		return a.entry(env, n, store, next)
	}, def)
	out.Keys, out.Node.Name = keys, name
	return &KTable[K, A]{changes: out, values: values, old: need, rows: storeRows[K, A](name), stores: []*plan.Store{def}}
}

// An aggregation is what the tasks of one aggregation share.
type aggregation[K, V, A any] struct {
	step      Step[V, A]
	nullKey   func(K) bool // nil where K has no null
	nullValue func(V) bool // nil where V has no null
}

// entry is the aggregation in one task. Without next nothing is sent on.
func (a aggregation[K, V, A]) entry(env plan.Env, n *plan.Node, store *state.KeyValueStore[K, A], next flow.Next[K, flow.Change[A]]) flow.Next[K, V] {
	here := flow.PlaceOf(env, n)
	return func(r processor.Record[K, V]) error {
		here.Enter()
		if a.nullKey != nil && a.nullKey(r.Key) {
			env.Drop(n, "null key")
			return nil
		}
		if a.nullValue != nil && a.nullValue(r.Value) {
			env.Drop(n, "null value")
			return nil
		}
		c, err := store.Cell(r.Key)
		if err != nil {
			return err
		}
		old, ts := opt.V[A]{Value: c.Value, OK: c.OK}, r.Timestamp
		if old.OK {
			ts = max(ts, c.Timestamp)
		}
		now := a.step(old, r.Value)
		set(store, c, now, ts)
		if next == nil {
			return nil
		}
		return next(processor.Record[K, flow.Change[A]]{
			Key: r.Key, Value: flow.Change[A]{Old: old, New: now}, Timestamp: ts, Headers: r.Headers,
		})
	}
}

// emitDirty sends on the latest result of each key that the open layer has
// changed, with what it was at the last commit if anyone needs that.
func emitDirty[K, A any](store *state.KeyValueStore[K, A], need *oldNeed, next flow.Next[K, flow.Change[A]]) error {
	return store.EachDirty(func(key K, c *state.Cell[A]) error {
		change := flow.Change[A]{New: opt.V[A]{Value: c.Value, OK: c.OK}}
		timestamp := c.Timestamp
		if need.on {
			old, _, ok, err := store.OldOf(c)
			if err != nil {
				return err
			}
			change.Old = opt.V[A]{Value: old, OK: ok}
		}
		return next(processor.Record[K, flow.Change[A]]{Key: key, Value: change, Timestamp: timestamp})
	})
}
