// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"maps"
	"strings"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topic"
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

	"sg_inner": goldenStore[string]("gst", func(t *processor.Topology) {
		g := ktable.Global(t, "gst", topic.Of[text, string]("g"))
		stream(t, "l").JoinGlobal(g, globalKey, plus).To(outPlain)
	}),
	"sg_left": goldenStore[string]("gst", func(t *processor.Topology) {
		g := ktable.Global(t, "gst", topic.Of[text, string]("g"))
		stream(t, "l").
			MapValuesWithKey(func(k, v text) opt.V[keyed] { return opt.V[keyed]{Value: keyed{k, v}, OK: v.OK} }).Values(keyedValues).
			LeftJoinGlobal(g, func(k text, v opt.V[keyed]) text { return globalKey(k, v.Value.v) }, func(x opt.V[keyed], y opt.V[string]) string {
				return java(x.Value.k) + "!" + plusRow(x.Value.v, y)
			}).To(outPlain)
	}),
	"sg_join_by_key": noStores(func(t *processor.Topology) {
		own := func(k, _ text) text { return k }
		g, h := ktable.Global(t, "g", topic.Of[text, string]("g")), ktable.Global(t, "h", topic.Of[text, string]("h"))
		stream(t, "l").
			LeftJoinGlobal(g, own, func(x text, y opt.V[string]) text { return opt.Some(plusRow(x, y)) }).
			LeftJoinGlobal(h, own, plusRow).To(outPlain)
	}),

	// The vectors' table of upper-case texts: here the topic's encoding makes them so.
	"proc_global_store": goldenPlainStore("gst", func(t *processor.Topology) {
		upper := serde.String
		upper.Decode = func(b []byte) (string, error) { return strings.ToUpper(string(b)), nil }
		g := ktable.Global(t, "gst", topic.Of[text, string]("g").Values(upper))
		stream(t, "l").MapValues(func(v text) keyed { return keyed{v: v} }).
			LeftJoinGlobal(g, func(_ text, v keyed) text { return v.v }, func(v keyed, row opt.V[string]) string {
				return java(v.v) + "=" + java(row)
			}).To(outPlain)
	}),

	"ss_self": noStores(func(t *processor.Topology) {
		s := kstream.From(t, in())
		s.Join("j", s, within(5, 5, 5), both).To(out)
	}),
	"ss_joiner_with_key_rekey": noStores(func(t *processor.Topology) {
		stream(t, "l").SelectKey(func(_, v text) text { return first(v) }).
			Join("j", stream(t, "r"), within(10, 10, 5), both).
			MapValuesWithKey(func(k, v text) text { return opt.Some(java(k) + ":" + java(v)) }).To(out)
	}),
	"ss_join_then_window": func(params) goldenTopology {
		t := processor.NewTopology("golden")
		w := window.Tumbling(ms(10)).Grace(ms(5))
		table := stream(t, "l").Join("j", stream(t, "r"), within(10, 10, 5), both).GroupByKey().Windowed(w).
			Reduce("st", func(x, y text) text { return opt.Some(java(x) + "," + java(y)) })
		table.To(topic.Of[window.Key[text], text]("out").Keys(window.TimeKey(in().KeySerde(), w.Size())))
		return goldenTopology{t, map[string]func(*testdriver.Driver) []vectorRow{"st": windowRows[text]}}
	},
	"ss_three_way": noStores(func(t *processor.Topology) {
		stream(t, "l").LeftJoin("j", stream(t, "r"), within(10, 10, 0), bothLeft).
			OuterJoin("k", stream(t, "m"), within(10, 10, 5), func(x, y opt.V[text]) text {
				return opt.Some("<" + java(maybe(x)) + "|" + java(maybe(y)) + ">")
			}).To(out)
	}),
	"headers_stateful": noStores(func(t *processor.Topology) {
		s, other, tbl := kstream.From(t, in()), stream(t, "in2"), table(t, "t", "t")
		s.GroupByKey().Count("st").To(topic.Of[text, int64]("out"))
		s.LeftJoinTable(tbl, plusRow).To(topic.Of[text, string]("out2"))
		s.Join("j", other, within(10, 10, 10), both).To(topic.Of[text, text]("out3"))
		kstream.FromTable(tbl).To(topic.Of[text, opt.V[string]]("out4"))
	}),
}

// globalKey is the reference in a value "x:1", none in ":1" and in a null.
func globalKey(_, v text) text {
	ref, _, _ := strings.Cut(v.Value, ":")
	return opt.V[string]{Value: ref, OK: v.OK && !strings.HasPrefix(v.Value, ":")}
}

// keyedValues has the null of keyed; the values are never written.
var keyedValues = serde.Serde[opt.V[keyed]]{
	Name: "keyed", IsNull: func(v opt.V[keyed]) bool { return !v.OK },
	Append: func(dst []byte, _ opt.V[keyed]) ([]byte, error) { return dst, nil },
	Decode: func([]byte) (opt.V[keyed], error) { return opt.V[keyed]{}, nil },
}

// goldenPlainStore is goldenStore for a store whose timestamps the vectors do not show.
func goldenPlainStore(store string, build func(t *processor.Topology)) func(params) goldenTopology {
	return func(params) goldenTopology {
		t := processor.NewTopology("golden")
		build(t)
		all := rows[text, string](store)
		return goldenTopology{t, map[string]func(*testdriver.Driver) []vectorRow{store: func(d *testdriver.Driver) []vectorRow {
			got := all(d)
			for i := range got {
				got[i].TS = 0
			}
			return got
		}}}
	}
}
