// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"maps"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/window"
)

func init() { maps.Copy(goldenTopologies, goldenJoins) }

// within is a rule of joins in ms.
func within(before, after, grace int64) window.JoinSpec {
	return window.Within(ms(before)).After(ms(after)).Grace(ms(grace))
}

func both(x, y text) text { return opt.Some(java(x) + "+" + java(y)) }

// maybe is the null of Java for a value that is not there.
func maybe(v opt.V[text]) text { return v.Value }

func bothLeft(x text, y opt.V[text]) text { return both(x, maybe(y)) }

func bothOuter(x, y opt.V[text]) text { return both(maybe(x), maybe(y)) }

// noStores is golden for a topology whose stores the vectors do not show.
func noStores(build func(t *processor.Topology)) func(params) goldenTopology {
	return func(params) goldenTopology {
		t := processor.NewTopology("golden")
		build(t)
		return goldenTopology{t, map[string]func(*testdriver.Driver) []vectorRow{}}
	}
}

func inner(w window.JoinSpec) func(params) goldenTopology {
	return noStores(func(t *processor.Topology) { stream(t, "l").Join("j", stream(t, "r"), w, both).To(out) })
}

func left(w window.JoinSpec) func(params) goldenTopology {
	return noStores(func(t *processor.Topology) { stream(t, "l").LeftJoin("j", stream(t, "r"), w, bothLeft).To(out) })
}

func outer(w window.JoinSpec) func(params) goldenTopology {
	return noStores(func(t *processor.Topology) { stream(t, "l").OuterJoin("j", stream(t, "r"), w, bothOuter).To(out) })
}

// A keyed value is one with its key, for joiners that look at the key.
type keyed struct{ k, v text }

var goldenJoins = map[string]func(params) goldenTopology{
	"ss_inner":            inner(within(10, 10, 0)),
	"ss_inner_grace":      inner(within(10, 10, 15)),
	"ss_inner_asym":       inner(within(5, 10, 5)),
	"ss_inner_after_only": inner(within(-3, 10, 5)),
	"ss_left":             left(within(10, 10, 0)),
	"ss_left_grace":       left(within(10, 10, 15)),
	"ss_left_asym":        left(within(0, 10, 5)),
	"ss_left_throttled":   left(within(10, 10, 0)),
	"ss_outer":            outer(within(10, 10, 0)),
	"ss_outer_grace":      outer(within(10, 10, 15)),
	"ss_outer_asym":       outer(within(10, 0, 5)),
	"ss_outer_throttled":  outer(within(10, 10, 0)),

	"ss_self": noStores(func(t *processor.Topology) {
		s := kstream.From(t, in())
		s.Join("j", s, within(5, 5, 5), both).To(out)
	}),
}
