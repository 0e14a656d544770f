// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"fmt"

	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/window"
)

// Join joins records of two streams that have the same key and meet within a span of
// time: each pair of them makes one result, with the later timestamp of the two.
//
//	clicks.Join("attribution", orders, window.Within(time.Hour).Grace(time.Minute), attribute)
//
// The records of each stream are kept in a store of their own, with a changelog:
// <name>-this-join-store and <name>-other-join-store. Where a key was changed, the
// records go through the repartition topics <application id>-<name>-left-repartition
// and -right-repartition; the topics of the streams must be partitioned alike.
// Records with a null key or value are dropped and counted.
//
// It follows KStreamKStreamJoin of Kafka Streams: no record is too late to be joined
// with what is still kept of the other stream.
func (s *KStream[K, V]) Join[V2, R any](name string, other *KStream[K, V2], within window.JoinSpec, f func(V, V2) R) *KStream[K, R] {
	return joinStreams(s, other, innerJoin, name, within, func(v opt.V[V], v2 opt.V[V2]) (R, error) {
		return f(v.Value, v2.Value), nil
	})
}

// LeftJoin is Join, but a record of s that meets none of the other stream makes a
// result, too, when it can meet none any more: when a record comes that is later than
// the span and the grace period after it. So does a record with a null key, at once.
// Records that wait are kept in the store <name>-left-shared-join-store.
func (s *KStream[K, V]) LeftJoin[V2, R any](name string, other *KStream[K, V2], within window.JoinSpec, f func(V, opt.V[V2]) R) *KStream[K, R] {
	return joinStreams(s, other, leftJoin, name, within, func(v opt.V[V], v2 opt.V[V2]) (R, error) {
		return f(v.Value, v2), nil
	})
}

// OuterJoin is LeftJoin for the records of both streams: one of the values is there,
// or both. Records that wait are kept in the store <name>-outer-shared-join-store.
func (s *KStream[K, V]) OuterJoin[V2, R any](name string, other *KStream[K, V2], within window.JoinSpec, f func(opt.V[V], opt.V[V2]) R) *KStream[K, R] {
	return joinStreams(s, other, outerJoin, name, within, func(v opt.V[V], v2 opt.V[V2]) (R, error) {
		return f(v, v2), nil
	})
}

// TryJoin is [KStream.Join] for a function that may fail: see [KStream.OnError]. A
// failure loses one result.
func (s *KStream[K, V]) TryJoin[V2, R any](name string, other *KStream[K, V2], within window.JoinSpec, f func(V, V2) (R, error)) *KStream[K, R] {
	return joinStreams(s, other, innerJoin, name, within, func(v opt.V[V], v2 opt.V[V2]) (R, error) {
		return f(v.Value, v2.Value)
	})
}

// TryLeftJoin is [KStream.LeftJoin] for a function that may fail, as TryJoin.
func (s *KStream[K, V]) TryLeftJoin[V2, R any](name string, other *KStream[K, V2], within window.JoinSpec, f func(V, opt.V[V2]) (R, error)) *KStream[K, R] {
	return joinStreams(s, other, leftJoin, name, within, func(v opt.V[V], v2 opt.V[V2]) (R, error) {
		return f(v.Value, v2)
	})
}

// TryOuterJoin is [KStream.OuterJoin] for a function that may fail, as TryJoin.
func (s *KStream[K, V]) TryOuterJoin[V2, R any](name string, other *KStream[K, V2], within window.JoinSpec, f func(opt.V[V], opt.V[V2]) (R, error)) *KStream[K, R] {
	return joinStreams(s, other, outerJoin, name, within, f)
}

// A joinKind says which records come out without a match.
type joinKind uint8

const (
	innerJoin joinKind = iota
	leftJoin
	outerJoin
)

func (k joinKind) String() string { return [...]string{"join", "left-join", "outer-join"}[k] }

// stores are the names of a join's stores, as Kafka Streams has them.
func (k joinKind) stores(name string) (this, other, shared string) {
	switch k {
	case leftJoin:
		return name + "-this-join-store", name + "-outer-other-join-store", name + "-left-shared-join-store"
	case outerJoin:
		return name + "-outer-this-join-store", name + "-outer-other-join-store", name + "-outer-shared-join-store"
	default:
		return name + "-this-join-store", name + "-other-join-store", ""
	}
}

