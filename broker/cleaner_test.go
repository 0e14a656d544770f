// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// hearing is a log handler that sends the messages that begin with one of its
// prefixes, and drops what nobody takes.
type hearing struct {
	slog.Handler
	prefix string
	ch     chan string // of 1: a test waits for the next
}

func newHearing(prefix string) *hearing {
	return &hearing{slog.DiscardHandler, prefix, make(chan string, 1)}
}

func (h *hearing) Enabled(context.Context, slog.Level) bool { return true }
func (h *hearing) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *hearing) WithGroup(string) slog.Handler            { return h }
func (h *hearing) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, h.prefix) {
		select {
		case h.ch <- r.Message:
		default:
		}
	}
	return nil
}

// produceKeyed appends a batch of one record of about 100 KB.
func produceKeyed(c *client, topic, key string, n int) {
	c.t.Helper()
	value := []byte(fmt.Sprintf("%d/%s", n, strings.Repeat("v", 100_000)))
	b := seglog.BuildBatch([]seglog.Record{{Timestamp: time.Now().UnixMilli(), Key: []byte(key), Value: value}})
	if p := produce(c, -1, topic, 0, b); p.ErrorCode != 0 {
		c.t.Fatalf("produce to %q: code %d, %s", topic, p.ErrorCode, deref(p.ErrorMessage))
	}
}

// latest reads a topic to its high watermark: of each key the number of its last
// value, and how many records there are.
func latest(c *client, topic string, end int64) (map[string]int, int) {
	c.t.Helper()
	last, count := map[string]int{}, 0
	for at := int64(0); at < end; {
		p := fetch(c, topic, at)
		if p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
			c.t.Fatalf("fetch %q at %d: code %d, %d bytes", topic, at, p.ErrorCode, len(p.RecordBatches))
		}
		for data := p.RecordBatches; len(data) > 0; {
			h, err := seglog.ParseHeader(data)
			if err != nil {
				c.t.Fatal(err)
			}
			err = seglog.EachRecord(data[:h.Length], func(r seglog.Record) error {
				n := 0
				_, _ = fmt.Sscanf(string(r.Value[:10]), "%d/", &n)
				last[string(r.Key)], count = n, count+1
				return nil
			})
			if err != nil {
				c.t.Fatal(err)
			}
			data, at = data[h.Length:], h.NextOffset()
		}
	}
	return last, count
}

// TestCompactedTopic produces the same keys again and again until the broker has
// compacted them.
func TestCompactedTopic(t *testing.T) {
	heard := newHearing("compacted")
	cfg := broker.Config{FS: vfs.NewMem(), Dir: "/data", CleanerBackoff: 10 * time.Millisecond, Logger: slog.New(heard)}
	b := open(t, cfg)
	c := dial(t, b)
	mustCreate(c, "state", 1, "cleanup.policy", "compact", "segment.bytes", "1048576", "min.cleanable.dirty.ratio", "0.1", "file.delete.delay.ms", "0")
	n := 0
	want := map[string]int{}
	for range 2 {
		select {
		case <-heard.ch:
		default:
		}
		for range 30 { // three segments
			key := fmt.Sprintf("k%d", n%7)
			produceKeyed(c, "state", key, n)
			want[key] = n
			n++
		}
		within(t, "a compaction", func() { <-heard.ch })
	}
	check := func(c *client) {
		t.Helper()
		got, count := latest(c, "state", int64(n))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("last values: %s", diff)
		}
		if count >= n {
			t.Errorf("%d records are left of %d", count, n)
		}
	}
	check(c)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Logger = quiet
	check(dial(t, open(t, cfg)))
}

// TestRetentionOfTopics lets topics grow over what their configs allow.
func TestRetentionOfTopics(t *testing.T) {
	for name, configs := range map[string][]string{
		"bytes": {"retention.bytes", "1048576"},
		"time":  {"retention.ms", "1"},
		"both":  {"cleanup.policy", "compact,delete", "retention.bytes", "1048576", "min.cleanable.dirty.ratio", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			heard := newHearing("segments removed")
			b := open(t, broker.Config{RetentionCheckInterval: 10 * time.Millisecond, Logger: slog.New(heard)})
			c := dial(t, b)
			mustCreate(c, "log", 1, append(configs, "segment.bytes", "1048576")...)
			mustCreate(c, "kept", 1, "cleanup.policy", "compact", "retention.bytes", "1048576", "segment.bytes", "1048576")
			n := 0
			for ; n < 40; n++ {
				produceKeyed(c, "log", fmt.Sprint(n), n)
				produceKeyed(c, "kept", fmt.Sprint(n), n)
			}
			within(t, "retention", func() { <-heard.ch })
			if p := fetch(c, "log", 0); p.ErrorCode == 0 {
				t.Errorf("the first record is still there: log start offset %d", p.LogStartOffset)
			}
			if end := b.LogEndOffset("log", 0); end != int64(n) {
				t.Errorf("the log ends at %d, want %d", end, n)
			}
			if p := fetch(c, "kept", 0); p.ErrorCode != 0 || p.LogStartOffset != 0 {
				t.Errorf("a compacted topic has lost its first record: code %d, log start offset %d", p.ErrorCode, p.LogStartOffset)
			}
		})
	}
}

// TestCleanerConfigs compares what is told of the cleaner with the Config.
func TestCleanerConfigs(t *testing.T) {
	b := open(t, broker.Config{CleanerBackoff: time.Minute, CleanerMapBytes: 1 << 20, CleanerBytesPerSecond: 5000, RetentionCheckInterval: time.Hour})
	c := dial(t, b)
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version = 4
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
	req.Resources = append(req.Resources, r)
	got := map[string]string{}
	for _, e := range do[*kmsg.DescribeConfigsResponse](c, req).Resources[0].Configs {
		if strings.HasPrefix(e.Name, "log.cleaner.") && e.ReadOnly || e.Name == "log.retention.check.interval.ms" {
			got[e.Name] = deref(e.Value)
		}
	}
	want := map[string]string{
		"log.cleaner.backoff.ms": "60000", "log.cleaner.dedupe.buffer.size": "1048576", "log.cleaner.enable": "true",
		"log.cleaner.io.max.bytes.per.second": "5000", "log.cleaner.threads": "1", "log.retention.check.interval.ms": "3600000",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
