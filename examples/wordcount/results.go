// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace"
)

// A count is a word and how often it was seen.
type count struct {
	word string
	n    int64
}

// results follows the topic of the counts from its start.
type results struct {
	client *kgo.Client

	mu     sync.Mutex
	counts map[string]int64
	sum    int64
	next   map[int32]int64 // offsets, by partition
}

func newResults(i *millrace.Instance) (*results, error) {
	client, err := i.NewClient(
		kgo.ConsumeTopics(Counts.Name()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return nil, err
	}
	return &results{client: client, counts: map[string]int64{}, next: map[int32]int64{}}, nil
}

func (r *results) close() { r.client.Close() }

// run reads until ctx ends.
func (r *results) run(ctx context.Context) error {
	for {
		fetches := r.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read the counts: %w", err)
		}
		if err := r.take(fetches); err != nil {
			return err
		}
	}
}

func (r *results) take(fetches kgo.Fetches) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for rec := range fetches.RecordsAll() {
		n, err := Counts.ValueSerde().Decode(rec.Value)
		if err != nil {
			return fmt.Errorf("%s, partition %d, offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
		}
		word := string(rec.Key)
		r.sum += n - r.counts[word]
		r.counts[word] = n
		r.next[rec.Partition] = rec.Offset + 1
	}
	return nil
}

// caughtUp gives a check that all that is in the topic now has been read.
func (r *results) caughtUp(client *kgo.Client) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		ends, err := kadm.NewClient(client).ListEndOffsets(ctx, Counts.Name())
		if err := cmp.Or(err, ends.Error()); err != nil {
			return false, unlessAway(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		caught := true
		ends.Each(func(end kadm.ListedOffset) {
			caught = caught && r.next[end.Partition] >= end.Offset
		})
		return caught, nil
	}
}

// top gives the n most frequent words, the number of words and of different ones.
func (r *results) top(n int) ([]count, int64, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var best []count
	for word, seen := range r.counts {
		c := count{word, seen}
		if len(best) == n && order(c, best[n-1]) > 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, c, order)
		best = slices.Insert(best, at, c)
		best = best[:min(len(best), n)]
	}
	return best, r.sum, len(r.counts)
}

// order puts the more frequent word first.
func order(a, b count) int {
	return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.word, b.word))
}

// writeTo writes all counts to a file, sorted by word: "count word" a line.
func (r *results) writeTo(path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	words := make([]string, 0, len(r.counts))
	for word := range r.counts {
		words = append(words, word)
	}
	slices.Sort(words)
	for _, word := range words {
		fmt.Fprintf(w, "%d %s\n", r.counts[word], word)
	}
	return errors.Join(w.Flush(), f.Close())
}

// unlessAway drops the errors that pass, as of brokers that cannot be reached: who
// asks asks again.
func unlessAway(err error) error {
	if kgo.IsRetryableBrokerErr(err) || kerr.IsRetriable(err) {
		return nil
	}
	return err
}

// committed tells whether the group has committed its way to the present end of
// a topic.
func (w *work) committed(ctx context.Context, topic string) (bool, error) {
	admin := kadm.NewClient(w.feeder.client)
	offsets, err := admin.FetchOffsets(ctx, "wordcount")
	if err != nil {
		return false, unlessAway(err)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err := cmp.Or(err, ends.Error()); err != nil {
		return false, unlessAway(err)
	}
	done := true
	ends.Each(func(end kadm.ListedOffset) {
		at, ok := offsets.Lookup(topic, end.Partition)
		done = done && (end.Offset == 0 || ok && at.At >= end.Offset)
	})
	return done, nil
}

func (w *work) writeOut() error {
	if w.out == "" {
		return nil
	}
	return w.results.writeTo(w.out)
}
