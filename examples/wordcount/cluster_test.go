// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/broker"
)

const (
	group     = "wordcount"
	changelog = "wordcount-counts-changelog"
)

// A cluster is what a test sees of brokers, by a client that is not the program's.
type cluster struct {
	opts   []kgo.Opt
	client *kgo.Client
	admin  *kadm.Client
}

func connect(t *testing.T, opts ...kgo.Opt) *cluster {
	t.Helper()
	client, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{opts, client, kadm.NewClient(client)}
}

// reach connects to a broker by its address, until the test ends.
func reach(t *testing.T, addr string) *cluster {
	t.Helper()
	// A topic that was looked for before it was made would be unknown for 5 s.
	c := connect(t, kgo.SeedBrokers(addr), kgo.MetadataMinAge(20*time.Millisecond))
	t.Cleanup(c.client.Close)
	return c
}

// inspect runs the broker alone on a data directory that no process uses, for a
// look at what is in it.
func inspect(t *testing.T, data string, look func(c *cluster)) {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Config{Dir: filepath.Join(data, "broker"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("open the broker on the data left behind: %v", err)
	}
	c := connect(t, kgo.SeedBrokers(b.Bootstrap()...), kgo.Dialer(b.Dial))
	look(c)
	c.client.Close()
	if err := b.Close(); err != nil {
		t.Fatalf("close the broker: %v", err)
	}
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// committed are the offsets that the group has committed.
func (c *cluster) committed(t *testing.T) offsets {
	t.Helper()
	all, err := c.admin.FetchOffsets(bounded(t), group)
	if err != nil {
		t.Fatalf("fetch the committed offsets: %v", err)
	}
	o := offsets{}
	all.Each(func(r kadm.OffsetResponse) {
		if r.Err != nil {
			t.Fatalf("committed offset of %s-%d: %v", r.Topic, r.Partition, r.Err)
		}
		o[part{r.Topic, r.Partition}] = r.At
	})
	return o
}

func (c *cluster) ends(t *testing.T, topics ...string) offsets {
	t.Helper()
	listed, err := c.admin.ListEndOffsets(bounded(t), topics...)
	return c.listed(t, listed, err)
}

func (c *cluster) starts(t *testing.T, topics ...string) offsets {
	t.Helper()
	listed, err := c.admin.ListStartOffsets(bounded(t), topics...)
	return c.listed(t, listed, err)
}

func (c *cluster) listed(t *testing.T, listed kadm.ListedOffsets, err error) offsets {
	t.Helper()
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		t.Fatalf("list offsets: %v", err)
	}
	o := offsets{}
	listed.Each(func(l kadm.ListedOffset) { o[part{l.Topic, l.Partition}] = l.Offset })
	return o
}

// read calls each with all records of a topic, in order in each partition.
func (c *cluster) read(t *testing.T, topic string, each func(*kgo.Record)) {
	t.Helper()
	starts, ends := c.starts(t, topic), c.ends(t, topic)
	from := map[int32]kgo.Offset{}
	for p, end := range ends {
		if starts[p] < end {
			from[p.num] = kgo.NewOffset().At(starts[p])
		}
	}
	client, err := kgo.NewClient(append(c.opts,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.KeepControlRecords(), // so that the last offset is seen, whatever it is
	)...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := bounded(t)
	for len(from) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %s: %v", topic, err)
		}
		for r := range fetches.RecordsAll() {
			end := ends[part{topic, r.Partition}]
			if r.Offset < end && !r.Attrs.IsControl() {
				each(r)
			}
			if r.Offset >= end-1 {
				delete(from, r.Partition)
			}
		}
	}
}

// A linesIndex is what is in the lines topic: the lines, and for each partition
// and offset how many words are in the lines before it.
type linesIndex struct {
	lines  bag
	before map[int32][]int64
}

func (c *cluster) indexLines(t *testing.T) linesIndex {
	t.Helper()
	x := linesIndex{before: map[int32][]int64{}}
	c.read(t, Lines.Name(), func(r *kgo.Record) {
		x.lines.add(r.Value)
		sums := x.before[r.Partition]
		if sums == nil {
			sums = []int64{0}
		}
		if int64(len(sums)-1) != r.Offset {
			t.Fatalf("lines, partition %d: offset %d comes after %d others", r.Partition, r.Offset, len(sums)-1)
		}
		n := sums[len(sums)-1]
		for range words(string(r.Value)) {
			n++
		}
		x.before[r.Partition] = append(sums, n)
	})
	return x
}

// words counts the words in a partition's lines from one offset up to another.
func (x linesIndex) words(num int32, from, to int64) int64 {
	sums := x.before[num]
	if len(sums) == 0 {
		return 0
	}
	last := int64(len(sums) - 1)
	from = min(max(from, 0), last)
	return sums[min(max(to, from), last)] - sums[from]
}

// clean removes what earlier tests have left on a cluster that tests share.
func (c *cluster) clean(t *testing.T) {
	t.Helper()
	topics := []string{Lines.Name(), Counts.Name(), filesTopic, wordsTopic, changelog}
	until(t, "the group is gone", patience, func() bool {
		_, err := c.admin.DeleteGroup(bounded(t), group)
		return err == nil || errors.Is(err, kerr.GroupIDNotFound)
	})
	if _, err := c.admin.DeleteTopics(bounded(t), topics...); err != nil {
		t.Fatal(err)
	}
	until(t, "the topics are gone", patience, func() bool {
		left, err := c.admin.ListTopics(bounded(t), topics...)
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range left {
			if topic.Err == nil {
				return false
			}
		}
		return true
	})
}
