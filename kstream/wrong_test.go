// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

type stringStream = *kstream.KStream[string, string]

// wrong are topologies with one thing wrong each, and what is said about it.
var wrong = map[string]struct {
	build func(t *processor.Topology, s stringStream)
	want  string
}{
	"a key without an encoding": {func(_ *processor.Topology, s stringStream) {
		s.GroupBy("g", func(string, string) map[string]int { return nil }).Count("st")
	}, "map[string]int"},
	"a grouping without a name": {func(_ *processor.Topology, s stringStream) {
		s.SelectKey(func(k, _ string) string { return k }).GroupByKey().Count("st")
	}, "repartition topic, which needs a name"},
	"two steps with one repartition topic": {func(_ *processor.Topology, s stringStream) {
		s.GroupBy("g", func(k, _ string) string { return k }).Count("one")
		s.GroupBy("g", func(_, v string) string { return v }).Count("two")
	}, `repartition topic "app-g-repartition": the name is taken by the step of`},
	"two stores of one name": {func(_ *processor.Topology, s stringStream) {
		s.GroupByKey().Count("st")
		s.GroupByKey().Count("st")
	}, `store "st": the name is taken by the store of`},
	"a store without a name": {func(_ *processor.Topology, s stringStream) { s.GroupByKey().Count("") }, "a name is needed"},
	"a store without an encoding": {func(t *processor.Topology, _ stringStream) {
		processor.AddStore(t, state.KeyValue[string, func()]("st"))
	}, `store "st"`},
	"a topic's name":       {func(_ *processor.Topology, s stringStream) { s.To(topic.Of[string, string]("a topic")) }, `topic "a topic"`},
	"encodings of a table": {func(_ *processor.Topology, s stringStream) { s.GroupByKey().Count("st", ktable.Values(serde.String)) }, "the table's values are of another type"},
	"a difference below 0": {func(_ *processor.Topology, s stringStream) { s.GroupByKey().Windowed(window.Sliding(-1)).Count("st") }, "time difference -1ns is not a whole number of milliseconds"},
	"a window of no time":  {func(_ *processor.Topology, s stringStream) { s.GroupByKey().Windowed(window.Tumbling(0)).Count("st") }, "window size 0s is less than 1 ms"},
	"a window of no records": {func(_ *processor.Topology, s stringStream) {
		s.GroupByKey().CountWindows(window.Count(0)).Count("st")
	}, "count window of 0 records"},
	"a count window that leaves records out": {func(_ *processor.Topology, s stringStream) {
		s.GroupByKey().CountWindows(window.Count(3).Every(4)).Count("st")
	}, "records would fall between windows"},
	"a count window that is never begun": {func(_ *processor.Topology, s stringStream) {
		s.GroupByKey().CountWindows(window.Count(3).Every(0)).Count("st")
	}, "at least 1 is needed"},
	"a count window that ends at once": {func(_ *processor.Topology, s stringStream) {
		s.GroupByKey().CountWindows(window.Count(3).OrAfter(0)).Count("st")
	}, "time of a count window 0s is less than 1 ms"},
	"a count window that is retained": {func(_ *processor.Topology, s stringStream) {
		s.GroupByKey().CountWindows(window.Count(3)).Count("st", ktable.Retention(time.Hour))
	}, "a retention is for windows of time"},
	"a retention that is too short": {func(_ *processor.Topology, s stringStream) {
		s.GroupByKey().Windowed(window.Tumbling(time.Hour)).Count("st", ktable.Retention(time.Minute))
	}, "is shorter than"},
	"times of another type": {func(t *processor.Topology, _ stringStream) {
		kstream.From(t, lower, kstream.TimeBy(func(processor.Record[int64, string], int64) int64 { return 0 }))
	}, "TimeBy was given a"},
	"two beginnings of a topic": {func(t *processor.Topology, _ stringStream) {
		kstream.From(t, words, kstream.Latest())
	}, "they begin at different places"},
	"a beginning in the future": {func(t *processor.Topology, _ stringStream) {
		kstream.From(t, lower, kstream.Since(-time.Hour))
	}, "Since was given a negative time"},
	"a source of no topics": {func(t *processor.Topology, _ stringStream) {
		kstream.FromAll(t, []topic.Topic[string, string]{})
	}, "FromAll needs a topic"},
	"a topic twice in a source": {func(t *processor.Topology, _ stringStream) {
		kstream.FromAll(t, []topic.Topic[string, string]{lower, upper, lower})
	}, `topic "lower" is in one source twice`},
	"keys of two encodings in a source": {func(t *processor.Topology, _ stringStream) {
		other := serde.String
		other.Name = "other"
		kstream.FromAll(t, []topic.Topic[string, string]{lower, upper.Keys(other)})
	}, `their keys are encoded as string and other`},
	"a pattern that cannot be read": {func(t *processor.Topology, _ stringStream) {
		kstream.FromPattern(t, topic.Matching[string, string]("lower-["))
	}, "pattern \"lower-[\": error parsing regexp: missing closing ]"},
	"a pattern of nothing": {func(t *processor.Topology, _ stringStream) {
		kstream.FromPattern(t, topic.Matching[string, string](""))
	}, `pattern "": it is empty`},
	"a pattern without an encoding": {func(t *processor.Topology, _ stringStream) {
		kstream.FromPattern(t, topic.Matching[string, func()]("other-.*"))
	}, `pattern "other-.*": values: `},
	"a pattern that matches another source": {func(t *processor.Topology, _ stringStream) {
		kstream.FromPattern(t, topic.Matching[string, string]("wo.*"))
	}, `pattern "wo.*" matches topic "words", which is read at`},
	"a pattern that matches a global table": {func(t *processor.Topology, _ stringStream) {
		ktable.Global(t, "global", topic.Of[string, string]("rates"))
		kstream.FromPattern(t, topic.Matching[string, string]("rate."))
	}, `pattern "rate." matches topic "rates", which is read at`},
	"two beginnings of a pattern": {func(t *processor.Topology, _ stringStream) {
		p := topic.Matching[string, string]("begin-.*")
		kstream.FromPattern(t, p)
		kstream.FromPattern(t, p, kstream.Latest())
	}, `pattern "begin-.*" is read here and at`},
	"a partitioner of another type": {func(_ *processor.Topology, s stringStream) {
		s.To(upper, kstream.PartitionBy(func(int64, string, int32) int32 { return 0 }))
	}, "PartitionBy was given a"},
	"a partitioner of topics that are chosen": {func(_ *processor.Topology, s stringStream) {
		s.ToChosen(func(word) string { return "upper" }, kstream.PartitionBy(func(string, string, int32) int32 { return 0 }))
	}, "PartitionBy is for To alone"},
	"no partitions": {func(_ *processor.Topology, s stringStream) {
		s.Repartition("r", kstream.Partitions(0)).To(upper)
	}, "0 partitions, at least 1 is needed"},
	"streams of two topologies": {func(_ *processor.Topology, s stringStream) {
		s.Merge(kstream.From(processor.NewTopology("other"), lower)).To(upper)
	}, "different topologies"},
}

var hereAt = regexp.MustCompile(`wrong_test\.go:\d+: `)

func TestWhatIsWrongIsToldWithItsPlace(t *testing.T) {
	for name, tt := range wrong {
		t.Run(name, func(t *testing.T) {
			top := processor.NewTopology("app")
			tt.build(top, kstream.From(top, words))
			err := top.Check()
			if err == nil {
				t.Fatalf("nothing is said; want %q", tt.want)
			}
			for line := range strings.Lines(err.Error()) {
				if strings.Contains(line, tt.want) && hereAt.MatchString(line) {
					return
				}
			}
			t.Errorf("got\n%v\nwant %q, with file and line", err, tt.want)
		})
	}
}

// All that is wrong is said at once.
func TestAllThatIsWrongIsTold(t *testing.T) {
	top := processor.NewTopology("app")
	s := kstream.From(top, words)
	for _, tt := range wrong {
		tt.build(top, s)
	}
	err := top.Check()
	if err == nil {
		t.Fatal("nothing is said")
	}
	for name, tt := range wrong {
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q is not said", name, tt.want)
		}
	}
}
