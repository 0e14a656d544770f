// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/serde"
)

// A pointed runs the program on one data directory, now on this cluster, now on
// another one.
type pointed struct {
	t    *testing.T
	data string
}

// count runs the program to its end and returns the counts and what it printed.
func (p *pointed) count(brokers string, texts ...*corpus) (map[string]int64, string) {
	p.t.Helper()
	out := filepath.Join(p.t.TempDir(), "counts")
	args := []string{"--data", p.data, "--out", out, "--commit", "200ms"}
	if brokers != "" {
		args = append(args, "--brokers", brokers)
	}
	for _, text := range texts {
		args = append(args, text.dir)
	}
	run := start(p.t, nil, wordcountBinary(p.t), args...)
	run.finish(p.t, finishBound)
	return readCounts(p.t, out), run.output(p.t)
}

// TestOtherCluster points the same data directory at other clusters: the state of
// each belongs to it alone.
func TestOtherCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs processes")
	}
	here, there, kafka := newCorpus(t, 21, 1e6), newCorpus(t, 22, 1e6), newCorpus(t, 23, 1e6)
	p := &pointed{t: t, data: t.TempDir()}
	counts, text := p.count("", here)
	sameCounts(t, "on the broker in the process", counts, here.counts)
	noLine(t, text, "aside")

	_, addr := startBroker(t, t.TempDir(), "127.0.0.1:0")
	counts, text = p.count(addr, there)
	sameCounts(t, "on another broker", counts, there.counts)
	wantLine(t, text, "left aside", "another cluster")

	t.Run("Apache Kafka", func(t *testing.T) {
		k := kafkatest.Shared(t)
		reach(t, k.Addr).clean(t)
		counts, text := p.count(k.Addr, kafka)
		sameCounts(t, "on Apache Kafka", counts, kafka.counts)
		wantLine(t, text, "left aside", "another cluster")
	})

	// What was left aside is still good where it belongs: nothing is rebuilt.
	counts, text = p.count(addr, here)
	sameCounts(t, "on the other broker again, with more text", counts, plus(there.counts, here.counts))
	noLine(t, text, "set aside")
	counts, text = p.count("", there)
	sameCounts(t, "on the first broker again, with more text", counts, plus(here.counts, there.counts))
	noLine(t, text, "set aside")
}

// TestChangelogMadeAnew deletes the changelog topic and makes it anew with other
// records. The store is built from those, not from what lies in the folder.
func TestChangelogMadeAnew(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs processes")
	}
	first, second := newCorpus(t, 21, 1e6), newCorpus(t, 22, 1e6)
	_, addr := startBroker(t, t.TempDir(), "127.0.0.1:0")
	p := &pointed{t: t, data: t.TempDir()}
	counts, _ := p.count(addr, first)
	sameCounts(t, "before", counts, first.counts)

	c := reach(t, addr)
	folded := c.fold(t)
	if _, err := c.admin.DeleteTopics(bounded(t), changelog); err != nil {
		t.Fatal(err)
	}
	compact := "compact"
	made, err := c.admin.CreateTopic(bounded(t), int32(len(folded)), -1, map[string]*string{"cleanup.policy": &compact}, changelog)
	if err != nil || made.Err != nil {
		t.Fatal(err, made.Err)
	}
	const more = 1000
	want := plus(first.counts, second.counts)
	var records []*kgo.Record
	for num, h := range folded {
		for word, n := range h.counts {
			want[word] += more
			value, _ := serde.Int64.Encode(n.n + more)
			records = append(records, &kgo.Record{Topic: changelog, Partition: num, Key: []byte(word), Value: value})
		}
	}
	client, err := kgo.NewClient(append(c.opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(bounded(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}

	_, text := p.count(addr, second)
	wantLine(t, text, "set aside", "topic id")
	sameCounts(t, "after", countsIn(t, c.fold(t)), want)
}

// wantLine fails the test if no line of text has all parts.
func wantLine(t *testing.T, text string, parts ...string) {
	t.Helper()
lines:
	for line := range strings.Lines(text) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue lines
			}
		}
		return
	}
	t.Errorf("no line has %q:\n%s", parts, text)
}

// noLine fails the test if text has a part.
func noLine(t *testing.T, text, part string) {
	t.Helper()
	if strings.Contains(text, part) {
		t.Errorf("a line has %q:\n%s", part, text)
	}
}
