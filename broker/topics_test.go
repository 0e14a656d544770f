// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/vfs"
)

func metadataOf(c *client, version int16, names ...string) *kmsg.MetadataResponse {
	c.t.Helper()
	req := withVersion(kmsg.NewPtrMetadataRequest(), version)
	req.AllowAutoTopicCreation = true
	for i := range names {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &names[i]
		req.Topics = append(req.Topics, rt)
	}
	return do[*kmsg.MetadataResponse](c, req)
}

func deleteTopic(c *client, name string) int16 {
	c.t.Helper()
	req := withVersion(kmsg.NewPtrDeleteTopicsRequest(), 5)
	req.TopicNames = []string{name}
	return do[*kmsg.DeleteTopicsResponse](c, req).Topics[0].ErrorCode
}

// summary has a line for each topic that is not internal.
func summary(resp *kmsg.MetadataResponse) []string {
	all := []string{}
	for _, t := range resp.Topics {
		if !t.IsInternal {
			all = append(all, fmt.Sprintf("%s x%d code %d", deref(t.Topic), len(t.Partitions), t.ErrorCode))
		}
	}
	return all
}

func TestMetadata(t *testing.T) {
	b := open(t, broker.Config{NumPartitions: 3})
	c := dial(t, b)
	mustCreate(c, "one", 1)
	id := mustCreate(c, "many", -1)
	for v := int16(0); v <= 13; v++ {
		resp := metadataOf(c, v, "one", "many", "none", "bad name")
		want := []string{"one x1 code 0", "many x3 code 0", "none x0 code 3", "bad name x0 code 17"}
		if got := summary(resp); !cmp.Equal(got, want) {
			t.Errorf("v%d: %q, want %q", v, got, want)
		}
		if br := resp.Brokers; len(br) != 1 || br[0].Host != "millrace.invalid" || br[0].Port != 9092 || v >= 1 && resp.ControllerID != br[0].NodeID {
			t.Errorf("v%d: brokers %+v, controller %d", v, br, resp.ControllerID)
		}
		p := resp.Topics[1].Partitions[2]
		if p.Partition != 2 || p.Leader != 1 || !cmp.Equal(p.Replicas, []int32{1}) || !cmp.Equal(p.ISR, []int32{1}) {
			t.Errorf("v%d: %+v", v, p)
		}
		if v >= 2 && len(deref(resp.ClusterID)) != 22 || v >= 10 && resp.Topics[1].TopicID != id {
			t.Errorf("v%d: cluster %q, id %x", v, deref(resp.ClusterID), resp.Topics[1].TopicID)
		}
	}

	null := metadataOf(c, 12)
	if got := len(null.Topics); got != 3 || !slices.ContainsFunc(null.Topics, func(t kmsg.MetadataResponseTopic) bool { return *t.Topic == "__consumer_offsets" && t.IsInternal }) {
		t.Errorf("null asks for all: %d topics", got)
	}
	none := withVersion(kmsg.NewPtrMetadataRequest(), 1)
	none.Topics = []kmsg.MetadataRequestTopic{}
	if resp := do[*kmsg.MetadataResponse](c, none); len(resp.Topics) != 0 {
		t.Errorf("an empty list asks for none: %q", summary(resp))
	}
	none.Version = 0
	if resp := do[*kmsg.MetadataResponse](c, none); len(resp.Topics) != 3 {
		t.Errorf("in v0 it asks for all: %q", summary(resp))
	}
	byID := withVersion(kmsg.NewPtrMetadataRequest(), 12)
	byID.Topics = []kmsg.MetadataRequestTopic{{TopicID: id}, {TopicID: topicID{7}}}
	if resp := do[*kmsg.MetadataResponse](c, byID); !cmp.Equal(summary(resp), []string{"many x3 code 0", " x0 code 100"}) {
		t.Errorf("by id: %q", summary(resp))
	}
}

func TestAutoCreation(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		b := open(t, broker.Config{AutoCreateTopics: allowed, NumPartitions: 2})
		c := dial(t, b)
		want := "t x0 code 3"
		if allowed {
			want = "t x2 code 0"
		}
		if got := summary(metadataOf(c, 3, "t")); got[0] != want {
			t.Errorf("auto creation %v: %q", allowed, got)
		}
		req := withVersion(kmsg.NewPtrMetadataRequest(), 4)
		req.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr("not-asked")}}
		if got := summary(do[*kmsg.MetadataResponse](c, req)); got[0] != "not-asked x0 code 3" {
			t.Errorf("the client did not allow it: %q", got)
		}
	}
}

