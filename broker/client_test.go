// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/vfs"
)

// newKgo is a client of b over TCP, or if the broker has none in the process.
func newKgo(t testing.TB, b *broker.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	all := []kgo.Opt{kgo.SeedBrokers(b.Bootstrap()...)}
	if b.ListenAddr() == "millrace.invalid:9092" {
		all = append(all, kgo.Dialer(b.Dial))
	}
	cl, err := kgo.NewClient(append(all, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// take polls until it has n values, and returns them sorted.
func take(ctx context.Context, t testing.TB, cl *kgo.Client, n int) []string {
	t.Helper()
	var got []string
	for len(got) < n {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("poll after %d of %d records: %v", len(got), n, err)
		}
		fs.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	slices.Sort(got)
	return got
}

func records(topic string, values []string) []*kgo.Record {
	var all []*kgo.Record
	for _, v := range values {
		all = append(all, &kgo.Record{Topic: topic, Key: []byte(v), Value: []byte(v)})
	}
	return all
}

// franz-go produces with an idempotent producer, consumes in a group, leaves,
// and goes on where it was.
func produceAndConsume(ctx context.Context, t *testing.T, b *broker.Broker, codec kgo.CompressionCodec) {
	admin := kadm.NewClient(newKgo(t, b))
	if _, err := admin.CreateTopic(ctx, 4, 1, nil, "t"); err != nil {
		t.Fatalf("create: %v", err)
	}
	producer := newKgo(t, b, kgo.ProducerBatchCompression(codec))
	first, second := numbered("first", 500), numbered("second", 500)
	if err := producer.ProduceSync(ctx, records("t", first)...).FirstErr(); err != nil {
		t.Fatalf("produce: %v", err)
	}
	consumer := func() *kgo.Client {
		return newKgo(t, b, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	}
	one := consumer()
	if got := take(ctx, t, one, 500); !cmp.Equal(got, sorted(first)) {
		t.Errorf("first consumer: %s", cmp.Diff(sorted(first), got))
	}
	if err := one.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatalf("commit: %v", err)
	}
	described, err := admin.DescribeGroups(ctx, "g")
	if g := described["g"]; err != nil || g.State != "Stable" || len(g.Members) != 1 {
		t.Errorf("group: %+v, %v", described["g"], err)
	}
	one.Close()
	if err := producer.ProduceSync(ctx, records("t", second)...).FirstErr(); err != nil {
		t.Fatalf("produce: %v", err)
	}
	two := consumer()
	if got := take(ctx, t, two, 500); !cmp.Equal(got, sorted(second)) {
		t.Errorf("second consumer: %s", cmp.Diff(sorted(second), got))
	}
	two.Close()
	lags, err := admin.Lag(ctx, "g")
	if err != nil || lags["g"].Lag.Total() != 500 { // two has committed nothing
		t.Errorf("lag %d, %v, want 500", lags["g"].Lag.Total(), err)
	}
}

func sorted(all []string) []string {
	all = slices.Clone(all)
	slices.Sort(all)
	return all
}

func TestFranzGo(t *testing.T) {
	t.Run("over TCP on disk", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		produceAndConsume(ctx, t, open(t, broker.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"}), kgo.ZstdCompression())
	})
	t.Run("in the process in memory", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		produceAndConsume(ctx, t, open(t, broker.Config{Flush: broker.FlushPolicy{Mode: broker.FlushBatch}}), kgo.SnappyCompression())
	})
	t.Run("in a bubble of virtual time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			// kgo's zstd decoders end in a finalizer, outside the bubble.
			b := open(t, broker.Config{GroupInitialRebalanceDelay: 3 * time.Second})
			produceAndConsume(t.Context(), t, b, kgo.NoCompression())
		})
	})
}

func TestGroupsSurviveARestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cfg := broker.Config{FS: vfs.NewMem(), Dir: "/d"}
	b := open(t, cfg)
	mustCreate(dial(t, b), "t", 2)
	admin := kadm.NewClient(newKgo(t, b))
	var offsets kadm.Offsets
	offsets.AddOffset("t", 0, 17, 0)
	offsets.AddOffset("t", 1, 4, 0)
	if err := admin.CommitAllOffsets(ctx, "g", offsets); err != nil {
		t.Fatalf("commit: %v", err)
	}
	admin.Close()
	b.Close()

	b = open(t, cfg)
	admin = kadm.NewClient(newKgo(t, b))
	got, err := admin.FetchOffsets(ctx, "g")
	if err != nil {
		t.Fatalf("fetch offsets: %v", err)
	}
	if p0, _ := got.Lookup("t", 0); p0.At != 17 {
		t.Errorf("partition 0 is committed at %d, want 17", p0.At)
	}
	if p1, _ := got.Lookup("t", 1); p1.At != 4 {
		t.Errorf("partition 1 is committed at %d, want 4", p1.At)
	}
	// Offsets of a topic that is deleted go with it.
	if code := deleteTopic(dial(t, b), "t"); code != 0 {
		t.Fatalf("delete: code %d", code)
	}
	got, err = admin.FetchOffsets(ctx, "g")
	if _, there := got.Lookup("t", 0); err != nil || there {
		t.Errorf("after the topic's deletion: %v, %v", got, err)
	}
}

func TestAdministration(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b := open(t, broker.Config{MessageMaxBytes: 500_000})
	admin := kadm.NewClient(newKgo(t, b))
	retention, policy := "123456", "compact,delete"
	if _, err := admin.CreateTopic(ctx, 1, 1, map[string]*string{"retention.ms": &retention, "cleanup.policy": &policy}, "t"); err != nil {
		t.Fatal(err)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	rc, err := configs.On("t", nil)
	if err != nil || rc.Err != nil {
		t.Fatalf("describe configs: %v, %v", err, rc.Err)
	}
	want := map[string]string{
		"retention.ms": "123456 DYNAMIC_TOPIC_CONFIG", "cleanup.policy": "compact,delete DYNAMIC_TOPIC_CONFIG",
		"max.message.bytes": "500000 STATIC_BROKER_CONFIG", "min.insync.replicas": "1 DEFAULT_CONFIG",
		"message.timestamp.type": "CreateTime DEFAULT_CONFIG", "segment.bytes": "1073741824 DEFAULT_CONFIG",
	}
	for _, c := range rc.Configs {
		if w, ok := want[c.Key]; ok {
			if got := *c.Value + " " + c.Source.String(); got != w {
				t.Errorf("%s = %s, want %s", c.Key, got, w)
			}
			delete(want, c.Key)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing configs: %v", want)
	}
	brokers, err := admin.DescribeBrokerConfigs(ctx, 1)
	if err != nil || len(brokers) != 1 || brokers[0].Err != nil || len(brokers[0].Configs) < 20 {
		t.Errorf("broker configs: %+v, %v", brokers, err)
	}
	if meta, err := admin.BrokerMetadata(ctx); err != nil || len(meta.Brokers) != 1 || meta.Controller != 1 {
		t.Errorf("brokers: %+v, %v", meta, err)
	}

	producer := newKgo(t, b)
	for i, v := range numbered("v", 5) {
		r := &kgo.Record{Topic: "t", Key: []byte(v), Value: []byte(v), Timestamp: time.UnixMilli(int64(1000 * (i + 1)))}
		if err := producer.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	offsets := func(what string, got kadm.ListedOffsets, err error, want int64) {
		t.Helper()
		if o, _ := got.Lookup("t", 0); err != nil || o.Err != nil || o.Offset != want {
			t.Errorf("%s offset %d, %v, %v; want %d", what, o.Offset, err, o.Err, want)
		}
	}
	var upTo kadm.Offsets
	upTo.AddOffset("t", 0, 2, -1)
	if resp, err := admin.DeleteRecords(ctx, upTo); err != nil || resp.Error() != nil {
		t.Errorf("delete records: %v, %v", err, resp.Error())
	}
	got, err := admin.ListStartOffsets(ctx, "t")
	offsets("start", got, err, 2)
	got, err = admin.ListEndOffsets(ctx, "t")
	offsets("end", got, err, 5)
	got, err = admin.ListOffsetsAfterMilli(ctx, 3500, "t")
	offsets("by time", got, err, 3)
	got, err = admin.ListMaxTimestampOffsets(ctx, "t")
	offsets("max timestamp", got, err, 4)

	err = producer.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("no key")}).FirstErr()
	if err == nil || !strings.Contains(err.Error(), "INVALID_RECORD") {
		t.Errorf("a record without a key in a compacted topic: %v", err)
	}
}

// kcat (librdkafka) writes with each codec and reads it back.
func TestKcat(t *testing.T) {
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		t.Skip("kcat is not installed: apt-get install kcat")
	}
	b := open(t, broker.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", AutoCreateTopics: true})
	run := func(stdin string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, kcat, append([]string{"-b", b.Addr()}, args...)...)
		var stderr bytes.Buffer
		cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("kcat %q: %v\n%s", args, err, &stderr)
		}
		return string(out)
	}
	input := strings.Join(numbered("a value that compresses well, a value that compresses well", 300), "\n") + "\n"
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			topic := "kcat-" + codec
			run(input, "-P", "-t", topic, "-z", codec)
			if got := run("", "-C", "-t", topic, "-o", "beginning", "-e", "-q"); got != input {
				t.Errorf("read %d bytes, wrote %d", len(got), len(input))
			}
			data := batchesOf(t, b, topic)
			if want := slices.Index([]string{"none", "gzip", "snappy", "lz4", "zstd"}, codec); int(data[22]&7) != want {
				t.Errorf("stored with codec %d, want %d", data[22]&7, want)
			}
		})
	}
	if got := run("", "-L"); !strings.Contains(got, fmt.Sprintf("broker 1 at %s", b.Addr())) || !strings.Contains(got, `topic "kcat-zstd" with 1 partitions`) {
		t.Errorf("kcat -L:\n%s", got)
	}
}

