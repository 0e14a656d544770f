// SPDX-License-Identifier: Apache-2.0

// Package live runs the topology of an example on a bundled broker in the process of a
// test, with one partition a topic, so that what comes out can be told exactly.
package live

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
)

// patience bounds what takes a second on an idle machine.
const patience = 2 * time.Minute

// A Run is a topology that runs until the test ends.
type Run struct {
	t  testing.TB
	in *millrace.Instance
}

// Start starts t's topology, all in memory.
func Start(t testing.TB, top *processor.Topology) *Run {
	t.Helper()
	in, err := millrace.Start(t.Context(), top, millrace.Config{
		Partitions: 1,
		Engine:     processor.Config{CommitInterval: 100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)},
	})
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := in.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &Run{t, in}
}

func (r *Run) client(options ...kgo.Opt) *kgo.Client {
	r.t.Helper()
	client, err := r.in.NewClient(options...)
	if err != nil {
		r.t.Fatal(err)
	}
	return client
}

// Send writes records to a topic, in order.
func (r *Run) Send[K, V any](to topic.Topic[K, V], records ...processor.Record[K, V]) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	client := r.client()
	defer client.Close()
	keys, values := to.KeySerde(), to.ValueSerde()
	for _, rec := range records {
		key, err := keys.Encode(rec.Key)
		if err != nil {
			r.t.Fatal(err)
		}
		value, err := values.Encode(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		out := &kgo.Record{Topic: to.Name(), Key: key, Value: value, Timestamp: time.UnixMilli(rec.Timestamp)}
		if err := client.ProduceSync(ctx, out).FirstErr(); err != nil {
			r.t.Fatalf("send to %s: %v", to.Name(), err)
		}
	}
}

// Read waits for the first n records of a topic.
func (r *Run) Read[K, V any](from topic.Topic[K, V], n int) []processor.Record[K, V] {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	client := r.client(kgo.ConsumeTopics(from.Name()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	keys, values := from.KeySerde(), from.ValueSerde()
	var got []processor.Record[K, V]
	for len(got) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			r.t.Fatalf("read %s: %v, after %d of %d records: %v", from.Name(), err, len(got), n, got)
		}
		for rec := range fetches.RecordsAll() {
			key, err := keys.Decode(rec.Key)
			if err != nil {
				r.t.Fatal(err)
			}
			value, err := values.Decode(rec.Value)
			if err != nil {
				r.t.Fatal(err)
			}
			got = append(got, processor.Record[K, V]{Key: key, Value: value, Timestamp: rec.Timestamp.UnixMilli()})
		}
	}
	return got
}
