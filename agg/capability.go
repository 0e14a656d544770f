// SPDX-License-Identifier: Apache-2.0

package agg

// Any is every aggregator: what an operation takes that only adds. Its methods
// are for the engine; a program makes aggregators and passes them on.
//
// Each change comes in two forms. The plain one leaves the aggregate that it is
// given as it was. The one named Owned may change it, and costs no copy: it is
// for an aggregate that nobody else holds, which is one that Init, Own or a
// change has returned and that has not been handed on since.
type Any[V, A any] interface {
	// Init returns a new aggregate of no values.
	Init() A
	// Add returns a with v in it as well.
	Add(a A, v V) A
	// AddOwned is Add for an a that the caller owns.
	AddOwned(a A, v V) A
	// Own returns an aggregate equal to a that the caller owns: a copy for an
	// aggregator that changes in place, a itself for one that never does.
	Own(a A) A

	sealed()
}

// Merging is an aggregator that can merge: what session windows and panes take.
type Merging[V, A any] interface {
	Any[V, A]
	// Combine returns the aggregate of the values in a and those in b.
	Combine(a, b A) A
	// CombineOwned is Combine for an a that the caller owns. It leaves b as it was.
	CombineOwned(a, b A) A
}

// Reversing is an aggregator that can take values out: what the aggregation of
// a table takes.
type Reversing[V, A any] interface {
	Any[V, A]
	// Subtract returns a without v, which was added to it before.
	Subtract(a A, v V) A
	// SubtractOwned is Subtract for an a that the caller owns.
	SubtractOwned(a A, v V) A
}

// adder holds what every aggregator has.
type adder[V, A any] struct {
	init  func() A
	add   func(a A, v V) A
	clone func(A) A // nil if nothing is changed in place
}

func (g adder[V, A]) sealed() {}

// Init returns a new aggregate of no values.
func (g adder[V, A]) Init() A { return g.init() }

// Add returns a with v in it as well, and leaves a as it was.
func (g adder[V, A]) Add(a A, v V) A { return g.add(g.Own(a), v) }

// AddOwned is Add for an a that the caller owns.
func (g adder[V, A]) AddOwned(a A, v V) A { return g.add(a, v) }

// Own returns an aggregate equal to a that the caller owns.
func (g adder[V, A]) Own(a A) A { return own(g.clone, a) }

// merger holds what an aggregator that merges has besides.
type merger[A any] struct {
	merge     func(a, b A) A
	cloneInto func(A) A // as clone of the adder
}

// Combine returns the aggregate of the values in a and those in b, and leaves
// both as they were.
func (g merger[A]) Combine(a, b A) A { return g.merge(own(g.cloneInto, a), b) }

// CombineOwned is Combine for an a that the caller owns.
func (g merger[A]) CombineOwned(a, b A) A { return g.merge(a, b) }

// remover holds what an aggregator that takes values out has besides.
type remover[V, A any] struct {
	remove    func(a A, v V) A
	cloneFrom func(A) A // as clone of the adder
}

// Subtract returns a without v, and leaves a as it was.
func (g remover[V, A]) Subtract(a A, v V) A { return g.remove(own(g.cloneFrom, a), v) }

// SubtractOwned is Subtract for an a that the caller owns.
func (g remover[V, A]) SubtractOwned(a A, v V) A { return g.remove(a, v) }

func own[A any](clone func(A) A, a A) A {
	if clone == nil {
		return a
	}
	return clone(a)
}
