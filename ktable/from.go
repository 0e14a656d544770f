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
	"github.com/millrace/millrace/topic"
)

// From makes a table of a topic, with a store of that name: each record sets the
// row of its key, a null value deletes it. Records with a null key are dropped
// and counted. The topic must exist when the application starts.
func From[K, V any](t *processor.Topology, name string, in topic.Topic[K, V]) *KTable[K, V] {
	flow.CheckTopic(t, in)
	rows := flow.Source(t, in.Name(), false, in.KeySerde(), rowSerde(in.ValueSerde()))
	return rowsOf(rows, name, in.ValueSerde())
}

// FromStream makes a table of a stream's records, with a store of that name. It is
// what kstream.KStream.ToTable stands on: the stream is partitioned by its key.
func FromStream[K, V any](in flow.Stream[K, V], name string, options ...Option) *KTable[K, V] {
	o := gather(options)
	if o.values == nil {
		o.values = in.Values
	}
	isNull := in.NullValue()
	rows := flow.Then(in, "to-rows", "", func(_ plan.Env, _ *plan.Node, next flow.Next[K, opt.V[V]]) flow.Next[K, V] {
		return func(r processor.Record[K, V]) error {
			return next(processor.Record[K, opt.V[V]]{
				Key: r.Key, Value: opt.V[V]{Value: r.Value, OK: isNull == nil || !isNull(r.Value)}, Timestamp: r.Timestamp, Headers: r.Headers,
			})
		}
	})
	rows.Keys = in.Keys
	return rowsOf(rows, name, valuesOf[V](in.T, o, fmt.Sprintf("store %q", name)))
}

// rowSerde reads and writes rows: no value is a null, whatever nulls V itself has.
func rowSerde[V any](values serde.Serde[V]) serde.Serde[opt.V[V]] {
	return serde.Serde[opt.V[V]]{
		Name:   values.Name,
		Append: func(dst []byte, v opt.V[V]) ([]byte, error) { return values.Append(dst, v.Value) },
		Decode: func(src []byte) (opt.V[V], error) {
			if src == nil {
				return opt.None[V](), nil
			}
			v, err := values.Decode(src)
			return opt.V[V]{Value: v, OK: err == nil}, err
		},
		IsNull: func(v opt.V[V]) bool { return !v.OK },
	}
}

// rowsOf keeps rows in a store and sends on their changes. It follows KTableSource
// of Kafka Streams: a row that comes with an older timestamp counts all the same.
func rowsOf[K, V any](in flow.Stream[K, opt.V[V]], name string, values serde.Serde[V]) *KTable[K, V] {
	what := fmt.Sprintf("store %q", name)
	keys := in.KeySerde(what)
	def := keyValue(in.T, name, keys, values)
	out := flow.Then(in, "table", name, func(env plan.Env, n *plan.Node, next flow.Next[K, flow.Change[V]]) flow.Next[K, opt.V[V]] {
		store := env.Store(name).(*state.KeyValueStore[K, V])
		return func(r processor.Record[K, opt.V[V]]) error {
			if keys.IsNull != nil && keys.IsNull(r.Key) {
				env.Drop(n, "null key")
				return nil
			}
			c, err := store.Cell(r.Key)
			if err != nil {
				return err
			}
			old := opt.V[V]{Value: c.Value, OK: c.OK}
			set(store, c, r.Value, r.Timestamp)
			return next(processor.Record[K, flow.Change[V]]{
				Key: r.Key, Value: flow.Change[V]{Old: old, New: r.Value}, Timestamp: r.Timestamp, Headers: r.Headers,
			})
		}
	}, def)
	out.Keys = keys
	return &KTable[K, V]{changes: out, values: values, old: &oldNeed{}, rows: storeRows[K, V](name), stores: []*plan.Store{def}}
}

// set puts a row, or deletes it.
func set[K, V any](store *state.KeyValueStore[K, V], c *state.Cell[V], row opt.V[V], timestamp int64) {
	if row.OK {
		store.Set(c, row.Value, timestamp)
	} else {
		store.Unset(c, timestamp)
	}
}

// keyValue registers a key-value store.
func keyValue[K, V any](t *processor.Topology, name string, keys serde.Serde[K], values serde.Serde[V]) *plan.Store {
	return t.Graph().AddStore(&plan.Store{
		Name: name, Site: plan.Site(),
		Open: func(base state.Base, opt state.Options) state.Store {
			return state.OpenKeyValue(name, keys, values, base, opt)
		},
	})
}
