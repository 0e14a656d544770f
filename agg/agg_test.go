// SPDX-License-Identifier: Apache-2.0

package agg_test

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/agg"
	"github.com/millrace/millrace/opt"
)

func self(n int64) int64 { return n }

// fold adds values to a new aggregate, as the engine does.
func fold[V, A any](g agg.Any[V, A], values ...V) A {
	a := g.Init()
	for _, v := range values {
		a = g.Add(a, v)
	}
	return a
}

func TestBuiltinAggregators(t *testing.T) {
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"count of none", fold(agg.Count[string]()), int64(0)},
		{"count", fold(agg.Count[string](), "a", "b", "a"), int64(3)},
		{"sum of none", fold(agg.Sum(self)), int64(0)},
		{"sum", fold(agg.Sum(self), 1, 2, -7), int64(-4)},
		{"sum of floats", fold(agg.Sum(func(n int) float64 { return float64(n) / 2 }), 1, 2), 1.5},
		{"min of none", fold(agg.Min(self)), opt.None[int64]()},
		{"min", fold(agg.Min(self), 3, -1, 2), opt.Some[int64](-1)},
		{"min of positive numbers is not 0", fold(agg.Min(self), 3), opt.Some[int64](3)},
		{"max of none", fold(agg.Max(self)), opt.None[int64]()},
		{"max", fold(agg.Max(self), 1, 3, 2), opt.Some[int64](3)},
		{"max of negative numbers is not 0", fold(agg.Max(self), -3, -2), opt.Some[int64](-2)},
		{"first of none", fold(agg.First[string]()), opt.None[string]()},
		{"first", fold(agg.First[string](), "", "b"), opt.Some("")},
		{"last of none", fold(agg.Last[string]()), opt.None[string]()},
		{"last", fold(agg.Last[string](), "b", ""), opt.Some("")},
		{"collect of none", fold(agg.Collect[string]()), []string(nil)},
		{"collect", fold(agg.Collect[string](), "b", "a", "b"), []string{"b", "a", "b"}},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestMinAndMaxKeepNaN(t *testing.T) {
	value := func(f float64) float64 { return f }
	if got := fold(agg.Min(value), 1, math.NaN(), 0); !math.IsNaN(got.Value) {
		t.Errorf("min with a NaN = %v, want NaN", got)
	}
	if got := fold(agg.Max(value), 1, math.NaN(), 2); !math.IsNaN(got.Value) {
		t.Errorf("max with a NaN = %v, want NaN", got)
	}
}

// merges checks that it does not matter how values are divided before they are
// merged, and that merging changes neither side.
func merges[V, A any](t *testing.T, name string, g agg.Merging[V, A], gen *rapid.Generator[V]) {
	t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
		values := rapid.SliceOf(gen).Draw(t, "values")
		cut := rapid.IntRange(0, len(values)).Draw(t, "cut")
		left, right := values[:cut], values[cut:]
		a, b := fold(g, left...), fold(g, right...)
		if diff := cmp.Diff(fold(g, values...), g.Combine(a, b)); diff != "" {
			t.Fatalf("merged, it is another (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(fold(g, left...), a) + cmp.Diff(fold(g, right...), b); diff != "" {
			t.Fatalf("Combine changed its arguments (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(fold(g, values...), g.CombineOwned(g.Own(a), b)); diff != "" {
			t.Fatalf("merged into an owned aggregate, it is another (-want +got):\n%s", diff)
		}
	}))
}

// reverses checks that a value that was added can be taken out again.
func reverses[V, A any](t *testing.T, name string, g agg.Reversing[V, A], gen *rapid.Generator[V]) {
	t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
		values := rapid.SliceOfN(gen, 1, -1).Draw(t, "values")
		out := rapid.IntRange(0, len(values)-1).Draw(t, "out")
		want := fold(g, slices.Delete(slices.Clone(values), out, out+1)...)
		all := fold(g, values...)
		if diff := cmp.Diff(want, g.Subtract(all, values[out])); diff != "" {
			t.Fatalf("with a value taken out, it is another (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(fold(g, values...), all); diff != "" {
			t.Fatalf("Subtract changed its argument (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, g.SubtractOwned(g.Own(all), values[out])); diff != "" {
			t.Fatalf("taken out of an owned aggregate, it is another (-want +got):\n%s", diff)
		}
	}))
}

