// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
)

// A KStream is a stream of events with keys of type K and values of type V, at
// one point of a topology. It is a value to chain on: several steps may follow
// the same stream, and each gets every record.
type KStream[K, V any] struct {
	end flow.Stream[K, V]
}

func of[K, V any](s flow.Stream[K, V]) *KStream[K, V] { return &KStream[K, V]{s} }

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

// then adds an operator behind s that ends with a call of next, if it has one. build
// gives its entry, which begins with here.Enter().
func then[K, V, K2, V2 any](s *KStream[K, V], op string, build func(here flow.Place, next flow.Next[K2, V2]) flow.Next[K, V]) flow.Stream[K2, V2] {
	return flow.Step(s.end, op, func(env plan.Env, n *plan.Node, next flow.Next[K2, V2]) flow.Next[K, V] {
		return build(flow.PlaceOf(env, n), next)
	})
}

// thenMany is then for a step that calls next any number of times.
func thenMany[K, V, K2, V2 any](s *KStream[K, V], op string, step func(r processor.Record[K, V], next flow.Next[K2, V2]) error) flow.Stream[K2, V2] {
	return flow.Then(s.end, op, "", func(env plan.Env, n *plan.Node, next flow.Next[K2, V2]) flow.Next[K, V] {
		next = flow.Guard(env, n, next)
		return func(r processor.Record[K, V]) error { return step(r, next) }
	})
}
