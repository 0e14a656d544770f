// SPDX-License-Identifier: Apache-2.0

package agg

import (
	"cmp"
	"slices"

	"github.com/millrace/millrace/opt"
)

// Number is what Sum adds up.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 |
		~float32 | ~float64
}

// Count counts the values.
func Count[V any]() Full[V, int64] {
	return Of(func() int64 { return 0 }, func(n int64, _ V) int64 { return n + 1 }).
		Merge(func(a, b int64) int64 { return a + b }).
		Remove(func(n int64, _ V) int64 { return n - 1 })
}

// Sum adds up f of each value. An integer wraps around on overflow, as Go's
// does. Floats round: their sum depends on the order of the values, and after
// removals may differ from that of the values that are left.
func Sum[V any, N Number](f func(V) N) Full[V, N] {
	return Of(func() N { return 0 }, func(sum N, v V) N { return sum + f(v) }).
		Merge(func(a, b N) N { return a + b }).
		Remove(func(sum N, v V) N { return sum - f(v) })
}

// Min keeps the least f of the values; it is absent while there is no value. A
// NaN stays once it is met, as with Go's min.
func Min[V any, N cmp.Ordered](f func(V) N) Mergeable[V, opt.V[N]] {
	return best(f, func(a, b N) N { return min(a, b) })
}

// Max keeps the greatest f of the values; it is absent while there is no value.
// A NaN stays once it is met, as with Go's max.
func Max[V any, N cmp.Ordered](f func(V) N) Mergeable[V, opt.V[N]] {
	return best(f, func(a, b N) N { return max(a, b) })
}

func best[V, N any](f func(V) N, better func(a, b N) N) Mergeable[V, opt.V[N]] {
	merge := func(a, b opt.V[N]) opt.V[N] {
		switch {
		case !a.OK:
			return b
		case !b.OK:
			return a
		}
		return opt.Some(better(a.Value, b.Value))
	}
	return Of(opt.None[N], func(a opt.V[N], v V) opt.V[N] { return merge(a, opt.Some(f(v))) }).
		Merge(merge)
}

// First keeps the value that came first. It does not merge: two aggregates do
// not tell which of their values came before the other.
func First[V any]() Aggregator[V, opt.V[V]] {
	return Of(opt.None[V], func(a opt.V[V], v V) opt.V[V] {
		if a.OK {
			return a
		}
		return opt.Some(v)
	})
}

// Last keeps the value that came last. It does not merge, as First does not.
func Last[V any]() Aggregator[V, opt.V[V]] {
	return Of(opt.None[V], func(_ opt.V[V], v V) opt.V[V] { return opt.Some(v) })
}

// Collect keeps all values, in the order in which they came; merged aggregates
// follow each other. The aggregate grows with each value and is written whole
// each time it is written: bound the group, by a window for instance.
func Collect[V any]() Mergeable[V, []V] {
	return Of(func() []V { return nil }, func(a []V, v V) []V { return append(a, v) }, InPlace(slices.Clone[[]V])).
		Merge(func(a, b []V) []V { return append(a, b...) })
}
