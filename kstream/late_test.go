// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/window"
)

func TestLateRecordsGoAside(t *testing.T) {
	toLower := func(late *kstream.KStream[string, string]) { late.To(lower) }
	type grouped = *kstream.Grouped[string, string]
	for name, tt := range map[string]struct {
		build func(g grouped)
		late  string // of the records a to e
		drops int64
	}{
		"tumbling": {func(g grouped) {
			g.Windowed(window.Tumbling(ms(10)).Grace(ms(5))).Late(toLower).Count("st")
		}, "d e", 0},
		"hopping: late for all windows": {func(g grouped) {
			g.Windowed(window.Hopping(ms(10), ms(5)).Grace(ms(5))).Late(toLower).Count("st")
		}, "d e", 1}, // b for one of its two
		"sliding: late for all windows": {func(g grouped) {
			g.Windowed(window.Sliding(ms(10)).Grace(ms(5))).Late(toLower).Count("st")
		}, "d", 2}, // b and e for the window that ends with them
		"sessions": {func(g grouped) {
			g.Sessions(window.Session(ms(8)).Grace(ms(5))).Late(toLower).Count("st")
		}, "d", 0}, // e joins the session of b
		"without a use they are dropped": {func(g grouped) {
			g.Windowed(window.Tumbling(ms(10)).Grace(ms(5))).Count("st")
		}, "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			top := processor.NewTopology("app")
			tt.build(kstream.From(top, words).GroupByKey())
			d := testdriver.New(t, top)
			for _, r := range []word{
				{Key: "k", Value: "a", Timestamp: 24},
				{Key: "k", Value: "b", Timestamp: 13}, // its window ends at 20, and 20+5 is not yet
				{Key: "k", Value: "c", Timestamp: 25},
				{Key: "k", Value: "d", Timestamp: 3},
				{Key: "k", Value: "e", Timestamp: 11},
			} {
				d.Pipe(words, r)
			}
			var got []word
			for r, ok := d.Read(lower); ok; r, ok = d.Read(lower) {
				got = append(got, r)
			}
			if values(got) != tt.late {
				t.Errorf("late are %q, want %q", values(got), tt.late)
			}
			if n := d.Dropped()["late"]; n != tt.drops {
				t.Errorf("%d are dropped, want %d", n, tt.drops)
			}
		})
	}
}

func TestTwoAggregationsHaveTheirOwnLateRecords(t *testing.T) {
	top := processor.NewTopology("app")
	w := kstream.From(top, words).GroupByKey().Windowed(window.Tumbling(ms(10))).
		Late(func(late *kstream.KStream[string, string]) { late.To(lower) })
	w.Count("one")
	w.Reduce("two", func(a, b string) string { return a + b }, ktable.Emit(window.OnClose))
	d := testdriver.New(t, top)
	d.Pipe(words, word{Key: "k", Value: "a", Timestamp: 30})
	d.Pipe(words, word{Key: "k", Value: "b", Timestamp: 19})
	if diff := cmp.Diff("b b", values(d.ReadAll(lower))); diff != "" {
		t.Error(diff)
	}
}
