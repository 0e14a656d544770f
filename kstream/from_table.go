// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
)

// FromTable makes a stream of a table's changes: each update of a row is a
// record with the row's new value, none where the row was deleted. (It is
// KTable.toStream of Kafka Streams.)
func FromTable[K, V any](t *ktable.KTable[K, V]) *KStream[K, opt.V[V]] {
	changes := t.Changes()
	out := flow.Then(changes, "to-stream", "", func(_ plan.Env, _ *plan.Node, next flow.Next[K, opt.V[V]]) flow.Next[K, flow.Change[V]] {
		return func(r processor.Record[K, flow.Change[V]]) error {
			return next(processor.Record[K, opt.V[V]]{Key: r.Key, Value: r.Value.New, Timestamp: r.Timestamp, Headers: r.Headers})
		}
	})
	out.Keys = changes.Keys
	return of(out)
}
