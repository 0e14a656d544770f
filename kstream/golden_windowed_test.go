// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/millrace/millrace/agg"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

func init() { maps.Copy(goldenTopologies, goldenWindows) }

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// timeWindows makes a topology with a window store "st" whose table goes to "out".
func timeWindows[V any](spec func(params) window.TimeSpec, make func(w *kstream.TimeWindowed[text, text]) *ktable.KTable[window.Key[text], V]) func(params) goldenTopology {
	return func(p params) goldenTopology {
		t := processor.NewTopology("golden")
		w := spec(p)
		table := make(stream(t, "in").GroupByKey().Windowed(w))
		keys := window.TimeKey(in().KeySerde(), w.Size())
		table.To(topic.Of[window.Key[text], V]("out").Keys(keys))
		return goldenTopology{t, map[string]func(*testdriver.Driver) []vectorRow{"st": windowRows[V]}}
	}
}

func sessions[V any](spec func(params) window.SessionSpec, make func(w *kstream.SessionWindowed[text, text]) *ktable.KTable[window.SessionKey[text], V]) func(params) goldenTopology {
	return func(p params) goldenTopology {
		t := processor.NewTopology("golden")
		table := make(stream(t, "in").GroupByKey().Sessions(spec(p)))
		table.To(topic.Of[window.SessionKey[text], V]("out").Keys(window.SessionKeys(in().KeySerde())))
		return goldenTopology{t, map[string]func(*testdriver.Driver) []vectorRow{"st": sessionRows[V]}}
	}
}

func windowRows[V any](d *testdriver.Driver) []vectorRow {
	return rowsOf(d.AllWindows(state.Window[text, V]("st", state.WindowOptions{})), true)
}

func sessionRows[V any](d *testdriver.Driver) []vectorRow {
	return rowsOf(d.AllSessions(state.Session[text, V]("st", state.SessionOptions{})), false)
}

// rowsOf sorts as the vectors do: by key, start and end.
func rowsOf[V any](entries []testdriver.WindowEntry[text, V], timestamps bool) []vectorRow {
	rows := []vectorRow{}
	for _, e := range entries {
		r := vectorRow{Key: jsonOf(e.Key), Start: e.Start, End: e.End, Value: jsonOf(e.Value)}
		if timestamps {
			r.TS = e.Timestamp
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b vectorRow) int {
		return cmp.Or(cmp.Compare(a.Key.(string), b.Key.(string)), cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End))
	})
	return rows
}

func sized(p params) window.TimeSpec {
	return window.Hopping(ms(p["size"]), ms(p["advance"])).Grace(ms(p["grace"]))
}

func tumbling10(params) window.TimeSpec { return window.Tumbling(ms(10)).Grace(ms(5)) }

func hopping(advance int64) func(params) window.TimeSpec {
	return func(params) window.TimeSpec { return window.Hopping(ms(10), ms(advance)).Grace(ms(5)) }
}

func sliding10(p params) window.TimeSpec { return window.Sliding(ms(10)).Grace(ms(p["g"])) }

func final10(params) window.TimeSpec { return window.Sliding(ms(10)).Grace(ms(5)) }

func session5(grace int64) func(params) window.SessionSpec {
	return func(params) window.SessionSpec { return window.Session(ms(5)).Grace(ms(grace)) }
}

func countTime(w *kstream.TimeWindowed[text, text]) *ktable.KTable[window.Key[text], int64] {
	return w.Count("st")
}

// concat is (agg, v) -> agg + v of Java, where a null is the text "null".
func concat(a, v text) text { return opt.Some(java(a) + java(v)) }

func reduceTime(w *kstream.TimeWindowed[text, text]) *ktable.KTable[window.Key[text], text] {
	return w.Reduce("st", concat)
}

// onClose is with the retention that the vectors have.
func onClose(w *kstream.TimeWindowed[text, text]) *ktable.KTable[window.Key[text], text] {
	return w.Emit(window.OnClose).Reduce("st", concat, ktable.Retention(ms(100000)))
}

func onCloseDefault(w *kstream.TimeWindowed[text, text]) *ktable.KTable[window.Key[text], text] {
	return w.Emit(window.OnClose).Reduce("st", concat)
}

var goldenWindows = map[string]func(params) goldenTopology{
	"tumbling_count":       timeWindows(sized, countTime),
	"tumbling_count_grace": timeWindows(sized, countTime),
	"hopping_count":        timeWindows(sized, countTime),
	"hopping_count_grace":  timeWindows(sized, countTime),
	"tumbling_reduce":      timeWindows(tumbling10, reduceTime),
	"hopping_reduce":       timeWindows(hopping(5), reduceTime),
	"tumbling_retention": timeWindows(tumbling10, func(w *kstream.TimeWindowed[text, text]) *ktable.KTable[window.Key[text], int64] {
		return w.Count("st", ktable.Retention(ms(40)))
	}),
	"tumbling_aggregate_del": timeWindows(tumbling10, func(w *kstream.TimeWindowed[text, text]) *ktable.KTable[window.Key[text], string] {
		return w.Fold("st", func(a opt.V[string], v text) opt.V[string] {
			return opt.V[string]{Value: a.Value + v.Value, OK: v.Value != "x"}
		})
	}),
	"final_tumbling":                   timeWindows(tumbling10, onClose),
	"final_hopping":                    timeWindows(hopping(4), onClose),
	"final_tumbling_default_retention": timeWindows(tumbling10, onCloseDefault),
	"final_hopping_default_retention":  timeWindows(hopping(4), onCloseDefault),

	"final_tumbling_throttled": timeWindows(tumbling10, onClose),
	"final_hopping_throttled":  timeWindows(hopping(4), onClose),
	"final_session_throttled":  sessions(session5(5), onCloseSession),

	"sliding_count_g0": timeWindows(sliding10, countTime),
	"sliding_count_g5": timeWindows(sliding10, countTime),
	"sliding_reduce":   timeWindows(func(params) window.TimeSpec { return window.Sliding(ms(10)).Grace(ms(10)) }, reduceTime),
	"sliding_aggregate": timeWindows(func(params) window.TimeSpec { return window.Sliding(ms(7)).Grace(ms(30)) }, func(w *kstream.TimeWindowed[text, text]) *ktable.KTable[window.Key[text], string] {
		return w.Aggregate("st", agg.Of(func() string { return "^" }, func(a string, v text) string { return a + java(v) }))
	}),
	"final_sliding":           timeWindows(final10, onClose),
	"final_sliding_throttled": timeWindows(final10, onClose),

	"session_count_g0": sessions(session5(0), countSession),
	"session_count_g5": sessions(session5(5), countSession),
	"session_reduce": sessions(session5(20), func(w *kstream.SessionWindowed[text, text]) *ktable.KTable[window.SessionKey[text], text] {
		return w.Reduce("st", concat)
	}),
	"session_aggregate": sessions(session5(20), func(w *kstream.SessionWindowed[text, text]) *ktable.KTable[window.SessionKey[text], string] {
		return w.Aggregate("st", agg.Of(
			func() string { return "" },
			func(a string, v text) string { return a + java(v) },
		).Merge(func(x, y string) string { return "(" + x + "+" + y + ")" }))
	}),
	"final_session": sessions(session5(5), onCloseSession),
}

func onCloseSession(w *kstream.SessionWindowed[text, text]) *ktable.KTable[window.SessionKey[text], text] {
	return w.Emit(window.OnClose).Reduce("st", concat, ktable.Retention(ms(100000)))
}

func countSession(w *kstream.SessionWindowed[text, text]) *ktable.KTable[window.SessionKey[text], int64] {
	return w.Count("st")
}
