// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topic"
)

// A KStream is a stream of events with keys of type K and values of type V, at
// one point of a topology. It is a value to chain on: several steps may follow
// the same stream, and each gets every record.
type KStream[K, V any] struct {
	end flow.Stream[K, V]
}

func of[K, V any](s flow.Stream[K, V]) *KStream[K, V] { return &KStream[K, V]{s} }

// From begins a stream with the records of a topic, which must exist when the
// application starts. In the order of a partition, from the committed offset,
// or from the topic's start where there is none.
func From[K, V any](t *processor.Topology, in topic.Topic[K, V]) *KStream[K, V] {
	flow.CheckTopic(t, in)
	return of(flow.Source(t, in.Name(), false, in.KeySerde(), in.ValueSerde()))
}

// Keys says how the stream's keys are encoded, where they leave the task: in a
// repartition topic, a store, a changelog. Without it the encoding is found by type.
func (s *KStream[K, V]) Keys(keys serde.Serde[K]) *KStream[K, V] {
	next := *s
	next.end.Keys = keys
	return &next
}

// Values says how the stream's values are encoded, as Keys does.
func (s *KStream[K, V]) Values(values serde.Serde[V]) *KStream[K, V] {
	next := *s
	next.end.Values = values
	return &next
}

// To writes the stream to a topic, which must exist when the application
// starts. The partition is that of Kafka's default partitioner: by the murmur2
// hash of the key, or any for a null key. Timestamps and headers go along.
func (s *KStream[K, V]) To(out topic.Topic[K, V]) {
	flow.CheckTopic(s.end.T, out)
	flow.Sink(s.end, out.Name(), false, out.KeySerde(), out.ValueSerde(), func(v V) (V, bool) { return v, true })
}

// then adds an operator behind s whose step ends with a call of next, if it has one.
func then[K, V, K2, V2 any](s *KStream[K, V], op string, step func(r processor.Record[K, V], next flow.Next[K2, V2]) error) flow.Stream[K2, V2] {
	return flow.Step(s.end, op, func(env plan.Env, n *plan.Node, next flow.Next[K2, V2]) flow.Next[K, V] {
		at, id := env.At(), int32(n.ID)
		return func(r processor.Record[K, V]) error {
			*at = id
			return step(r, next)
		}
	})
}

// thenMany is then for a step that calls next any number of times.
func thenMany[K, V, K2, V2 any](s *KStream[K, V], op string, step func(r processor.Record[K, V], next flow.Next[K2, V2]) error) flow.Stream[K2, V2] {
	return flow.Then(s.end, op, "", func(env plan.Env, n *plan.Node, next flow.Next[K2, V2]) flow.Next[K, V] {
		next = flow.Guard(env, n, next)
		return func(r processor.Record[K, V]) error { return step(r, next) }
	})
}