func TestCreateTopicsRefuses(t *testing.T) {
	b := open(t, broker.Config{MaxPartitions: 20})
	c := dial(t, b)
	mustCreate(c, "there", 1)
	tests := []struct {
		name       string
		topic      string
		partitions int32
		configs    []string
		want       *kerr.Error
	}{
		{"a topic that exists", "there", 1, nil, kerr.TopicAlreadyExists},
		{"an empty name", "", 1, nil, kerr.InvalidTopicException},
		{"a name that climbs", "..", 1, nil, kerr.InvalidTopicException},
		{"a name with a slash", "a/b", 1, nil, kerr.InvalidTopicException},
		{"a name of 250 letters", strings.Repeat("x", 250), 1, nil, kerr.InvalidTopicException},
		{"no partitions", "t", 0, nil, kerr.InvalidPartitions},
		{"two billion partitions", "t", 1<<31 - 1, nil, kerr.InvalidPartitions},
		{"an unknown config", "t", 1, []string{"no.such.key", "1"}, kerr.InvalidConfig},
		{"a config without sense", "t", 1, []string{"segment.bytes", "many"}, kerr.InvalidConfig},
		{"a policy that is none", "t", 1, []string{"cleanup.policy", "delete,burn"}, kerr.InvalidConfig},
		{"a config of brokers", "t", 1, []string{"log.retention.ms", "1"}, kerr.InvalidConfig},
		{"lags that contradict each other", "t", 1, []string{"min.compaction.lag.ms", "2", "max.compaction.lag.ms", "1"}, kerr.InvalidConfig},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := create(c, tt.topic, tt.partitions, tt.configs...)
			if !isCode(at.ErrorCode, tt.want) {
				t.Errorf("code %d (%s), want %v", at.ErrorCode, deref(at.ErrorMessage), tt.want)
			}
		})
	}
	replicated := withVersion(kmsg.NewPtrCreateTopicsRequest(), 4)
	replicated.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "r", NumPartitions: 1, ReplicationFactor: 3}, {Topic: "d", NumPartitions: 1, ReplicationFactor: 1}, {Topic: "d", NumPartitions: 1, ReplicationFactor: 1}}
	resp := do[*kmsg.CreateTopicsResponse](c, replicated)
	if len(resp.Topics) != 2 || resp.Topics[0].ErrorCode != kerr.InvalidReplicationFactor.Code || resp.Topics[1].ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("three replicas, and a topic named twice: %+v", resp.Topics)
	}
	only := withVersion(kmsg.NewPtrCreateTopicsRequest(), 7)
	only.ValidateOnly = true
	only.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "v", NumPartitions: -1, ReplicationFactor: -1}}
	if at := do[*kmsg.CreateTopicsResponse](c, only).Topics[0]; at.ErrorCode != 0 || at.NumPartitions != 1 || at.Configs == nil {
		t.Errorf("validate only: %+v", at)
	}
	if got := summary(metadataOf(c, 9)); !cmp.Equal(got, []string{"there x1 code 0"}) {
		t.Errorf("afterwards there are %q", got)
	}
}

func TestCreatePartitions(t *testing.T) {
	mem := vfs.NewMem()
	cfg := broker.Config{FS: mem, Dir: "/d"}
	b := open(t, cfg)
	c := dial(t, b)
	mustCreate(c, "t", 2)
	ask := func(n int32) int16 {
		req := withVersion(kmsg.NewPtrCreatePartitionsRequest(), 3)
		req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "t", Count: n}}
		return do[*kmsg.CreatePartitionsResponse](c, req).Topics[0].ErrorCode
	}
	for _, tt := range []struct {
		n    int32
		want int16
	}{{2, kerr.InvalidPartitions.Code}, {1, kerr.InvalidPartitions.Code}, {1 << 30, kerr.InvalidPartitions.Code}, {4, 0}} {
		if got := ask(tt.n); got != tt.want {
			t.Errorf("%d partitions: code %d, want %d", tt.n, got, tt.want)
		}
	}
	if p := produce(c, -1, "t", 3, batch("x")); p.ErrorCode != 0 {
		t.Errorf("produce to the new partition: code %d", p.ErrorCode)
	}
	b.Close()
	if got := summary(metadataOf(dial(t, open(t, cfg)), 9)); !cmp.Equal(got, []string{"t x4 code 0"}) {
		t.Errorf("after a restart: %q", got)
	}
}

