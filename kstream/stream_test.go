// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/agg"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

type order struct {
	Customer string
	Amount   int64
}

var (
	lines  = topic.Unkeyed[string]("lines")
	orders = topic.Of[string, order]("orders")
	counts = topic.Of[string, int64]("counts")
)

func wordCount(options ...ktable.Option) *processor.Topology {
	t := processor.NewTopology("app")
	kstream.From(t, lines).
		FlatMapValues(strings.Fields).
		GroupBy("by-word", func(_ topic.NoKey, word string) string { return word }).
		Count("counts", options...).
		To(counts)
	return t
}

func pipe(d *testdriver.Driver, at int64, line string) {
	d.Pipe(lines, processor.Record[topic.NoKey, string]{Value: line, Timestamp: at})
}

type counted = processor.Record[string, int64]

func TestEveryUpdateIsSentOn(t *testing.T) {
	d := testdriver.New(t, wordCount())
	pipe(d, 5, "a b a")
	pipe(d, 3, "a")
	want := []counted{
		{Key: "a", Value: 1, Timestamp: 5},
		{Key: "b", Value: 1, Timestamp: 5},
		{Key: "a", Value: 2, Timestamp: 5},
		{Key: "a", Value: 3, Timestamp: 5}, // the highest timestamp stays
	}
	if diff := cmp.Diff(want, d.ReadAll(counts)); diff != "" {
		t.Error(diff)
	}
	if n, ok := d.Get(state.KeyValue[string, int64]("counts"), "a"); n != 3 || !ok {
		t.Errorf("the store has %d, %v for a; want 3", n, ok)
	}
}

func TestOnCommitTheLatestOfEachChangedKeyIsSentOn(t *testing.T) {
	d := testdriver.New(t, wordCount(ktable.Emit(window.OnCommit)))
	pipe(d, 5, "a b a")
	if got := d.ReadAll(counts); len(got) != 0 {
		t.Errorf("before the commit: %v", got)
	}
	d.Commit()
	pipe(d, 7, "b")
	d.Commit()
	d.Commit() // nothing has changed
	want := []counted{{Key: "a", Value: 2, Timestamp: 5}, {Key: "b", Value: 1, Timestamp: 5}, {Key: "b", Value: 2, Timestamp: 7}}
	if diff := cmp.Diff(want, d.ReadAll(counts)); diff != "" {
		t.Error(diff)
	}
}

func TestHeadersGoAlong(t *testing.T) {
	top := processor.NewTopology("app")
	s := kstream.From(top, orders)
	s.MapValues(func(o order) int64 { return o.Amount }).To(counts)
	d := testdriver.New(t, top)
	h := []processor.Header{{Key: "trace", Value: []byte("x")}}
	d.Pipe(orders, processor.Record[string, order]{Key: "k", Value: order{Amount: 4}, Timestamp: 1, Headers: h})
	if diff := cmp.Diff([]counted{{Key: "k", Value: 4, Timestamp: 1, Headers: h}}, d.ReadAll(counts)); diff != "" {
		t.Error(diff)
	}
}

func TestNullsThatATypeCannotCarryAreDroppedAndCounted(t *testing.T) {
	top := processor.NewTopology("app")
	kstream.From(top, counts).To(topic.Of[string, int64]("out"))
	d := testdriver.New(t, top)
	for _, r := range []processor.Record[[]byte, []byte]{
		{Value: []byte{0, 0, 0, 0, 0, 0, 0, 1}},
		{Key: []byte("k")},
		{Key: []byte{}, Value: []byte{0, 0, 0, 0, 0, 0, 0, 2}}, // an empty key is a key
	} {
		if err := d.PipeBytes("counts", r); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]int64{"null key": 1, "null value": 1}, d.Dropped()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]counted{{Value: 2}}, d.ReadAll(topic.Of[string, int64]("out"))); diff != "" {
		t.Error(diff)
	}
}

func TestAnUndecodableRecordNamesItsPlace(t *testing.T) {
	top := processor.NewTopology("app")
	kstream.From(top, counts).To(topic.Of[string, int64]("out"))
	d := testdriver.New(t, top)
	err := d.PipeBytes("counts", processor.Record[[]byte, []byte]{Key: []byte("k"), Value: []byte("short")})
	for _, want := range []string{"counts-0", "offset 0", "value", "length 5, want 8"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %q", err, want)
		}
	}
}