// joinStreams adds a join: a step behind each stream says whose record it is, and one
// behind both does the rest.
func joinStreams[K, L, R, Out any](left *KStream[K, L], right *KStream[K, R], kind joinKind, name string, within window.JoinSpec, f func(opt.V[L], opt.V[R]) (Out, error)) *KStream[K, Out] {
	flow.Check(left.end.T, within.Check())
	l := joinInput(left.end, name+"-left", kind != innerJoin)
	r := joinInput(right.end, name+"-right", kind == outerJoin)
	if !l.Keys.Valid() {
		l.Keys = r.Keys
	}
	this, other, shared := kind.stores(name)
	keys := l.KeySerde(fmt.Sprintf("store %q", this))
	lefts := l.ValueSerde(fmt.Sprintf("store %q", this))
	rights := r.ValueSerde(fmt.Sprintf("store %q", other))
	stores := []*plan.Store{joinBuffer(left.end.T, this, keys, lefts, within), joinBuffer(left.end.T, other, keys, rights, within)}
	if kind != innerJoin {
		stores = append(stores, unmatchedStore(left.end.T, shared, keys, lefts, rights))
	}
	both := flow.Merge(
		side(l, "join-left", func(v L) sided[L, R] { return sided[L, R]{left: opt.Some(v), isLeft: true} }),
		side(r, "join-right", func(v R) sided[L, R] { return sided[L, R]{right: opt.Some(v)} }),
	)
	out := flow.Then(both, kind.String(), name, func(env plan.Env, n *plan.Node, next flow.Next[K, Out]) flow.Next[K, sided[L, R]] {
		j := &streamJoin[K, L, R, Out]{
			env: env, node: n, kind: kind, nullKey: keys.IsNull, f: f, next: flow.Guard(env, n, next),
			observed: env.Observed(n),
		}
		j.left = joinSide[K, L]{
			store: env.Store(this).(*state.WindowStore[K, L]), null: lefts.IsNull,
			before: within.BeforeMs(), after: within.AfterMs(), outer: kind != innerJoin,
		}
		j.right = joinSide[K, R]{
			store: env.Store(other).(*state.WindowStore[K, R]), null: rights.IsNull,
			before: within.AfterMs(), after: within.BeforeMs(), outer: kind == outerJoin,
		}
		if kind != innerJoin {
			j.unmatched = newUnmatched[K, L, R](env, n, shared, within)
			env.AtTime(n, j.atTime)
		}
		return j.process
	}, stores...)
	out.Keys = keys
	out.Rekeyed = false
	return of(out)
}

// joinInput is a stream with its records in the partitions of their keys, those with
// a null key in any, if they are wanted.
func joinInput[K, V any](s flow.Stream[K, V], topic string, nulls bool) flow.Stream[K, V] {
	switch {
	case !s.Rekeyed:
		return s
	case nulls:
		return flow.RepartitionAll(s, topic)
	default:
		return flow.Repartition(s, topic)
	}
}

// A sided is a value of one of two streams: left if isLeft says so.
type sided[L, R any] struct {
	left   opt.V[L]
	right  opt.V[R]
	isLeft bool
}

func side[K, V, L, R any](s flow.Stream[K, V], op string, of func(V) sided[L, R]) flow.Stream[K, sided[L, R]] {
	return flow.Step(s, op, func(_ plan.Env, _ *plan.Node, next flow.Next[K, sided[L, R]]) flow.Next[K, V] {
		return func(r processor.Record[K, V]) error {
			return next(processor.Record[K, sided[L, R]]{Key: r.Key, Value: of(r.Value), Timestamp: r.Timestamp, Headers: r.Headers})
		}
	})
}

// joinBuffer registers the store that keeps the records of one stream.
func joinBuffer[K, V any](t *processor.Topology, name string, keys serde.Serde[K], values serde.Serde[V], within window.JoinSpec) *plan.Store {
	o := state.WindowOptions{
		Size: max(0, within.BeforeMs()+within.AfterMs()), Retention: within.KeepMs(), Duplicates: true,
	}
	return t.Graph().AddStore(&plan.Store{
		Name: name, Site: plan.Site(),
		Open: func(base state.Base, opt state.Options) state.Store {
			return state.OpenWindow(name, keys, values, o, base, opt)
		},
	})
}

// A streamJoin is a join of two streams in one task.
type streamJoin[K, L, R, Out any] struct {
	env      plan.Env
	node     *plan.Node
	kind     joinKind
	nullKey  func(K) bool // nil where K has no null
	f        func(opt.V[L], opt.V[R]) (Out, error)
	next     flow.Next[K, Out]
	observed *int64 // highest timestamp seen, of both streams
	left     joinSide[K, L]
	right    joinSide[K, R]

	unmatched *unmatched[K, L, R] // nil in an inner join
}

