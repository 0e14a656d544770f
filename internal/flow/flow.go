// SPDX-License-Identifier: Apache-2.0

// Package flow is what the DSL packages share: typed edges between untyped
// nodes. A node's entry is a func(Record[K, V]) error; the nodes of a task call
// each other directly, without boxing, channels or look-ups.
package flow

import (
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
)

// Next is the entry of a node: it takes a record and returns when the record,
// with all that follows from it in this task, is processed.
type Next[K, V any] = func(processor.Record[K, V]) error

// A Change is an update of a table's row. Old is what the row held before, New
// what it holds now; none is a row that is not there. A table that sends its changes
// on once a commit, or that has no store, leaves Old out if nobody needs it.
type Change[V any] struct {
	Old, New opt.V[V]
}

// A Stream is the end of a typed chain under construction: the node that
// produces Record[K, V] and the encodings known for them.
type Stream[K, V any] struct {
	T       *processor.Topology
	Node    *plan.Node
	Keys    serde.Serde[K] // zero: to be found by type when needed
	Values  serde.Serde[V] // zero: to be found by type when needed
	Rekeyed bool           // the key may no longer be the one its partition was chosen by
}

// Fan joins the entries of n's children into one. Records reach the children in the
// order in which the children were defined. Where a child fails and its policy is to
// go on, those after it still get the record.
func Fan[K, V any](env plan.Env, n *plan.Node, outs []any) Next[K, V] {
	switch len(outs) {
	case 0:
		return func(processor.Record[K, V]) error { return nil }
	case 1:
		return outs[0].(Next[K, V])
	}
	next := make([]Next[K, V], len(outs))
	for i, o := range outs {
		next[i] = o.(Next[K, V])
		if i < len(outs)-1 {
			next[i] = Guard(env, n, next[i])
		}
	}
	return func(r processor.Record[K, V]) error {
		for _, f := range next {
			if err := f(r); err != nil {
				return err
			}
		}
		return nil
	}
}

// Guard is next for an operator of node n that has something to do when next
// returns: to send more records, or to call a function of the program. A panic below
// meets its policy here, and does not end what the operator is doing.
func Guard[K, V any](env plan.Env, n *plan.Node, next Next[K, V]) Next[K, V] {
	at, id := env.At(), int32(n.ID)
	return func(r processor.Record[K, V]) (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = env.Panicked(v)
			}
			*at = id
		}()
		return next(r)
	}
}

// Then adds an operator behind s. build is called once a task with the way on
// and returns the operator's entry. The encodings of the result are unknown.
//
// A failure that the operator's policy is to decide goes through env.Failed, which
// answers nil to go on; an error that it returns ends the processing. A panic unwinds
// the stack to the next Guard or Fan above, so an operator that does not end with a
// call of next gives [Guard] the way on.
func Then[K, V, K2, V2 any](s Stream[K, V], op, name string, build func(env plan.Env, n *plan.Node, next Next[K2, V2]) Next[K, V], stores ...*plan.Store) Stream[K2, V2] {
	return ThenTry(s, op, name, func(env plan.Env, n *plan.Node, next Next[K2, V2]) (Next[K, V], error) {
		return build(env, n, next), nil
	}, stores...)
}

// ThenTry is Then for an operator whose building may fail.
func ThenTry[K, V, K2, V2 any](s Stream[K, V], op, name string, build func(env plan.Env, n *plan.Node, next Next[K2, V2]) (Next[K, V], error), stores ...*plan.Store) Stream[K2, V2] {
	n := &plan.Node{
		Kind: plan.Operator, Op: op, Name: name, Site: plan.Site(), Stores: stores,
	}
	n.Make = func(env plan.Env, outs []any) (any, error) {
		entry, err := build(env, n, Fan[K2, V2](env, n, outs))
		if err != nil {
			return nil, err
		}
		at, id := env.At(), int32(n.ID)
		return func(r processor.Record[K, V]) error {
			*at = id
			return entry(r)
		}, nil
	}
	return Stream[K2, V2]{T: s.T, Node: s.T.Graph().Add(n, s.Node), Rekeyed: s.Rekeyed}
}

