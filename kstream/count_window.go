// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/agg"
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/window"
)

// A CountWindowed is a grouped stream cut into windows of records. Its tables have a row
// for each key and window. Records with a null key or value are dropped and counted,
// and are in no window.
type CountWindowed[K, V any] struct {
	stream flow.Stream[K, V]
	spec   window.CountSpec
	emit   window.EmitMode
}

// CountWindows cuts the stream into windows of a number of records of each key.
//
//	readings.GroupByKey().
//		CountWindows(window.Count(10).Every(5).OrAfter(time.Minute)).
//		Aggregate("mean-of-10", mean)
//
// (W is window.CountSpec; see [Grouped.Windowed].)
func (g *Grouped[K, V]) CountWindows[W interface{ window.CountSpec }](w W) *CountWindowed[K, V] {
	spec := window.CountSpec(w)
	flow.Check(g.stream.T, spec.Check())
	return &CountWindowed[K, V]{stream: g.stream, spec: spec, emit: window.OnClose}
}

// Emit says when results are sent on: OnClose, the default, when a window is complete;
// OnUpdate with each record, of every window that it is in, the last of a window being
// its result; OnCommit once a commit what OnUpdate would have sent last, and what is
// complete at once.
func (w *CountWindowed[K, V]) Emit(mode window.EmitMode) *CountWindowed[K, V] {
	next := *w
	next.emit = mode
	return &next
}

func (w *CountWindowed[K, V]) windows(options []ktable.Option) []ktable.Option {
	return append([]ktable.Option{ktable.Emit(w.emit)}, options...)
}

// Count counts the records of each window: less than the size where time has completed
// it.
func (w *CountWindowed[K, V]) Count(name string, options ...ktable.Option) *ktable.KTable[window.CountKey[K], int64] {
	return ktable.AggregateCount(w.stream, "count", name, w.spec, count[V], panes(agg.Count[V]()), w.windows(options)...)
}

// Reduce combines the values of each window: the first is the result as it is, then f
// gets the result so far and the next value, in the order of the partition. Where
// windows overlap it also gets the results of two pieces of a window, the earlier
// first, so f must be associative.
func (w *CountWindowed[K, V]) Reduce(name string, f func(V, V) V, options ...ktable.Option) *ktable.KTable[window.CountKey[K], V] {
	join := func(pieces []V) V {
		result := pieces[0]
		for _, p := range pieces[1:] {
			result = f(result, p)
		}
		return result
	}
	return ktable.AggregateCount(w.stream, "reduce", name, w.spec, reduce(f), join, inherit(w.stream, w.windows(options))...)
}

// Aggregate folds the values of each window with an aggregator of package agg, from what
// its Init gives. Where windows overlap, one that can merge costs a change of one
// aggregate a record, and size/step merges a result; another costs a change of each
// of the size/step windows that a record is in.
func (w *CountWindowed[K, V]) Aggregate[A any](name string, a agg.Any[V, A], options ...ktable.Option) *ktable.KTable[window.CountKey[K], A] {
	var join func([]A) A
	if m, ok := a.(agg.Merging[V, A]); ok {
		join = panes(m)
	}
	return ktable.AggregateCount(w.stream, "aggregate", name, w.spec, aggregate(a), join, w.windows(options)...)
}

// Fold is the aggregation that may also have no result: see [Grouped.Fold]. A window
// without one when it is complete sends nothing.
func (w *CountWindowed[K, V]) Fold[A any](name string, f func(opt.V[A], V) opt.V[A], options ...ktable.Option) *ktable.KTable[window.CountKey[K], A] {
	return ktable.AggregateCount(w.stream, "aggregate", name, w.spec, f, nil, w.windows(options)...)
}

// panes merges the aggregates of a window's panes, two or more.
func panes[V, A any](a agg.Merging[V, A]) func([]A) A {
	return func(pieces []A) A {
		result := a.Combine(pieces[0], pieces[1])
		for _, p := range pieces[2:] {
			result = a.CombineOwned(result, p)
		}
		return result
	}
}
