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

// A GlobalTable is a table that every instance of an application holds whole: streams
// join it by any key, without being partitioned as it is. It is for tables that are
// small, or change rarely. It sends no changes on.
type GlobalTable[K, V any] struct {
	name string
	keys serde.Serde[K]
}

// Global makes a global table of a topic, with a store of that name: each record sets
// the row of its key, a null value deletes it. Records with a null key are dropped and
// counted. The topic must exist when the application starts, is read by nothing else
// in it, and is the store's changelog, so it should be compacted.
//
// An instance reads all partitions, to where they end, before its tasks begin, and goes
// on reading in the background: a record of a stream meets what has come by then, whatever
// its timestamp. A record that cannot be decoded meets Config.OnDecodeError, which may
// be Fail or Skip here. Partitions that the topic is given later are read from the next
// start on.
func Global[K, V any](t *processor.Topology, name string, in topic.Topic[K, V]) *GlobalTable[K, V] {
	flow.CheckTopic(t, in)
	rows := flow.Source(t, in.Name(), false, in.KeySerde(), rowSerde(in.ValueSerde()))
	rows.Node.Global = true
	keys := rows.KeySerde(fmt.Sprintf("store %q", name))
	def := keyValue(t, name, keys, in.ValueSerde())
	flow.Then(rows, "global-table", name, func(env plan.Env, n *plan.Node, _ flow.Next[K, opt.V[V]]) flow.Next[K, opt.V[V]] {
		store := env.Store(name).(*state.KeyValueStore[K, V])
		return func(r processor.Record[K, opt.V[V]]) error {
			if keys.IsNull != nil && keys.IsNull(r.Key) {
				env.Drop(n, "null key")
				return nil
			}
			return put(store, r.Key, r.Value, r.Timestamp)
		}
	}, def)
	return &GlobalTable[K, V]{name: name, keys: keys}
}

// Lookup is how a task looks rows up, and the encoding of their keys, for the DSL
// packages of this module.
func (g *GlobalTable[K, V]) Lookup() (rows func(plan.Env) Rows[K, V], keys serde.Serde[K]) {
	return func(env plan.Env) Rows[K, V] {
		view := env.Global(g.name).(*state.KeyValueStore[K, V]).Committed()
		return func(key K) (opt.V[V], int64, error) {
			v, timestamp, ok, err := view.Get(key)
			return opt.V[V]{Value: v, OK: ok}, timestamp, err
		}
	}, g.keys
}