// A joinSide is one of the two streams of a join. Bounds are of the other stream's
// timestamps, as seen from a record of this one.
type joinSide[K, V any] struct {
	store         *state.WindowStore[K, V]
	null          func(V) bool // nil where V has no null
	before, after int64        // ms
	outer         bool         // its records make a result without a match

	met []state.Row[V] // by a record of the other stream; used again
}

func (j *streamJoin[K, L, R, Out]) process(r processor.Record[K, sided[L, R]]) error {
	if r.Value.isLeft {
		return takeSide(j, r, &j.left, &j.right, r.Value.left,
			func(l opt.V[L], r opt.V[R]) (opt.V[L], opt.V[R]) { return l, r })
	}
	return takeSide(j, r, &j.right, &j.left, r.Value.right,
		func(r opt.V[R], l opt.V[L]) (opt.V[L], opt.V[R]) { return l, r })
}

// takeSide processes a record of the stream own: it is kept, results that are due by it come
// out, and it is joined.
func takeSide[K, V, O, L, R, Out any](j *streamJoin[K, L, R, Out], r processor.Record[K, sided[L, R]], own *joinSide[K, V], other *joinSide[K, O], v opt.V[V], order func(opt.V[V], opt.V[O]) (opt.V[L], opt.V[R])) error {
	*j.observed = max(*j.observed, r.Timestamp)
	if own.null != nil && own.null(v.Value) {
		j.env.Drop(j.node, "null value")
		return nil
	}
	alone := func() error {
		l, rt := order(v, opt.None[O]())
		return j.emit(r.Key, l, rt, r.Timestamp, r.Headers)
	}
	if j.nullKey != nil && j.nullKey(r.Key) {
		if own.outer {
			return alone()
		}
		j.env.Drop(j.node, "null key")
		return nil
	}
	if _, err := own.store.Put(r.Key, r.Timestamp, v.Value, r.Timestamp); err != nil {
		return err
	}
	if r.Timestamp == *j.observed && j.unmatched != nil {
		if err := j.emitDue(own.after, r.Headers); err != nil {
			return err
		}
	}
	matched := false
	from, to := max(0, r.Timestamp-own.before), max(0, r.Timestamp+own.after)
	var err error
	if other.met, err = other.store.AppendRows(other.met[:0], r.Key, from, to); err != nil {
		return err
	}
	for i := range other.met {
		row := &other.met[i]
		matched = true
		if other.outer {
			if err := j.unmatched.remove(r.Key, row.Start, !r.Value.isLeft); err != nil {
				return err
			}
		}
		l, rt := order(v, opt.Some(row.Value))
		if err := j.emit(r.Key, l, rt, max(r.Timestamp, row.Start), r.Headers); err != nil {
			return err
		}
	}
	switch {
	case matched || !own.outer:
		return nil
	case to < *j.observed:
		return alone()
	default:
		return j.unmatched.add(r.Key, r.Timestamp, r.Value)
	}
}

// emit sends one result on, unless it is lost to a failure.
func (j *streamJoin[K, L, R, Out]) emit(key K, l opt.V[L], r opt.V[R], timestamp int64, headers []processor.Header) error {
	out, ok, err := j.result(l, r)
	if err != nil || !ok {
		return err
	}
	return j.next(processor.Record[K, Out]{Key: key, Value: out, Timestamp: timestamp, Headers: headers})
}

// result calls the joiner. A panic ends here, so that what it is about does not come
// again with each look, and the others still come.
func (j *streamJoin[K, L, R, Out]) result(l opt.V[L], r opt.V[R]) (out Out, ok bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			ok, err = false, j.env.Panicked(v)
		}
	}()
	for try := 1; ; try++ {
		if out, err = j.f(l, r); err == nil {
			return out, true, nil
		}
		if again, err := j.env.Failed(j.node, plan.Processing, try, err); !again {
			return out, false, err
		}
	}
}

// atTime lets time pass without records.
func (j *streamJoin[K, L, R, Out]) atTime(streamTime int64) error {
	*j.observed = max(*j.observed, streamTime)
	return j.emitDue(min(j.left.after, j.right.after), nil)
}

// emitDue sends on what can meet nothing any more. after is the bound by which a
// look is due.
func (j *streamJoin[K, L, R, Out]) emitDue(after int64, headers []processor.Header) error {
	return j.unmatched.due(*j.observed, after, func(key K, l opt.V[L], r opt.V[R], timestamp int64) error {
		return j.emit(key, l, r, timestamp, headers)
	})
}
