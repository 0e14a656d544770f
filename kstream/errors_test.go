// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
)

var (
	words  = topic.Of[string, string]("words")
	upper  = topic.Of[string, string]("upper")
	lower  = topic.Of[string, string]("lower")
	errBad = errors.New("bad word")
)

type word = processor.Record[string, string]

func send(t *testing.T, d *testdriver.Driver, values ...string) {
	t.Helper()
	for i, v := range values {
		d.Pipe(words, word{Key: "k", Value: v, Timestamp: int64(i)})
	}
}

func values(records []word) string {
	var vs []string
	for _, r := range records {
		vs = append(vs, r.Value)
	}
	return strings.Join(vs, " ")
}

// failing returns an error for "bad" and panics for "worse".
func failing(v string) (string, error) {
	switch v {
	case "bad":
		return "", errBad
	case "worse":
		panic(errBad)
	}
	return strings.ToUpper(v), nil
}

func TestAPolicyOfAStepWinsOverTheApplications(t *testing.T) {
	top := processor.NewTopology("app")
	s := kstream.From(top, words)
	s.TryMapValues(failing).OnError(processor.Skip()).To(upper)
	s.TryMapValues(failing).To(lower)
	d := testdriver.New(t, top, processor.Config{OnProcessError: processor.DeadLetter("dead")})
	send(t, d, "a", "bad", "worse", "b")
	if got := values(d.ReadAll(upper)) + "|" + values(d.ReadAll(lower)); got != "A B|A B" {
		t.Errorf("got %s, want A B|A B", got)
	}
	if got := values(d.ReadAll(topic.Of[string, string]("dead"))); got != "bad worse" {
		t.Errorf("dead letters: %s, want one of each failure", got)
	}
	if n := d.Dropped()["failed: process"]; n != 4 {
		t.Errorf("%d failures counted, want 4", n)
	}
}

// What an operator has still to send is sent, whatever becomes of what it sent before.
func TestAFailureLosesItsOwnBranchAlone(t *testing.T) {
	split := func(v string) []string { return strings.Fields(v) }
	fragile := func(v string) string {
		out, err := failing(v)
		if err != nil {
			panic(err)
		}
		return out
	}
	tests := []struct {
		name  string
		build func(s *kstream.KStream[string, string])
		want  string
	}{
		{"the values of a flat map", func(s *kstream.KStream[string, string]) {
			s.FlatMapValues(split).MapValues(fragile).To(upper)
		}, "A B C"},
		{"a flat map whose function may fail", func(s *kstream.KStream[string, string]) {
			s.TryFlatMapValues(func(v string) ([]string, error) { return split(v), nil }).MapValues(fragile).To(upper)
		}, "A B C"},
		{"the branches of a stream", func(s *kstream.KStream[string, string]) {
			w := s.FlatMapValues(split)
			w.MapValues(fragile).To(lower)
			w.MapValues(strings.ToUpper).To(upper)
		}, "A BAD B WORSE C"},
		{"what a processor forwards", func(s *kstream.KStream[string, string]) {
			s.Process("p", func(pc *processor.Context[string, string], r word) error {
				for _, v := range split(r.Value) {
					if err := pc.Forward(word{Key: r.Key, Value: v}); err != nil {
						return err
					}
				}
				return nil
			}).MapValues(fragile).To(upper)
		}, "A B C"},
		{"two sources of a topic", func(s *kstream.KStream[string, string]) {
			s.Peek(func(word) { panic("boom") }).To(lower)
			kstream.From(topologyOf(s), words).MapValues(strings.ToUpper).To(upper)
		}, "A BAD B WORSE C"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			top := processor.NewTopology("app")
			sourceOf = top
			tt.build(kstream.From(top, words))
			d := testdriver.New(t, top, processor.Config{OnProcessError: processor.Skip()})
			send(t, d, "a bad b worse c")
			if got := values(d.ReadAll(upper)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAFunctionIsTriedAgain(t *testing.T) {
	calls := 0
	flaky := func(fail int) func(string) (string, error) {
		return func(v string) (string, error) {
			if calls++; calls <= fail {
				return "", errBad
			}
			return v, nil
		}
	}
	tests := []struct {
		name  string
		fails int
		calls int
		want  string
	}{
		{"until it succeeds", 2, 3, "x"},
		{"as often as the policy says", 9, 4, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			calls = 0
			top := processor.NewTopology("app")
			kstream.From(top, words).TryMapValues(flaky(tt.fails)).
				OnError(processor.Skip().Retry(3, time.Second)).To(upper)
			d := testdriver.New(t, top)
			send(t, d, "x")
			if got := values(d.ReadAll(upper)); got != tt.want || calls != tt.calls {
				t.Errorf("got %q after %d calls, want %q after %d", got, calls, tt.want, tt.calls)
			}
		})
	}
}

func TestAnErrorNamesTheStepThatFailed(t *testing.T) {
	tests := []struct {
		name  string
		build func(s *kstream.KStream[string, string])
		want  []string
		stage processor.Stage
	}{
		{"a function that panics", func(s *kstream.KStream[string, string]) {
			s.Filter(func(string, string) bool { return true }).MapValues(func(v string) string { panic(errBad) }).To(upper)
		}, []string{"map-values at ", "errors_test.go:", "panic at "}, processor.Processing},
		{"one that answers an error", func(s *kstream.KStream[string, string]) {
			s.TryMapValues(func(string) (string, error) { return "", errBad }).To(upper)
		}, []string{"map-values at "}, processor.Processing},
		{"one that panics after it has sent something", func(s *kstream.KStream[string, string]) {
			s.Process("p", func(pc *processor.Context[string, string], r word) error {
				_ = pc.Forward(r)
				panic(errBad)
			}).To(upper)
		}, []string{`process "p" at `}, processor.Processing},
		{"an encoding", func(s *kstream.KStream[string, string]) {
			s.To(upper.Values(badSerde))
		}, []string{"sink at ", "encode the value"}, processor.Producing},
		{"a decoding that panics", func(s *kstream.KStream[string, string]) {
			kstream.From(sourceOf, topic.Of[string, string]("words").Values(badSerde)).To(lower)
		}, []string{"source at ", "panic"}, processor.Decoding},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			top := processor.NewTopology("app")
			sourceOf = top
			tt.build(kstream.From(top, words))
			d := testdriver.New(t, top)
			err := d.TryPipe(words, word{Key: "k", Value: "v"})
			e, ok := errors.AsType[*processor.RecordError](err)
			if !ok || !errors.Is(err, errBad) || e.Stage != tt.stage {
				t.Fatalf("got %v (%T), want a RecordError of stage %s", err, err, tt.stage)
			}
			for _, w := range append(tt.want, "offset 0 of words-0") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not name %q", err, w)
				}
			}
		})
	}
}