func TestRestart(t *testing.T) {
	for name, dir := range map[string]string{"disk": t.TempDir(), "memory": "/d"} {
		t.Run(name, func(t *testing.T) {
			cfg := broker.Config{Dir: filepath.Join(dir, "data")}
			if name == "memory" {
				cfg.FS = vfs.NewMem()
			}
			b := open(t, cfg)
			c := dial(t, b)
			id := mustCreate(c, "kept", 2, "retention.ms", "1000")
			dropped := mustCreate(c, "dropped", 1)
			mustProduce(c, "kept", "a", "b")
			mustProduce(c, "dropped", "x")
			if code := deleteTopic(c, "dropped"); code != 0 {
				t.Fatalf("delete: code %d", code)
			}
			first := metadataOf(c, 12)
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}

			c = dial(t, open(t, cfg))
			again := metadataOf(c, 12)
			if *again.ClusterID != *first.ClusterID || !cmp.Equal(summary(again), []string{"kept x2 code 0"}) {
				t.Fatalf("cluster %s has %q, was %s", *again.ClusterID, summary(again), *first.ClusterID)
			}
			kept := again.Topics[1]
			if kept.TopicID != id || kept.Partitions[0].LeaderEpoch != 1 {
				t.Errorf("kept has id %x, leader epoch %d; want %x, 1", kept.TopicID, kept.Partitions[0].LeaderEpoch, id)
			}
			if got := mustProduce(c, "kept", "c"); got != 2 {
				t.Errorf("the next offset is %d, want 2", got)
			}
			if got := readAll(c, "kept"); !cmp.Equal(got, []string{"a", "b", "c"}) {
				t.Errorf("the log holds %q", got)
			}
			if v := configValue(c, "kept", "retention.ms"); v != "1000" {
				t.Errorf("retention.ms is %q", v)
			}
			old := fetchRequest("kept", 0)
			old.Topics[0].Partitions[0].CurrentLeaderEpoch = 0
			if p := do[*kmsg.FetchResponse](c, old).Topics[0].Partitions[0]; p.ErrorCode != kerr.FencedLeaderEpoch.Code {
				t.Errorf("fetch with the old leader epoch: code %d", p.ErrorCode)
			}
			old = withVersion(old, 16)
			old.Topics[0].TopicID = id
			hinted := do[*kmsg.FetchResponse](c, old)
			leader := hinted.Topics[0].Partitions[0].CurrentLeader
			if len(hinted.Brokers) != 1 || hinted.Brokers[0].NodeID != leader.LeaderID || hinted.Brokers[0].Port != again.Brokers[0].Port ||
				hinted.Brokers[0].Host != again.Brokers[0].Host || leader.LeaderID != again.Brokers[0].NodeID || leader.LeaderEpoch != 1 {
				t.Errorf("fetch with the old leader epoch: the leader is %+v, at %+v", leader, hinted.Brokers)
			}
			ends := withVersion(kmsg.NewPtrOffsetForLeaderEpochRequest(), 4)
			q := kmsg.OffsetForLeaderEpochRequestTopicPartition{CurrentLeaderEpoch: -1, LeaderEpoch: 0}
			ends.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "kept", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{q}}}
			if p := do[*kmsg.OffsetForLeaderEpochResponse](c, ends).Topics[0].Partitions[0]; p.LeaderEpoch != 0 || p.EndOffset != 2 {
				t.Errorf("epoch 0 ended at %d (epoch %d), want 2", p.EndOffset, p.LeaderEpoch)
			}
			if again := mustCreate(c, "dropped", 1); again == dropped {
				t.Errorf("topic id %x was used again", again)
			}
			if got := readAll(c, "dropped"); len(got) > 0 {
				t.Errorf("a deleted topic came back with %q", got)
			}
		})
	}
}

func configValue(c *client, topic, key string) string {
	c.t.Helper()
	req := withVersion(kmsg.NewPtrDescribeConfigsRequest(), 4)
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic, ConfigNames: []string{key}}}
	for _, cfg := range do[*kmsg.DescribeConfigsResponse](c, req).Resources[0].Configs {
		return deref(cfg.Value)
	}
	return ""
}

