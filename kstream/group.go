// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/agg"
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
)

// A Grouped is a stream whose records of equal keys meet in one task: what
// aggregations start from. Several aggregations may follow one grouping.
type Grouped[K, V any] struct {
	stream flow.Stream[K, V]
}

// An Option is an option of an operator that may have to repartition its stream.
type Option interface{ applyStream(*streamOptions) }

type streamOptions struct{ name string }

type streamName string

func (n streamName) applyStream(o *streamOptions) { o.name = string(n) }

// Named names the repartition topic of an operator: <application
// id>-<name>-repartition. It is needed where the key was changed before.
func Named(name string) Option { return streamName(name) }

// GroupBy groups the records by another key, which f computes. They go through
// the repartition topic <application id>-<name>-repartition, so that equal keys
// meet. Records whose new key is null are dropped and counted. A key whose
// encoding is not found by its type is given with SelectKey(f).Keys(encoding).
// GroupByKey(Named(name)).
func (s *KStream[K, V]) GroupBy[K2 any](name string, f func(K, V) K2) *Grouped[K2, V] {
	return &Grouped[K2, V]{flow.Repartition(s.SelectKey(f).end, name)}
}

// GroupByKey groups the records by the key that they have. Where the key was
// changed since the records were last read from a topic, they go through a
// repartition topic, which [Named] must then name.
func (s *KStream[K, V]) GroupByKey(options ...Option) *Grouped[K, V] {
	return &Grouped[K, V]{s.partitioned(options)}
}

// partitioned is the stream with its records in the partitions of their keys.
func (s *KStream[K, V]) partitioned(options []Option) flow.Stream[K, V] {
	if !s.end.Rekeyed {
		return s.end
	}
	return flow.Repartition(s.end, gather(options).name)
}

func gather(options []Option) streamOptions {
	var o streamOptions
	for _, opt := range options {
		opt.applyStream(&o)
	}
	return o
}

// Count counts the records of each key in the store of that name. Records with
// a null key or value are dropped and not counted.
func (g *Grouped[K, V]) Count(name string, options ...ktable.Option) *ktable.KTable[K, int64] {
	return ktable.Aggregate(g.stream, "count", name, count[V], options...)
}

// Reduce combines the values of each key: the first is the result as it is, then
// f gets the result so far and the next value, in the order of the partition.
func (g *Grouped[K, V]) Reduce(name string, f func(V, V) V, options ...ktable.Option) *ktable.KTable[K, V] {
	return ktable.Aggregate(g.stream, "reduce", name, reduce(f), inherit(g.stream, options)...)
}

// Aggregate folds the values of each key with an aggregator of package agg, from
// what its Init gives.
func (g *Grouped[K, V]) Aggregate[A any](name string, a agg.Any[V, A], options ...ktable.Option) *ktable.KTable[K, A] {
	return ktable.Aggregate(g.stream, "aggregate", name, aggregate(a), options...)
}

// Fold is the aggregation that may also remove a row: none in is the first value
// of a key, none out deletes the row, and the next value starts afresh.
func (g *Grouped[K, V]) Fold[A any](name string, f func(opt.V[A], V) opt.V[A], options ...ktable.Option) *ktable.KTable[K, A] {
	return ktable.Aggregate(g.stream, "aggregate", name, f, options...)
}

// inherit gives a table the encoding of the values of its stream, unless the
// options say another.
func inherit[K, V any](s flow.Stream[K, V], options []ktable.Option) []ktable.Option {
	if !s.Values.Valid() {
		return options
	}
	return append([]ktable.Option{ktable.Values(s.Values)}, options...)
}

func count[V any](old opt.V[int64], _ V) opt.V[int64] { return opt.Some(old.Value + 1) }

func reduce[V any](f func(V, V) V) ktable.Step[V, V] {
	return func(old opt.V[V], v V) opt.V[V] {
		if !old.OK {
			return opt.Some(v)
		}
		return opt.Some(f(old.Value, v))
	}
}

func aggregate[V, A any](a agg.Any[V, A]) ktable.Step[V, A] {
	return func(old opt.V[A], v V) opt.V[A] {
		if !old.OK {
			old.Value = a.Init()
		}
		return opt.Some(a.Add(old.Value, v))
	}
}
