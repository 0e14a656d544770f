// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"iter"

	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/processor"
)

// FlatMap turns each record into any number of records: f yields their keys and
// values in order. All have the timestamp and the headers of the record. The
// key's partition no longer holds, so a grouping that follows needs a name.
func (s *KStream[K, V]) FlatMap[K2, V2 any](f func(K, V) iter.Seq2[K2, V2]) *KStream[K2, V2] {
	out := of(thenMany(s, "flat-map", func(r processor.Record[K, V], next flow.Next[K2, V2]) error {
		for k, v := range f(r.Key, r.Value) {
			if err := next(processor.Record[K2, V2]{Key: k, Value: v, Timestamp: r.Timestamp, Headers: r.Headers}); err != nil {
				return err
			}
		}
		return nil
	}))
	out.end.Rekeyed = true
	return out
}

// FlatMapValues turns each value into any number of values, in order; the key
// stays. f may return nil for none.
func (s *KStream[K, V]) FlatMapValues[V2 any](f func(V) []V2) *KStream[K, V2] {
	out := of(thenMany(s, "flat-map-values", func(r processor.Record[K, V], next flow.Next[K, V2]) error {
		for _, v := range f(r.Value) {
			if err := next(processor.Record[K, V2]{Key: r.Key, Value: v, Timestamp: r.Timestamp, Headers: r.Headers}); err != nil {
				return err
			}
		}
		return nil
	}))
	out.end.Keys = s.end.Keys
	return out
}

// FlatMapSeq is FlatMapValues for a function that yields its values instead of
// making a slice of them.
func (s *KStream[K, V]) FlatMapSeq[V2 any](f func(V) iter.Seq[V2]) *KStream[K, V2] {
	out := of(thenMany(s, "flat-map-values", func(r processor.Record[K, V], next flow.Next[K, V2]) error {
		for v := range f(r.Value) {
			if err := next(processor.Record[K, V2]{Key: r.Key, Value: v, Timestamp: r.Timestamp, Headers: r.Headers}); err != nil {
				return err
			}
		}
		return nil
	}))
	out.end.Keys = s.end.Keys
	return out
}
