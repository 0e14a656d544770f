// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafkatest"
)

// brokers are those that the program must give the same results on.
var brokers = map[string]func(t *testing.T) string{
	"bundled": func(t *testing.T) string {
		_, addr := startBroker(t, t.TempDir(), "127.0.0.1:0")
		return addr
	},
	"Apache Kafka": func(t *testing.T) string { return kafkatest.Shared(t).Addr },
}

// TestCountsEqual counts with one and with three instances, on the bundled broker
// and on Apache Kafka: the counts are those of the system's tools.
func TestCountsEqual(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	for name, open := range brokers {
		t.Run(name+", one instance", func(t *testing.T) { oneInstance(t, open(t)) })
		t.Run(name+", three instances", func(t *testing.T) { threeInstances(t, open(t)) })
	}
}

func oneInstance(t *testing.T, addr string) {
	c := reach(t, addr)
	c.clean(t)
	text := newCorpus(t, 7, corpusBytes())
	out := filepath.Join(t.TempDir(), "counts")
	start(t, nil, wordcountBinary(t), "--brokers", addr, "--data", t.TempDir(), "--out", out, text.dir).finish(t, finishBound)
	sameCounts(t, "output", readCounts(t, out), text.counts)
	c.neverDown(t, text.counts)
}

// threeInstances has one instance that takes the lines from the test and two that
// help it: one of them leaves in the middle, the other one joins late.
func threeInstances(t *testing.T, addr string) {
	c := reach(t, addr)
	c.clean(t)
	text := newCorpus(t, 7, corpusBytes())
	out := filepath.Join(t.TempDir(), "counts")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	first := newInstance(t, r, addr, "--out", out, "-")
	r.Close() // the process has its own
	feed := newPacer(t, w, text)
	early := newInstance(t, nil, addr)
	feed.until("the first two instances both count", func() bool { return first.counts() && early.counts() }, first.p, early.p)
	feed.upTo(0.3)
	late := newInstance(t, nil, addr)
	feed.until("the late instance counts", late.counts, first.p, early.p, late.p)
	feed.upTo(0.6)
	early.p.signal(t, os.Interrupt)
	feed.until("the early instance has left", func() bool { return isDone(early.p.done) }, first.p, late.p)
	early.p.finish(t, patience)
	feed.upTo(1)
	w.Close()
	first.p.finish(t, finishBound)
	late.p.signal(t, os.Interrupt)
	late.p.finish(t, patience)
	sameCounts(t, "output", readCounts(t, out), text.counts)
	c.neverDown(t, text.counts)
	sameCounts(t, "changelog", countsIn(t, c.fold(t)), text.counts)
}

// An instance is one of several.
type instance struct {
	t  *testing.T
	p  *process
	tr *track
}

func newInstance(t *testing.T, stdin *os.File, addr string, flags ...string) *instance {
	t.Helper()
	return newInstanceOn(t, t.TempDir(), stdin, addr, flags...)
}

// newInstanceOn starts an instance on a data directory: one that was there before is
// the same member of the group.
func newInstanceOn(t *testing.T, data string, stdin *os.File, addr string, flags ...string) *instance {
	t.Helper()
	tr := &track{path: filepath.Join(t.TempDir(), "progress.jsonl")}
	args := append([]string{"--brokers", addr, "--data", data, "--commit", "200ms", "--progress", tr.path}, flags...)
	return &instance{t, start(t, stdin, wordcountBinary(t), args...), tr}
}

// counts tells whether the instance has committed words of its own tasks.
func (i *instance) counts() bool {
	i.t.Helper()
	for _, task := range i.tr.last(i.t).Tasks {
		for _, in := range task.Inputs {
			if in.Topic == wordsTopic && task.Records > 0 && in.Committed > 0 {
				return true
			}
		}
	}
	return false
}

// A pacer feeds a text line by line: all at once up to a mark, or little by little
// while something is waited for, so that it happens in the middle of the work.
type pacer struct {
	t       *testing.T
	w       *bufio.Writer
	lines   *bufio.Scanner
	fed, of int64
	little  int64 // lines at each look of until
	looks   int
}

func newPacer(t *testing.T, w io.Writer, text *corpus) *pacer {
	t.Helper()
	var readers []io.Reader
	for _, path := range text.files {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		readers = append(readers, f)
	}
	return &pacer{t: t, w: bufio.NewWriter(w), lines: bufio.NewScanner(io.MultiReader(readers...)), of: text.lines.n, little: 50}
}

func (p *pacer) feed(n int64) {
	p.t.Helper()
	for ; n > 0 && p.lines.Scan(); n-- {
		fmt.Fprintf(p.w, "%s\n", p.lines.Bytes()) // Flush tells
		p.fed++
	}
	if err := p.w.Flush(); err != nil {
		p.t.Fatalf("feed: %v", err)
	}
}

// upTo feeds up to a part of the text.
func (p *pacer) upTo(part float64) { p.feed(int64(part*float64(p.of)) - p.fed) }

// until feeds a little at each look at a condition, each 10 ms, and a line now and then when
// most of the text is gone: it lasts for as long as is waited.
func (p *pacer) until(what string, cond func() bool, alive ...*process) {
	p.t.Helper()
	until(p.t, what, patience, func() bool {
		switch p.looks++; {
		case p.fed < p.of/2:
			p.feed(p.little)
		case p.fed < p.of*9/10 && p.looks%5 == 0:
			p.feed(1)
		}
		return cond()
	}, alive...)
}

// neverDown reads the output topic in order: per word the counts only grow, and end
// with those wanted.
func (c *cluster) neverDown(t *testing.T, want map[string]int64) {
	t.Helper()
	last := map[string]int64{}
	where := map[string]int32{}
	down := 0
	c.read(t, Counts.Name(), func(r *kgo.Record) {
		n, err := Counts.ValueSerde().Decode(r.Value)
		if err != nil {
			t.Fatalf("%s-%d, offset %d: %v", r.Topic, r.Partition, r.Offset, err)
		}
		word := string(r.Key)
		if p, ok := where[word]; ok && p != r.Partition {
			t.Fatalf("word %q is in partitions %d and %d of the output", word, p, r.Partition)
		}
		if n < last[word] {
			if down++; down <= 10 {
				t.Errorf("partition %d, offset %d: count of %q goes down from %d to %d", r.Partition, r.Offset, word, last[word], n)
			}
		}
		last[word], where[word] = n, r.Partition
	})
	if down > 0 {
		t.Errorf("counts go down %d times", down)
	}
	sameCounts(t, "the output's last", last, want)
}
