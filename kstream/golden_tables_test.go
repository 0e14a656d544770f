// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"maps"
	"strconv"
	"strings"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/topic"
)

func init() { maps.Copy(goldenTopologies, goldenTables) }

func table(t *processor.Topology, name, in string) *ktable.KTable[text, string] {
	return ktable.From(t, name, topic.Of[text, string](in))
}

func stream(t *processor.Topology, in string) *kstream.KStream[text, text] {
	return kstream.From(t, topic.Of[text, text](in))
}

func above4(_ text, v string) bool {
	n, err := strconv.Atoi(v)
	return err == nil && n > 4
}

func plus(x text, y string) string { return java(x) + "+" + y }

func plusRow(x text, y opt.V[string]) string { return java(x) + "+" + java(y) }

var (
	out      = topic.Of[text, text]("out")
	outPlain = topic.Of[text, string]("out")
)

var goldenTables = map[string]func(params) goldenTopology{
	"table_basic": golden[string](func(t *processor.Topology) { table(t, "st", "in").To(outPlain) }),
	"table_unmaterialized": golden[string](func(t *processor.Topology) {
		kstream.FromTable(table(t, "st", "in")).
			Map(func(k, v text) (text, text) { return opt.Some(java(k) + "/" + java(v)), v }).
			To(out)
	}),
	"table_filter": golden[string](func(t *processor.Topology) { table(t, "src", "in").Filter(above4).To(outPlain) }),
	"table_filter_mat": func(params) goldenTopology {
		t := processor.NewTopology("golden")
		table(t, "src", "in").Filter(above4, ktable.Store("st")).To(outPlain)
		return goldenTopology{t, map[string]func(*testdriver.Driver) []vectorRow{
			"src": rows[text, string]("src"), "st": rows[text, string]("st"),
		}}
	},
	"table_mapvalues_null": golden[string](func(t *processor.Topology) {
		table(t, "src", "in").MapRows(func(_ text, v string) opt.V[string] {
			return opt.V[string]{Value: v + v, OK: v != "5" && v != "3"}
		}, ktable.Store("st")).To(outPlain)
	}),
	"table_filter_not_mapvalues": golden[string](func(t *processor.Topology) {
		table(t, "src", "in").
			Filter(func(_ text, v string) bool { return !strings.HasPrefix(v, "1") }).
			MapValues(func(v string) string { return "m" + v }).
			MapRows(func(k text, v string) opt.V[string] { return opt.Some(k.Value + v) }, ktable.Store("st")).
			To(outPlain)
	}),
	"stream_to_table": golden[text](func(t *processor.Topology) {
		stream(t, "in").MapValues(func(v text) text { return opt.V[string]{Value: "v" + v.Value, OK: v.OK} }).
			ToTable("st").To(out)
	}),
	"stream_to_table_rekey": golden[text](func(t *processor.Topology) {
		stream(t, "in").SelectKey(func(k, v text) text {
			if !v.OK {
				return k
			}
			return opt.Some("k" + v.Value[:1])
		}).ToTable("st").To(out)
	}),
	"st_inner": golden[string](func(t *processor.Topology) {
		stream(t, "l").JoinTable(table(t, "st", "t"), plus).To(outPlain)
	}),
	"st_left": golden[string](func(t *processor.Topology) {
		tbl := table(t, "st", "t")
		stream(t, "l").
			MapValuesWithKey(func(k, v text) text { return opt.V[string]{Value: java(k) + ":" + v.Value, OK: v.OK} }).
			LeftJoinTable(tbl, plusRow).To(outPlain)
	}),
	"st_inner_rekey": golden[string](func(t *processor.Topology) {
		stream(t, "l").SelectKey(func(_, v text) text { return first(v) }).
			LeftJoinTable(table(t, "st", "t"), plusRow, kstream.Named("rp")).To(outPlain)
	}),
	"st_agg_table": golden[int64](func(t *processor.Topology) {
		tbl := stream(t, "t").GroupByKey().Count("st")
		stream(t, "l").JoinTable(tbl, func(x text, n int64) string { return java(x) + "+" + strconv.FormatInt(n, 10) }).To(outPlain)
	}),
}
