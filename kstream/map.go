// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/processor"
)

// Map turns each record into one with another key and value. The key's
// partition no longer holds, so a grouping that follows needs a name.
func (s *KStream[K, V]) Map[K2, V2 any](f func(K, V) (K2, V2)) *KStream[K2, V2] {
	out := of(then(s, "map", func(here flow.Place, next flow.Next[K2, V2]) flow.Next[K, V] {
		return func(r processor.Record[K, V]) error {
			here.Enter()
			k, v := f(r.Key, r.Value)
			return next(processor.Record[K2, V2]{Key: k, Value: v, Timestamp: r.Timestamp, Headers: r.Headers})
		}
	}))
	out.end.Rekeyed = true
	return out
}

// MapValues turns each value into another; the key stays.
func (s *KStream[K, V]) MapValues[V2 any](f func(V) V2) *KStream[K, V2] {
	out := of(then(s, "map-values", func(here flow.Place, next flow.Next[K, V2]) flow.Next[K, V] {
		return func(r processor.Record[K, V]) error {
			here.Enter()
			return next(processor.Record[K, V2]{Key: r.Key, Value: f(r.Value), Timestamp: r.Timestamp, Headers: r.Headers})
		}
	}))
	out.end.Keys = s.end.Keys
	return out
}

// MapValuesWithKey is MapValues for a function that looks at the key as well. It
// must not change what the key refers to.
func (s *KStream[K, V]) MapValuesWithKey[V2 any](f func(K, V) V2) *KStream[K, V2] {
	out := of(then(s, "map-values", func(here flow.Place, next flow.Next[K, V2]) flow.Next[K, V] {
		return func(r processor.Record[K, V]) error {
			here.Enter()
			return next(processor.Record[K, V2]{Key: r.Key, Value: f(r.Key, r.Value), Timestamp: r.Timestamp, Headers: r.Headers})
		}
	}))
	out.end.Keys = s.end.Keys
	return out
}

// SelectKey gives each record another key; the value stays. The key's partition
// no longer holds, so a grouping that follows needs a name.
func (s *KStream[K, V]) SelectKey[K2 any](f func(K, V) K2) *KStream[K2, V] {
	out := of(then(s, "select-key", func(here flow.Place, next flow.Next[K2, V]) flow.Next[K, V] {
		return func(r processor.Record[K, V]) error {
			here.Enter()
			return next(processor.Record[K2, V]{Key: f(r.Key, r.Value), Value: r.Value, Timestamp: r.Timestamp, Headers: r.Headers})
		}
	}))
	out.end.Values = s.end.Values
	out.end.Rekeyed = true
	return out
}
