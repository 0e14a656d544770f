// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topic"
)

// A KTable is a table with keys of type K and values of type V, at one point of
// a topology. It is a value to chain on: several steps may follow the same
// table, and each gets every change.
type KTable[K, V any] struct {
	changes flow.Stream[K, flow.Change[V]]
	values  serde.Serde[V]
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
