// SPDX-License-Identifier: Apache-2.0

package testdriver_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/topic"
)

var (
	regions = topic.Matching[string, string](`words-[a-z]+`)
	words   = topic.Of[string, string]("words")
	upper   = topic.Of[string, string]("upper")
	lower   = topic.Of[string, string]("lower")
	counted = topic.Of[string, int64]("counted")
)

// byRegion counts the words of all regions, and sends each on with the topic that it
// came from as its key.
func byRegion() *processor.Topology {
	t := processor.NewTopology("app")
	in := kstream.FromPattern(t, regions)
	kstream.From(t, words).Merge(in).
		Process("origin", func(pc *processor.Context[string, string], r processor.Record[string, string]) error {
			from, _ := pc.Origin()
			r.Key = from.Topic
			return pc.Forward(r)
		}).
		To(upper)
	in.GroupBy("by-word", func(_, w string) string { return w }).Count("n").To(counted)
	return t
}

// A record can be piped into any topic that matches, and knows where it came from.
func TestAPatternAsSource(t *testing.T) {
	d := testdriver.New(t, byRegion())
	for _, in := range []string{"words-eu", "words-us", "words-eu"} {
		d.Pipe(regions.Topic(in), processor.Record[string, string]{Value: "a"})
	}
	d.Pipe(words, processor.Record[string, string]{Value: "b"})
	var from []string
	for _, r := range d.ReadAll(upper) {
		from = append(from, r.Key)
	}
	if diff := cmp.Diff([]string{"words-eu", "words-us", "words-eu", "words"}, from); diff != "" {
		t.Errorf("where records came from (-want +got):\n%s", diff)
	}
	var counts []int64
	for _, r := range d.ReadAll(counted) {
		counts = append(counts, r.Value)
	}
	if diff := cmp.Diff([]int64{1, 2, 3}, counts); diff != "" {
		t.Errorf("counts over all topics (-want +got):\n%s", diff)
	}
	// The application's own topics and the brokers' are none of them.
	for _, in := range []string{"Words-eu", "old-words-eu", "words-"} {
		if err := d.TryPipe(regions.Topic(in), processor.Record[string, string]{Value: "a"}); err == nil {
			t.Errorf("topic %q is read", in)
		}
	}
}

func TestAPatternMatchesNoInternalTopic(t *testing.T) {
	top := processor.NewTopology("app")
	all := topic.Matching[string, string](`.*`)
	kstream.FromPattern(top, all).GroupBy("g", func(k, _ string) string { return k }).Count("n")
	d := testdriver.New(t, top)
	for _, in := range []string{"app-n-changelog", "app-old-repartition", "__consumer_offsets"} {
		if err := d.TryPipe(all.Topic(in), processor.Record[string, string]{Key: "k", Value: "a"}); err == nil {
			t.Errorf("topic %q is read", in)
		}
	}
	d.Pipe(all.Topic("app-other"), processor.Record[string, string]{Key: "k", Value: "a"})
	if err := d.TryPipe(all.Topic("app-g-repartition"), processor.Record[string, string]{Key: "k", Value: "a"}); err != nil {
		t.Errorf("its repartition topic is still a source: %v", err)
	}
}

// Two streams of one pattern read the same topics, each record once for each.
func TestTwoStreamsOfAPattern(t *testing.T) {
	top := processor.NewTopology("app")
	kstream.FromPattern(top, regions).To(upper)
	kstream.FromPattern(top, regions).To(upper)
	d := testdriver.New(t, top)
	d.Pipe(regions.Topic("words-eu"), processor.Record[string, string]{Key: "k", Value: "a"})
	if n := len(d.ReadAll(upper)); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

// Patterns whose overlap cannot be seen in the topology are told with the topic.
func TestPatternsThatMeetInATopic(t *testing.T) {
	top := processor.NewTopology("app")
	kstream.FromPattern(top, regions).To(upper)
	other := topic.Matching[string, string](`.*-eu`)
	kstream.FromPattern(top, other).To(lower)
	d := testdriver.New(t, top)
	d.Pipe(other.Topic("x-eu"), processor.Record[string, string]{Key: "k", Value: "a"})
	err := d.TryPipe(other.Topic("words-eu"), processor.Record[string, string]{Key: "k", Value: "a"})
	wantAll(t, err, `topic "words-eu"`, `"words-[a-z]+"`, `".*-eu"`, "pattern_test.go:")
}

func wantAll(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("nothing is said; want %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q is not said in: %v", p, err)
		}
	}
}
