// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/agg"
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/window"
)

// A SessionWindowed is a grouped stream cut into sessions. Its tables have a row
// for each key and session. A record that joins sessions deletes their rows and
// makes one of the joined session. Records with a null key are dropped and counted;
// a null value is aggregated like any other.
type SessionWindowed[K, V any] struct {
	stream flow.Stream[K, V]
	spec   window.SessionSpec
	emit   window.EmitMode
	late   func(*KStream[K, V])
}

// Sessions cuts the stream into sessions. (W is window.SessionSpec; see [Grouped.Windowed].)
func (g *Grouped[K, V]) Sessions[W interface{ window.SessionSpec }](w W) *SessionWindowed[K, V] {
	spec := window.SessionSpec(w)
	flow.Check(g.stream.T, spec.Check())
	return &SessionWindowed[K, V]{stream: g.stream, spec: spec}
}

// Emit says when results are sent on: OnUpdate, the default, OnCommit or OnClose.
func (w *SessionWindowed[K, V]) Emit(mode window.EmitMode) *SessionWindowed[K, V] {
	next := *w
	next.emit = mode
	return &next
}

// Late gives the records that come too late for a session to use, as a stream, when an
// aggregation is defined; without it they are dropped and counted. See [TimeWindowed.Late].
func (w *SessionWindowed[K, V]) Late(use func(late *KStream[K, V])) *SessionWindowed[K, V] {
	next := *w
	next.late = use
	return &next
}

// aside is late as package ktable calls it.
func (w *SessionWindowed[K, V]) aside() func(flow.Stream[K, V]) {
	if w.late == nil {
		return nil
	}
	return func(s flow.Stream[K, V]) { w.late(of(s)) }
}

func (w *SessionWindowed[K, V]) sessions(options []ktable.Option) []ktable.Option {
	return append([]ktable.Option{ktable.Emit(w.emit)}, options...)
}

// Count counts the records of each session.
func (w *SessionWindowed[K, V]) Count(name string, options ...ktable.Option) *ktable.KTable[window.SessionKey[K], int64] {
	merge := func(a, b int64) int64 { return a + b }
	return ktable.AggregateSession(w.stream, "count", name, w.spec, w.aside(), opt.None[int64], count[V], merge, w.sessions(options)...)
}

// Reduce combines the values of each session: the first is the result as it is,
// then f gets the result so far and the next value, or the results of two
// sessions that are joined, the earlier first.
func (w *SessionWindowed[K, V]) Reduce(name string, f func(V, V) V, options ...ktable.Option) *ktable.KTable[window.SessionKey[K], V] {
	return ktable.AggregateSession(w.stream, "reduce", name, w.spec, w.aside(), opt.None[V], reduce(f), f, inherit(w.stream, w.sessions(options))...)
}

// Aggregate folds the values of each session with an aggregator that can merge.
func (w *SessionWindowed[K, V]) Aggregate[A any](name string, a agg.Merging[V, A], options ...ktable.Option) *ktable.KTable[window.SessionKey[K], A] {
	init := func() opt.V[A] { return opt.Some(a.Init()) }
	return ktable.AggregateSession(w.stream, "aggregate", name, w.spec, w.aside(), init, aggregate(a), a.Combine, w.sessions(options)...)
}
