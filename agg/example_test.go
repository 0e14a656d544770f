// SPDX-License-Identifier: Apache-2.0

package agg_test

import (
	"fmt"
	"maps"

	"github.com/millrace/millrace/agg"
)

type Order struct {
	Product string
	Amount  int64
}

func (o Order) Total() int64 { return o.Amount }

// aggregate stands for an operation on a group, Aggregate of kstream for one.
func aggregate[A any](g agg.Any[Order, A], orders ...Order) A {
	a := g.Init()
	for _, o := range orders {
		a = g.Add(a, o)
	}
	return a
}

// The aggregators that are here for the taking.
func Example() {
	orders := []Order{{"tea", 5}, {"cup", 9}, {"tea", 4}}
	fmt.Println(aggregate(agg.Count[Order](), orders...))
	fmt.Println(aggregate(agg.Sum(Order.Total), orders...))
	fmt.Println(aggregate(agg.Min(Order.Total), orders...), aggregate(agg.Max(Order.Total), orders...))
	fmt.Println(aggregate(agg.First[Order](), orders...), aggregate(agg.Last[Order](), orders...))
	fmt.Println(aggregate(agg.Collect[Order](), orders...))
	// Output:
	// 3
	// 18
	// 4 9
	// {tea 5} {tea 4}
	// [{tea 5} {cup 9} {tea 4}]
}

// Mean is an aggregate of its own: the mean of the values is Sum by N.
type Mean struct{ Sum, N int64 }

// One's own aggregator, with all it can do: merge for sessions, remove for the
// aggregation of a table.
func ExampleOf() {
	mean := agg.Of(
		func() Mean { return Mean{} },
		func(m Mean, o Order) Mean { return Mean{m.Sum + o.Amount, m.N + 1} },
	).Merge(
		func(a, b Mean) Mean { return Mean{a.Sum + b.Sum, a.N + b.N} },
	).Remove(
		func(m Mean, o Order) Mean { return Mean{m.Sum - o.Amount, m.N - 1} },
	)
	a := aggregate(mean, Order{"tea", 5}, Order{"cup", 10})
	b := aggregate(mean, Order{"tea", 6})
	fmt.Println(mean.Combine(a, b), mean.Subtract(a, Order{"cup", 10}))
	// Output: {21 3} {5 1}
}

// An aggregator that changes its aggregate in place says how to copy it.
func ExampleInPlace() {
	perProduct := agg.Of(
		func() map[string]int64 { return map[string]int64{} },
		func(a map[string]int64, o Order) map[string]int64 { a[o.Product] += o.Amount; return a },
		agg.InPlace(maps.Clone[map[string]int64]),
	)
	before := aggregate(perProduct, Order{"tea", 5})
	after := perProduct.Add(before, Order{"cup", 9})
	fmt.Println(before, after)
	// Output: map[tea:5] map[cup:9 tea:5]
}
