// SPDX-License-Identifier: Apache-2.0

// Package refused must not compile: every line with a comment "want" asks for
// more than an aggregator can do.
package refused

import (
	"github.com/millrace/millrace/agg"
	"github.com/millrace/millrace/opt"
)

type order struct{ amount int64 }

func amount(o order) int64 { return o.amount }

func zero() int64 { return 0 }

func add(a int64, o order) int64 { return a + o.amount }

func merge(a, b int64) int64 { return a + b }

// Stand-ins for operations on a group of orders.
func add1[A any](agg.Any[order, A])          {}
func sessions[A any](agg.Merging[order, A])  {}
func ofTable[A any](agg.Reversing[order, A]) {}
func result[A any](agg.Any[order, A]) (a A)  { return a }
func string1(s string) string                { return s }

func use() {
	plain := agg.Of(zero, add)
	add1(plain)
	sessions(plain.Merge(merge))
	ofTable(plain.Remove(add))
	sessions(plain.Remove(add).Merge(merge))
	ofTable(plain.Merge(merge).Remove(add))
	sessions(agg.Max(amount))
	ofTable(agg.Count[order]())

	sessions(plain)               // want: agg.Merging[
	ofTable(plain)                // want: agg.Reversing[
	sessions(plain.Remove(add))   // want: agg.Merging[
	ofTable(plain.Merge(merge))   // want: agg.Reversing[
	sessions(agg.First[order]())  // want: agg.Merging[
	ofTable(agg.Min(amount))      // want: agg.Reversing[
	ofTable(agg.Collect[order]()) // want: agg.Reversing[
	add1(agg.Count[string]())     // want: agg.Any[order
	plain.Merge(merge).Merge(add) // want: plain.Merge(merge).Merge undefined
	agg.Sum(string1)              // want: string does not satisfy

	var n int64 = result(agg.Sum(amount))
	var m opt.V[int64] = result(agg.Min(amount))
	var s string = result(agg.Count[order]()) // want: int64
	_, _, _ = n, m, s
}

// Own makes an aggregator without Of: the interfaces are sealed.
type own struct{}

func (own) Init() int64                     { return 0 }
func (own) Add(a int64, _ order) int64      { return a }
func (own) AddOwned(a int64, _ order) int64 { return a }
func (own) Own(a int64) int64               { return a }

var _ agg.Any[order, int64] = own{} // want: sealed
