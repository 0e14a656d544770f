// SPDX-License-Identifier: Apache-2.0

// Package agg holds aggregators: how the values of a group become one, as a
// value of its own that can be named, shared and passed to an aggregation.
//
// What an aggregator can do is in its type. [Of] makes one that adds; Merge
// teaches it to join two aggregates, which session windows and panes need;
// Remove to take a value out again, which the aggregation of a table needs. To
// pass one that lacks what an operation needs is a compile error.
//
//	             Of
//	             |
//	         Aggregator
//	 .Merge /          \ .Remove
//	  Mergeable      Reversible
//	.Remove \          / .Merge
//	            Full
//
// # Aggregates are frozen
//
// The engine keeps the aggregates that it gets, several versions at a time, and
// hands them on downstream. So the functions return new aggregates and leave
// their arguments as they were. Functions that change their argument, as is
// natural for a map or a slice, are declared with [InPlace]; the engine then
// copies where it must.
package agg

// An Aggregator folds values of V into an aggregate of type A. The zero
// Aggregator is not valid. The functions in it are called by several goroutines
// at the same time, each with aggregates of its own.
type Aggregator[V, A any] struct{ adder[V, A] }

// A Mergeable is an aggregator that can also merge two aggregates.
type Mergeable[V, A any] struct {
	adder[V, A]
	merger[A]
}

// A Reversible is an aggregator that can also take a value out again.
type Reversible[V, A any] struct {
	adder[V, A]
	remover[V, A]
}

// A Full is an aggregator that can both merge and take values out.
type Full[V, A any] struct {
	adder[V, A]
	merger[A]
	remover[V, A]
}

// Of makes an aggregator. init returns the aggregate of no values, a new one at
// each call; add returns the aggregate a with the value v in it as well.
func Of[V, A any](init func() A, add func(a A, v V) A, options ...Option[A]) Aggregator[V, A] {
	g := adder[V, A]{init: init, add: add}
	for _, o := range options {
		g.clone = o.cloner()
	}
	return Aggregator[V, A]{g}
}

// Merge returns the aggregator that merges with f as well. f returns the
// aggregate of the values of a and those of b; it must not matter how values
// are divided between the two, and the init of g must change nothing.
func (g Aggregator[V, A]) Merge(f func(a, b A) A) Mergeable[V, A] {
	return Mergeable[V, A]{g.adder, merger[A]{f, g.clone}}
}

// Remove returns the aggregator that takes values out with f as well. f returns
// the aggregate without one v that was added to it before.
func (g Aggregator[V, A]) Remove(f func(a A, v V) A) Reversible[V, A] {
	return Reversible[V, A]{g.adder, remover[V, A]{f, g.clone}}
}

// Remove returns the aggregator that takes values out with f as well. f returns
// the aggregate without one v that was added to it before.
func (g Mergeable[V, A]) Remove(f func(a A, v V) A) Full[V, A] {
	return Full[V, A]{g.adder, g.merger, remover[V, A]{f, g.clone}}
}

// Merge returns the aggregator that merges with f as well, under the terms of
// [Aggregator.Merge].
func (g Reversible[V, A]) Merge(f func(a, b A) A) Full[V, A] {
	return Full[V, A]{g.adder, merger[A]{f, g.clone}, g.remover}
}

// An Option says more about an aggregator whose aggregate is an A.
type Option[A any] interface{ cloner() func(A) A }

// InPlace says that the functions of an aggregator change the aggregate that
// they are given (its Merge function the first of the two) and return it. clone
// returns a copy that shares nothing with its argument that they change.
func InPlace[A any](clone func(A) A) Option[A] { return inPlace[A]{clone} }

type inPlace[A any] struct{ clone func(A) A }

func (o inPlace[A]) cloner() func(A) A { return o.clone }