func TestDamagedOrMissingMetadataIsNotStartedOver(t *testing.T) {
	dir := t.TempDir()
	cfg := broker.Config{Dir: dir, Logger: quiet}
	b := open(t, cfg)
	mustCreate(dial(t, b), "t", 1)
	b.Close()
	name := filepath.Join(dir, "metadata")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	folders := func() int {
		all, _ := os.ReadDir(filepath.Join(dir, "topics"))
		return len(all)
	}
	before := folders()
	for what, change := range map[string]func() error{
		"a flipped bit": func() error {
			b := slices.Clone(good)
			b[len(b)-10] ^= 1
			return os.WriteFile(name, b, 0o644)
		},
		"half a file":   func() error { return os.WriteFile(name, good[:len(good)/2], 0o644) },
		"an empty file": func() error { return os.WriteFile(name, nil, 0o644) },
		"no file":       func() error { return os.Remove(name) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		b, err := broker.Open(context.Background(), cfg)
		if err == nil {
			b.Close()
			t.Fatalf("%s: the broker starts", what)
		}
		if !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: the error names no file: %v", what, err)
		}
		if folders() != before {
			t.Fatalf("%s: folders were removed", what)
		}
	}
	if err := os.WriteFile(name, good, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := summary(metadataOf(dial(t, open(t, cfg)), 9)); !cmp.Equal(got, []string{"t x1 code 0"}) {
		t.Errorf("with the right file: %q", got)
	}
}

func TestOneBrokerADirectory(t *testing.T) {
	for name, cfg := range map[string]broker.Config{"disk": {Dir: t.TempDir()}, "memory": {Dir: "/d", FS: vfs.NewMem()}} {
		cfg.Logger = quiet
		b := open(t, cfg)
		if second, err := broker.Open(context.Background(), cfg); !errors.Is(err, broker.ErrLocked) {
			t.Errorf("%s: a second broker: %v, %v", name, second, err)
		}
		b.Close()
		open(t, cfg)
	}
}

func TestFullDisk(t *testing.T) {
	full := make(chan bool, 1)
	full <- false
	isFull := func() bool {
		v := <-full
		full <- v
		return v
	}
	fsys := vfs.Faults(vfs.NewMem(), func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && isFull() {
			return syscall.ENOSPC
		}
		return nil
	})
	b := open(t, broker.Config{FS: fsys, Dir: "/d"})
	c := dial(t, b)
	mustCreate(c, "t", 1)
	mustProduce(c, "t", "before")
	<-full
	full <- true
	if p := produce(c, -1, "t", 0, batch("lost")); p.ErrorCode != kerr.KafkaStorageError.Code || p.BaseOffset != -1 {
		t.Errorf("produce to a full disk: code %d, offset %d", p.ErrorCode, p.BaseOffset)
	}
	if at := create(c, "u", 1); at.ErrorCode != kerr.KafkaStorageError.Code {
		t.Errorf("create a topic on a full disk: code %d", at.ErrorCode)
	}
	if got := readAll(c, "t"); !cmp.Equal(got, []string{"before"}) {
		t.Errorf("reads give %q", got)
	}
	<-full
	full <- false
	if at := create(c, "u", 1); at.ErrorCode != 0 {
		t.Errorf("create a topic once there is room: code %d, %s", at.ErrorCode, deref(at.ErrorMessage))
	}
	if p := produce(c, -1, "t", 0, batch("after")); p.ErrorCode != 0 || p.BaseOffset != 1 {
		t.Errorf("produce once there is room: code %d, offset %d", p.ErrorCode, p.BaseOffset)
	}
}

func FuzzMetadataFile(f *testing.F) {
	dir := f.TempDir()
	b := open(f, broker.Config{Dir: dir})
	mustCreate(dial(f, b), "t", 1, "retention.ms", "5")
	b.Close()
	good, err := os.ReadFile(filepath.Join(dir, "metadata"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("millrace-metadata 1 00000000 0\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		once, err := broker.MetadataFile(src)
		if err != nil {
			return
		}
		if twice, err := broker.MetadataFile(once); err != nil || string(once) != string(twice) {
			t.Fatalf("an accepted file does not survive a round trip: %v", err)
		}
	})
}

// Partitions are made some at a time; if one can't be, nothing of the topic stays.
func TestATopicOfWhichAPartitionFails(t *testing.T) {
	reg := prometheus.NewRegistry()
	var left atomic.Int64 // syncs that succeed
	left.Store(math.MaxInt64)
	fs := vfs.Faults(vfs.NewMem(), func(op vfs.Op) error {
		if op.Kind == vfs.OpSync && left.Add(-1) < 0 {
			return errors.New("disk on fire")
		}
		return nil
	})
	c := dial(t, open(t, broker.Config{FS: fs, Dir: "/d", Metrics: reg}))
	before := scrapeOf(t, reg).value("open_segment_files")
	left.Store(100)
	if at := create(c, "t", 300); at.ErrorCode != kerr.KafkaStorageError.Code {
		t.Errorf("code %d, want a storage error", at.ErrorCode)
	}
	left.Store(math.MaxInt64)
	if after := scrapeOf(t, reg).value("open_segment_files"); after != before {
		t.Errorf("%v segment files are open, were %v", after, before)
	}
	mustCreate(c, "t", 300)
	if n := len(metadataOf(c, 12).Topics[1].Partitions); n != 300 {
		t.Errorf("%d partitions", n)
	}
}