// ThenAside is Then for an operator that has a second way on: for records of its input
// that it does not take. use gets that stream when the operator is defined; without use
// build gets a nil way.
func ThenAside[K, V, K2, V2 any](s Stream[K, V], op, name, aside string, use func(Stream[K, V]), build func(env plan.Env, n *plan.Node, next Next[K2, V2], aside Next[K, V]) Next[K, V], stores ...*plan.Store) Stream[K2, V2] {
	if use == nil {
		return Then(s, op, name, func(env plan.Env, n *plan.Node, next Next[K2, V2]) Next[K, V] {
			return build(env, n, next, nil)
		}, stores...)
	}
	out := Then(s, op, name, func(plan.Env, *plan.Node, Next[K2, V2]) Next[K, V] { return nil }, stores...)
	n := out.Node
	side := Then(Stream[K, V]{T: s.T, Node: n}, aside, "", func(_ plan.Env, _ *plan.Node, next Next[K, V]) Next[K, V] { return next })
	n.Make = func(env plan.Env, outs []any) (any, error) { // the first child is side
		entry := build(env, n, Fan[K2, V2](env, n, outs[1:]), Guard(env, n, outs[0].(Next[K, V])))
		at, id := env.At(), int32(n.ID)
		return func(r processor.Record[K, V]) error {
			*at = id
			return entry(r)
		}, nil
	}
	use(side.Same(s))
	return out
}

// Step is Then for an operator that notes by itself, at each record, that it is the
// one that runs, as [plan.Env.At] says: it saves a call.
func Step[K, V, K2, V2 any](s Stream[K, V], op string, build func(env plan.Env, n *plan.Node, next Next[K2, V2]) Next[K, V], stores ...*plan.Store) Stream[K2, V2] {
	n := &plan.Node{Kind: plan.Operator, Op: op, Site: plan.Site(), Stores: stores}
	n.Make = func(env plan.Env, outs []any) (any, error) {
		return build(env, n, Fan[K2, V2](env, n, outs)), nil
	}
	return Stream[K2, V2]{T: s.T, Node: s.T.Graph().Add(n, s.Node), Rekeyed: s.Rekeyed}
}

// A Place notes that a node runs, for an operator of [Step].
type Place struct {
	at *int32
	id int32
}

// PlaceOf is that of n.
func PlaceOf(env plan.Env, n *plan.Node) Place { return Place{env.At(), int32(n.ID)} }

// Enter notes it.
func (p Place) Enter() { *p.at = p.id }

// KeySerde is the encoding of s's keys, found by type if none was given. A type
// without one becomes an error of the topology.
func (s Stream[K, V]) KeySerde(what string) serde.Serde[K] {
	return find(s.T, s.Keys, serde.ForKey[K], what+": key")
}

// ValueSerde is the encoding of s's values, as KeySerde.
func (s Stream[K, V]) ValueSerde(what string) serde.Serde[V] {
	return Values(s.T, s.Values, what)
}

// Values gives known if it is one, else the encoding found by type.
func Values[V any](t *processor.Topology, known serde.Serde[V], what string) serde.Serde[V] {
	return find(t, known, serde.For[V], what+": value")
}

func find[T any](t *processor.Topology, known serde.Serde[T], byType func() (serde.Serde[T], error), what string) serde.Serde[T] {
	if known.Valid() {
		return known
	}
	s, err := byType()
	if err != nil {
		t.Graph().Fail(plan.Site(), "%s: %w", what, err)
	}
	return s
}

// NullValue tells a value of s that is the null of its type; nil if the type has none.
func (s Stream[K, V]) NullValue() func(V) bool {
	if s.Values.Valid() {
		return s.Values.IsNull
	}
	byType, _ := serde.For[V]() // a type without an encoding has no null
	return byType.IsNull
}

// Same carries s's encodings over to the result of an operator that keeps both types.
func (s Stream[K, V]) Same(from Stream[K, V]) Stream[K, V] {
	s.Keys, s.Values = from.Keys, from.Values
	return s
}