func batchesOf(t *testing.T, b *broker.Broker, topic string) []byte {
	t.Helper()
	p := fetch(dial(t, b), topic, 0)
	if len(p.RecordBatches) < 61 {
		t.Fatalf("fetch %s: code %d, %d bytes", topic, p.ErrorCode, len(p.RecordBatches))
	}
	return p.RecordBatches
}

// The coordinator keeps what a member sent in a buffer that the next request
// overwrites.
func TestGroupsKeepCopies(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	awaitGroups(c)
	join := withVersion(kmsg.NewPtrJoinGroupRequest(), 3) // before member ids had to be asked for
	join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = "g", "test", 10_000, 10_000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "p", Metadata: []byte("metadata of a member")}}
	joined := do[*kmsg.JoinGroupResponse](c, join)
	if joined.ErrorCode != 0 {
		t.Fatalf("join: code %d", joined.ErrorCode)
	}
	sync := withVersion(kmsg.NewPtrSyncGroupRequest(), 2)
	sync.Group, sync.MemberID, sync.Generation = "g", joined.MemberID, joined.Generation
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: []byte("assignment of a member")}}
	if resp := do[*kmsg.SyncGroupResponse](c, sync); resp.ErrorCode != 0 {
		t.Fatalf("sync: code %d", resp.ErrorCode)
	}
	for range 10 {
		metadataOf(c, 9, strings.Repeat("x", 200))
	}
	describe := withVersion(kmsg.NewPtrDescribeGroupsRequest(), 4)
	describe.Groups = []string{"g"}
	m := do[*kmsg.DescribeGroupsResponse](c, describe).Groups[0].Members[0]
	if string(m.ProtocolMetadata) != "metadata of a member" || string(m.MemberAssignment) != "assignment of a member" {
		t.Errorf("the member has metadata %q, assignment %q", m.ProtocolMetadata, m.MemberAssignment)
	}
}