// words counts words in a map, in place.
func words() agg.Full[string, map[string]int] {
	return agg.Of(
		func() map[string]int { return map[string]int{} },
		func(a map[string]int, w string) map[string]int { a[w]++; return a },
		agg.InPlace(maps.Clone[map[string]int]),
	).Merge(func(a, b map[string]int) map[string]int {
		for w, n := range b {
			a[w] += n
		}
		return a
	}).Remove(func(a map[string]int, w string) map[string]int {
		if a[w]--; a[w] == 0 {
			delete(a, w)
		}
		return a
	})
}

func TestMerge(t *testing.T) {
	merges(t, "count", agg.Count[int64](), rapid.Int64())
	merges(t, "sum", agg.Sum(self), rapid.Int64())
	merges(t, "min", agg.Min(self), rapid.Int64())
	merges(t, "max", agg.Max(self), rapid.Int64())
	merges(t, "collect", agg.Collect[int64](), rapid.Int64())
	merges(t, "in place", words(), rapid.StringN(0, 2, -1))
}

func TestRemove(t *testing.T) {
	reverses(t, "count", agg.Count[int64](), rapid.Int64())
	reverses(t, "sum", agg.Sum(self), rapid.Int64())
	reverses(t, "in place", words(), rapid.StringN(0, 2, -1))
}

func TestCapabilitiesInEitherOrder(t *testing.T) {
	zero := func() int64 { return 0 }
	add := func(a, v int64) int64 { return a + v }
	sub := func(a, v int64) int64 { return a - v }
	gen := rapid.Int64()
	merges(t, "merge alone", agg.Of(zero, add).Merge(add), gen)
	reverses(t, "remove alone", agg.Of(zero, add).Remove(sub), gen)
	merges(t, "merge, then remove", agg.Of(zero, add).Merge(add).Remove(sub), gen)
	reverses(t, "remove, then merge", agg.Of(zero, add).Remove(sub).Merge(add), gen)
}

func TestInPlaceLeavesWhatIsFrozen(t *testing.T) {
	g := words()
	frozen := fold(g, "a")
	next := g.Add(frozen, "b")
	if want := map[string]int{"a": 1}; !cmp.Equal(frozen, want) {
		t.Errorf("Add changed the aggregate that it was given: %v, want %v", frozen, want)
	}
	if want := map[string]int{"a": 1, "b": 1}; !cmp.Equal(next, want) {
		t.Errorf("Add = %v, want %v", next, want)
	}
	owned := g.Own(frozen)
	g.AddOwned(owned, "c")
	if len(frozen) != 1 || len(owned) != 2 {
		t.Errorf("AddOwned on a copy: the original is %v, the copy %v", frozen, owned)
	}
}

func TestCollectDoesNotShareItsTail(t *testing.T) {
	g := agg.Collect[int]()
	base := fold(g, 1, 2, 3)
	a, b := g.Add(base, 4), g.Add(base, 5)
	if !slices.Equal(a, []int{1, 2, 3, 4}) || !slices.Equal(b, []int{1, 2, 3, 5}) {
		t.Errorf("two aggregates made from one are %v and %v", a, b)
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	count, sum, least := agg.Count[int64](), agg.Sum(self), agg.Min(self)
	var a, b int64
	var c opt.V[int64]
	if got := testing.AllocsPerRun(100, func() { a, b, c = count.Add(a, 1), sum.Add(b, 1), least.Add(c, 1) }); got != 0 {
		t.Errorf("Add: %v allocations, want none", got)
	}
}