func TestAPanicOfUserCodeIsAnErrorWithItsPlace(t *testing.T) {
	boom := errors.New("boom")
	top := processor.NewTopology("app")
	kstream.From(top, counts).Filter(func(string, int64) bool { panic(boom) }).To(topic.Of[string, int64]("out"))
	d := testdriver.New(t, top)
	err := d.TryPipe(counts, counted{Key: "k"})
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "stream_test.go:") {
		t.Errorf("got %v", err)
	}
}

func TestCheckTellsAllThatIsWrongWithFileAndLine(t *testing.T) {
	top := processor.NewTopology("a b")
	s := kstream.From(top, topic.Of[map[string]int, string]("bad keys"))
	s.GroupByKey().Count("counts")
	other := kstream.From(top, orders)
	other.GroupByKey().Count("counts")
	other.SelectKey(func(string, order) string { return "" }).GroupByKey().Count("unnamed")
	other.GroupBy("by-func", func(string, order) func() { return nil }).Count("n")
	other.GroupByKey().Count("values", ktable.Values(serde.String))

	err := top.Check()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`application id "a b"`,
		`bad keys`,
		`map[string]int`,
		`store "counts": the name is taken by the store of `,
		`needs a name`,
		`func()`,
		`another type`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not tell %q", want)
		}
	}
	for line := range strings.Lines(err.Error()) {
		if !strings.Contains(line, "application id") && !strings.Contains(line, "stream_test.go:") {
			t.Errorf("no place in this program: %s", line)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

// Every method, with its types inferred where a program would not write them.
func TestEveryOperatorInstantiates(t *testing.T) {
	top := processor.NewTopology("app")
	s := kstream.From(top, orders)
	s.Keys(serde.String).Values(orders.ValueSerde()).
		Filter(func(k string, o order) bool { return o.Amount > 0 }).
		Peek(func(r processor.Record[string, order]) {}).
		Map(func(k string, o order) (string, int64) { return o.Customer, o.Amount }).
		To(topic.Of[string, int64]("o1"))
	s.FlatMap(func(k string, o order) iter.Seq2[int64, string] {
		return func(yield func(int64, string) bool) { yield(o.Amount, k) }
	}).To(topic.Of[int64, string]("o2"))
	s.FlatMapSeq(func(o order) iter.Seq[string] { return slices.Values([]string{o.Customer}) }).
		FlatMapValues(strings.Fields).
		MapValuesWithKey(func(k, v string) string { return k + v }).
		To(topic.Of[string, string]("o3"))
	g := s.GroupByKey()
	g.Count("count").To(counts)
	g.Reduce("reduce", func(a, b order) order { return b }).To(topic.Of[string, order]("o4"))
	g.Aggregate("sum", agg.Sum(func(o order) int64 { return o.Amount })).To(topic.Of[string, int64]("o5"))
	table := g.Fold("fold", func(a opt.V[int64], o order) opt.V[int64] {
		return opt.V[int64]{Value: a.Value + o.Amount, OK: o.Amount != 0}
	})
	kstream.FromTable(table).To(topic.Of[string, opt.V[int64]]("o6"))
	kstream.FromTable(table).
		SelectKey(func(k string, _ opt.V[int64]) int64 { return int64(len(k)) }).
		GroupByKey(kstream.Named("by-length")).Count("lengths").To(topic.Of[int64, int64]("o7"))

	d := testdriver.New(t, top)
	for _, amount := range []int64{2, 3, 0} {
		d.Pipe(orders, processor.Record[string, order]{Key: "k", Value: order{"c", amount}})
	}
	var folded []string
	for _, r := range d.ReadAll(topic.Of[string, opt.V[int64]]("o6")) {
		folded = append(folded, fmt.Sprint(r.Value))
	}
	if diff := cmp.Diff([]string{fmt.Sprint(opt.Some[int64](2)), fmt.Sprint(opt.Some[int64](5)), fmt.Sprint(opt.None[int64]())}, folded); diff != "" {
		t.Error(diff)
	}
	// A count drops null values: the tombstone of the third order.
	if n, _ := d.Get(state.KeyValue[int64, int64]("lengths"), 1); n != 2 {
		t.Errorf("counted %d lengths, want 2", n)
	}
}

func Example() {
	t := processor.NewTopology("word-count")
	kstream.From(t, lines).
		FlatMapValues(strings.Fields).
		GroupBy("by-word", func(_ topic.NoKey, word string) string { return word }).
		Count("counts").
		To(counts)

	var tb testdriver.Panics
	defer tb.Done()
	d := testdriver.New(&tb, t)
	d.Pipe(lines, processor.Record[topic.NoKey, string]{Value: "to be or not to be"})
	for _, r := range d.ReadAll(counts) {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// to 1
	// be 1
	// or 1
	// not 1
	// to 2
	// be 2
}
