// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"fmt"
	"iter"
	"strings"

	"github.com/millrace/millrace/agg"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
)

// A goldenTopology is a topology of the vectors and how to look into its stores.
type goldenTopology struct {
	t      *processor.Topology
	stores map[string]func(*testdriver.Driver) []vectorRow
}

// params are the values of variables in a topology's code.
type params map[string]int64

// text is a string that may be null, as keys and values are in Java.
type text = opt.V[string]

func in() topic.Topic[text, text] { return topic.Of[text, text]("in") }

func rows[K, V any](name string) func(*testdriver.Driver) []vectorRow {
	h := state.KeyValue[K, V](name)
	return func(d *testdriver.Driver) []vectorRow {
		rows := []vectorRow{}
		for _, e := range d.All(h) {
			rows = append(rows, vectorRow{Key: jsonOf(e.Key), Value: jsonOf(e.Value), TS: e.Timestamp})
		}
		return rows
	}
}

func jsonOf(v any) any {
	switch v := v.(type) {
	case text:
		if !v.OK {
			return nil
		}
		return v.Value
	case int64:
		return float64(v)
	}
	return v
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// golden makes a topology with a store "st" of values of type A.
func golden[A any](build func(t *processor.Topology)) func(params) goldenTopology {
	return goldenStore[A]("st", build)
}

func goldenStore[A any](store string, build func(t *processor.Topology)) func(params) goldenTopology {
	return func(params) goldenTopology {
		t := processor.NewTopology("golden")
		build(t)
		return goldenTopology{t, map[string]func(*testdriver.Driver) []vectorRow{store: rows[text, A](store)}}
	}
}

var goldenTopologies = map[string]func(params) goldenTopology{
	"filter_map_values": golden[string](func(t *processor.Topology) {
		kstream.From(t, in()).
			Filter(func(k, v text) bool { return v.OK && len(v.Value) >= 1 && k != opt.Some("c") }).
			MapValues(func(v text) text { return opt.Some(v.Value + "!") }).
			To(topic.Of[text, text]("out"))
	}),
	"map_flatmap": golden[string](func(t *processor.Topology) {
		s := kstream.From(t, in())
		s.Map(func(k, v text) (text, text) { return v, opt.Some(java(k) + ":" + java(v)) }).
			To(topic.Of[text, text]("mapped"))
		s.FlatMap(func(k, v text) iter.Seq2[text, text] {
			return func(yield func(text, text) bool) {
				for i, p := range javaSplit(v, ",") {
					if !yield(opt.Some(fmt.Sprintf("%s-%d", java(k), i)), opt.Some(p)) {
						return
					}
				}
			}
		}).To(topic.Of[text, text]("flat"))
		s.FlatMapValues(func(v text) []text {
			var out []text
			for _, p := range javaSplit(v, ";") {
				out = append(out, opt.Some(p))
			}
			return out
		}).To(topic.Of[text, text]("flatv"))
	}),
	"merge_two": golden[string](func(t *processor.Topology) {
		prefix := func(p string) func(text) text {
			return func(v text) text { return opt.Some(p + java(v)) }
		}
		kstream.From(t, in()).MapValues(prefix("1")).
			Merge(kstream.From(t, topic.Of[text, text]("in2")).MapValues(prefix("2"))).
			To(topic.Of[text, text]("out"))
	}),
	"split_branch": golden[string](func(t *processor.Topology) {
		for i, b := range kstream.From(t, in()).Split(
			func(_, v text) bool { return !v.OK },
			func(_, v text) bool { return strings.HasPrefix(v.Value, "x") },
			func(k, v text) bool { return len(v.Value) > 1 || k.Value == "a" },
		) {
			b.To(topic.Of[text, text]([]string{"nulls", "xs", "longs", "rest"}[i]))
		}
	}),
	"split_no_default": golden[string](func(t *processor.Topology) {
		even, _ := kstream.From(t, in()).Branch(func(_, v text) bool { return v.OK && len(v.Value)%2 == 0 })
		even.To(topic.Of[text, text]("even"))
	}),
	"repartition_op": goldenStore[int64]("c", func(t *processor.Topology) {
		r := kstream.From(t, in()).Map(func(k, v text) (text, text) { return v, k }).Repartition("rp")
		r.To(topic.Of[text, text]("out"))
		r.GroupByKey().Count("c").To(topic.Of[text, int64]("counts"))
	}),
	"gbk_aggregate": golden[string](func(t *processor.Topology) {
		s := kstream.From(t, in()).MapValuesWithKey(func(k, v text) opt.V[[2]string] {
			return opt.V[[2]string]{Value: [2]string{k.Value, v.Value}, OK: v.OK}
		})
		table := s.GroupByKey().Fold("st", func(a opt.V[string], kv opt.V[[2]string]) opt.V[string] {
			switch kv.Value[1] {
			case "del":
				return opt.None[string]()
			case "reset":
				return opt.Some("")
			}
			return opt.Some(tail(a.Value+","+kv.Value[0]+kv.Value[1], 12))
		})
		kstream.FromTable(table).To(topic.Of[text, text]("out"))
	}),
	"gbk_count": golden[int64](func(t *processor.Topology) {
		kstream.From(t, in()).GroupByKey().Count("st").To(topic.Of[text, int64]("out"))
	}),
	"gbk_reduce": golden[text](func(t *processor.Topology) {
		kstream.From(t, in()).GroupByKey().
			Reduce("st", func(a, v text) text { return opt.Some(tail(a.Value+v.Value, 12)) }).
			To(topic.Of[text, text]("out"))
	}),
	"gbk_reduce_null": golden[string](func(t *processor.Topology) {
		table := kstream.From(t, in()).GroupByKey().Fold("st", func(a opt.V[string], v text) opt.V[string] {
			switch {
			case !a.OK:
				return v
			case v.Value == "del":
				return opt.None[string]()
			}
			return opt.Some(a.Value + v.Value)
		})
		table.To(topic.Of[text, string]("out"))
	}),
	"gbk_sum_long": golden[int64](func(t *processor.Topology) {
		kstream.From(t, topic.Of[text, opt.V[int64]]("in")).GroupByKey().
			Aggregate("st", agg.Sum(func(v opt.V[int64]) int64 { return v.Value })).
			To(topic.Of[text, int64]("out"))
	}),
	"select_key_count": goldenStore[int64]("counts", func(t *processor.Topology) {
		kstream.From(t, in()).SelectKey(func(_, v text) text { return first(v) }).
			GroupByKey(kstream.Named("rp")).Count("counts").
			To(topic.Of[text, int64]("out"))
	}),
	"group_by_reduce": golden[text](func(t *processor.Topology) {
		kstream.From(t, in()).GroupBy("rp", func(_, v text) text { return first(v) }).
			Reduce("st", func(a, v text) text {
				if len(v.Value) >= len(a.Value) {
					return v
				}
				return a
			}).
			To(topic.Of[text, text]("out"))
	}),
}

// first is the first letter of v, none if there is none.
func first(v text) text {
	if v.Value == "" {
		return opt.None[string]()
	}
	return opt.Some(v.Value[:1])
}

// java writes a null as Java's string concatenation does.
func java(v text) string {
	if !v.OK {
		return "null"
	}
	return v.Value
}

// javaSplit is String.split: trailing empty pieces are dropped, but for a text
// without any separator.
func javaSplit(v text, sep string) []string {
	if !v.OK {
		return nil
	}
	if !strings.Contains(v.Value, sep) {
		return []string{v.Value}
	}
	parts := strings.Split(v.Value, sep)
	for len(parts) > 0 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	return parts
}