var badSerde = serde.Serde[string]{
	Name:   "bad",
	Append: func([]byte, string) ([]byte, error) { return nil, errBad },
	Decode: func([]byte) (string, error) { panic(errBad) },
}

// sourceOf is the topology of the case at hand.
var sourceOf *processor.Topology

func topologyOf(*kstream.KStream[string, string]) *processor.Topology { return sourceOf }

func TestNegativeTimes(t *testing.T) {
	build := func(options ...kstream.SourceOption) *testdriver.Driver {
		top := processor.NewTopology("app")
		kstream.From(top, words, options...).To(upper)
		return testdriver.New(t, top)
	}
	early := word{Key: "k", Value: "v", Timestamp: -1}
	if err := build().TryPipe(words, early); err == nil {
		t.Error("a negative timestamp is no error")
	}
	d := build(kstream.SkipInvalidTime())
	d.Pipe(words, early)
	if got := d.ReadAll(upper); len(got) != 0 || d.Dropped()["negative timestamp"] != 1 {
		t.Errorf("got %v, dropped %v; want the record dropped and counted", got, d.Dropped())
	}
}

func TestWrongTimesAreToldByCheck(t *testing.T) {
	top := processor.NewTopology("app")
	kstream.From(top, words, kstream.TimeBy(func(r processor.Record[int64, string], _ int64) int64 { return 0 })).To(upper)
	kstream.From(top, lower, kstream.TimeBy(func(word, int64) int64 { return 0 })).To(upper)
	kstream.From(top, lower).To(upper)
	err := top.Check()
	for _, want := range []string{"TimeBy was given a", "read it once"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell %q", err, want)
		}
	}
}

func TestTryForms(t *testing.T) {
	top := processor.NewTopology("app")
	var done []string
	kstream.From(top, words).
		TryFilter(func(_, v string) (bool, error) { return v != "no", nil }).
		TryMap(func(k, v string) (int, string, error) {
			n, err := strconv.Atoi(v)
			return n, k, err
		}).OnError(processor.Skip()).
		TryForeach(func(r processor.Record[int, string]) error {
			if r.Key == 2 {
				return errBad
			}
			done = append(done, fmt.Sprint(r.Key, r.Value))
			return nil
		}, kstream.OnError(processor.Skip()))
	d := testdriver.New(t, top)
	send(t, d, "1", "no", "x", "2", "3")
	if diff := cmp.Diff([]string{"1k", "3k"}, done); diff != "" {
		t.Error(diff)
	}
}

func Example_process() {
	t := processor.NewTopology("dedupe")
	seen := processor.AddStore(t, state.KeyValue[string, int64]("seen"))
	kstream.From(t, words).
		ProcessValuesWith("first-a-minute", func(pc *processor.Context[string, string]) (func(word) error, error) {
			last := seen.In(pc)
			return func(r word) error {
				at, _, ok, err := last.Get(r.Value)
				if err != nil || ok && r.Timestamp-at < 60_000 {
					return err
				}
				if err := last.Put(r.Value, r.Timestamp, r.Timestamp); err != nil {
					return err
				}
				return pc.Forward(r)
			}, nil
		}, seen).
		To(upper)

	var tb testdriver.Panics
	defer tb.Done()
	d := testdriver.New(&tb, t)
	for _, r := range []word{{Value: "a"}, {Value: "b", Timestamp: 10_000}, {Value: "a", Timestamp: 20_000}, {Value: "a", Timestamp: 60_000}} {
		d.Pipe(words, r)
	}
	for _, r := range d.ReadAll(upper) {
		fmt.Println(r.Value, r.Timestamp)
	}
	// Output:
	// a 0
	// b 10000
	// a 60000
}
