// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/processor"
)

// Process calls f for each record, which forwards any number of records of other
// types, at any time, and uses the stores that Process is given. The key's partition
// no longer holds behind it, so a grouping that follows needs a name. An error that f
// returns meets the step's policy.
func (s *KStream[K, V]) Process[K2, V2 any](name string, f func(pc *processor.Context[K2, V2], r processor.Record[K, V]) error, stores ...processor.StoreRef) *KStream[K2, V2] {
	return s.ProcessWith(name, func(pc *processor.Context[K2, V2]) (func(processor.Record[K, V]) error, error) {
		return func(r processor.Record[K, V]) error { return f(pc, r) }, nil
	}, stores...)
}

// ProcessWith is Process for a step that keeps something of its own: open is called
// once a task, before its first record, and returns what is called for each record.
// There it looks stores up and schedules punctuations. What the closure keeps in
// variables is lost when the task moves or is restarted: what must last is in stores.
func (s *KStream[K, V]) ProcessWith[K2, V2 any](name string, open func(pc *processor.Context[K2, V2]) (func(processor.Record[K, V]) error, error), stores ...processor.StoreRef) *KStream[K2, V2] {
	out := flow.ThenTry(s.end, "process", name, func(env plan.Env, n *plan.Node, next flow.Next[K2, V2]) (flow.Next[K, V], error) {
		f, err := open(processor.NewContext(env, n, flow.Guard(env, n, next)))
		if err != nil {
			return nil, err
		}
		return tried(env, n, f), nil
	}, definitions(stores)...)
	out.Rekeyed = true
	return of(out)
}

// ProcessValues is Process for a step that keeps the key: what it forwards while it
// has a record has that record's key, whatever key it is given, so the stream stays
// partitioned as it is. In a punctuation the keys must be ones of the task's
// partition.
func (s *KStream[K, V]) ProcessValues[V2 any](name string, f func(pc *processor.Context[K, V2], r processor.Record[K, V]) error, stores ...processor.StoreRef) *KStream[K, V2] {
	return s.ProcessValuesWith(name, func(pc *processor.Context[K, V2]) (func(processor.Record[K, V]) error, error) {
		return func(r processor.Record[K, V]) error { return f(pc, r) }, nil
	}, stores...)
}

// ProcessValuesWith is ProcessWith for a step that keeps the key, as ProcessValues.
func (s *KStream[K, V]) ProcessValuesWith[V2 any](name string, open func(pc *processor.Context[K, V2]) (func(processor.Record[K, V]) error, error), stores ...processor.StoreRef) *KStream[K, V2] {
	out := flow.ThenTry(s.end, "process-values", name, func(env plan.Env, n *plan.Node, next flow.Next[K, V2]) (flow.Next[K, V], error) {
		var hand *K // the key of the record in hand
		forward := flow.Guard(env, n, next)
		f, err := open(processor.NewContext(env, n, func(r processor.Record[K, V2]) error {
			if hand != nil {
				r.Key = *hand
			}
			return forward(r)
		}))
		if err != nil {
			return nil, err
		}
		var key K
		step := tried(env, n, f)
		return func(r processor.Record[K, V]) error {
			key, hand = r.Key, &key
			defer func() { hand = nil }() // also when f panics
			return step(r)
		}, nil
	}, definitions(stores)...)
	out.Keys = s.end.Keys
	return of(out)
}

// tried is f with its errors given to the node's policy.
func tried[K, V any](env plan.Env, n *plan.Node, f func(processor.Record[K, V]) error) flow.Next[K, V] {
	return func(r processor.Record[K, V]) error {
		for try := 1; ; try++ {
			err := f(r)
			if err == nil {
				return nil
			}
			if again, err := env.Failed(n, plan.Processing, try, err); !again {
				return err
			}
		}
	}
}

func definitions(stores []processor.StoreRef) []*plan.Store {
	var defs []*plan.Store
	for _, s := range stores {
		defs = append(defs, s.Plan())
	}
	return defs
}
