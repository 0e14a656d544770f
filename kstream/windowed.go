// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/agg"
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/window"
)

// A TimeWindowed is a grouped stream cut into time windows. Its tables have a row
// for each key and window. Records with a null key are dropped and counted; a null
// value is aggregated like any other.
type TimeWindowed[K, V any] struct {
	stream flow.Stream[K, V]
	spec   window.TimeSpec
	emit   window.EmitMode
	late   func(*KStream[K, V])
}

// Windowed cuts the stream into time windows. (W is window.TimeSpec. As a parameter
// it has only those programs compile windows that use them: of a generic type all
// methods are compiled, and what they use, but for generic ones.)
func (g *Grouped[K, V]) Windowed[W interface{ window.TimeSpec }](w W) *TimeWindowed[K, V] {
	spec := window.TimeSpec(w)
	flow.Check(g.stream.T, spec.Check())
	return &TimeWindowed[K, V]{stream: g.stream, spec: spec}
}

// Emit says when results are sent on: OnUpdate, the default, OnCommit or OnClose.
func (w *TimeWindowed[K, V]) Emit(mode window.EmitMode) *TimeWindowed[K, V] {
	next := *w
	next.emit = mode
	return &next
}

// Late gives the records that come too late for all their windows to use, as a stream,
// when an aggregation is defined; without it they are dropped and counted. A record that
// comes too late for some of its windows is taken into the others, and counted.
//
//	w.Late(func(late *kstream.KStream[string, Reading]) { late.To(LateReadings) })
//
// (It is sideOutputLateData of Flink; Kafka Streams has a metric alone.)
func (w *TimeWindowed[K, V]) Late(use func(late *KStream[K, V])) *TimeWindowed[K, V] {
	next := *w
	next.late = use
	return &next
}

// aside is late as package ktable calls it.
func (w *TimeWindowed[K, V]) aside() func(flow.Stream[K, V]) {
	if w.late == nil {
		return nil
	}
	return func(s flow.Stream[K, V]) { w.late(of(s)) }
}

func (w *TimeWindowed[K, V]) windows(options []ktable.Option) []ktable.Option {
	return append([]ktable.Option{ktable.Emit(w.emit)}, options...)
}

// Count counts the records of each key and window.
func (w *TimeWindowed[K, V]) Count(name string, options ...ktable.Option) *ktable.KTable[window.Key[K], int64] {
	return ktable.AggregateTime(w.stream, "count", name, w.spec, w.aside(), count[V], w.windows(options)...)
}

// Reduce combines the values of each key and window: the first is the result as it
// is, then f gets the result so far and the next value.
func (w *TimeWindowed[K, V]) Reduce(name string, f func(V, V) V, options ...ktable.Option) *ktable.KTable[window.Key[K], V] {
	return ktable.AggregateTime(w.stream, "reduce", name, w.spec, w.aside(), reduce(f), inherit(w.stream, w.windows(options))...)
}

// Aggregate folds the values of each key and window with an aggregator of package
// agg, from what its Init gives.
func (w *TimeWindowed[K, V]) Aggregate[A any](name string, a agg.Any[V, A], options ...ktable.Option) *ktable.KTable[window.Key[K], A] {
	return ktable.AggregateTime(w.stream, "aggregate", name, w.spec, w.aside(), aggregate(a), w.windows(options)...)
}

// Fold is the aggregation that may also remove a row; see [Grouped.Fold].
func (w *TimeWindowed[K, V]) Fold[A any](name string, f func(opt.V[A], V) opt.V[A], options ...ktable.Option) *ktable.KTable[window.Key[K], A] {
	return ktable.AggregateTime(w.stream, "aggregate", name, w.spec, w.aside(), f, w.windows(options)...)
}
