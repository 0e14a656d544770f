// SPDX-License-Identifier: Apache-2.0

package millrace_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
)

// TestSourcesBeginWhereTheySay reads a topic that has records, with a partitioner on the
// way out, over the protocol.
func TestSourcesBeginWhereTheySay(t *testing.T) {
	for name, tt := range map[string]struct {
		option kstream.SourceOption
		want   string
	}{
		"at the start": {kstream.Earliest(), "old new next"},
		"at the end":   {kstream.Latest(), "next"},
		"an hour ago":  {kstream.Since(time.Hour), "new next"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			quiet := slog.New(slog.DiscardHandler)
			b, err := broker.Open(ctx, broker.Config{Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			client, err := kgo.NewClient(kgo.SeedBrokers(b.Bootstrap()...), kgo.Dialer(b.Dial), kgo.ConsumeTopics("out"))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := kadm.NewClient(client).CreateTopics(ctx, 3, -1, nil, "out"); err != nil {
				t.Fatal(err)
			}
			if _, err := kadm.NewClient(client).CreateTopics(ctx, 1, -1, nil, "in"); err != nil {
				t.Fatal(err)
			}
			put := func(value string, ago time.Duration) {
				r := &kgo.Record{Topic: "in", Key: []byte("k"), Value: []byte(value), Timestamp: time.Now().Add(-ago)}
				if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			put("old", 2*time.Hour)
			put("new", 30*time.Minute)
			top := processor.NewTopology("begin")
			kstream.From(top, topic.Of[string, string]("in"), tt.option).
				To(topic.Of[string, string]("out"), kstream.PartitionBy(func(string, string, int32) int32 { return 2 }))
			in, err := millrace.Start(ctx, top, millrace.Config{
				Brokers: b.Bootstrap(), Engine: processor.Config{Dial: b.Dial, Logger: quiet, CommitInterval: 100 * time.Millisecond},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := in.Close(context.Background()); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			var got []string
			for len(got) == 0 || got[len(got)-1] != "next" {
				put("next", 0) // again, if the source has begun after it
				poll, stop := context.WithTimeout(ctx, time.Second)
				fetches := client.PollFetches(poll)
				stop()
				if err := errors.Join(ctx.Err(), in.App.Err()); err != nil {
					t.Fatalf("after %v: %v", got, err)
				}
				for r := range fetches.RecordsAll() {
					if r.Partition != 2 {
						t.Errorf("%q is in partition %d, want 2", r.Value, r.Partition)
					}
					if len(got) == 0 || got[len(got)-1] != "next" {
						got = append(got, string(r.Value))
					}
				}
			}
			if text := strings.Join(got, " "); text != tt.want {
				t.Errorf("read %q, want %q", text, tt.want)
			}
		})
	}
}
