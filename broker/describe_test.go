// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

func TestElectLeaders(t *testing.T) {
	c := dial(t, open(t, broker.Config{}))
	mustCreate(c, "t", 2)
	for v := int16(0); v <= 2; v++ {
		for kind, want := range map[int8]*kerr.Error{0: kerr.ElectionNotNeeded, 1: kerr.ElectionNotNeeded, 5: kerr.InvalidRequest} {
			if v == 0 && kind != 0 {
				continue
			}
			req := withVersion(kmsg.NewPtrElectLeadersRequest(), v)
			req.ElectionType = kind
			req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0, 1}}, {Topic: "t", Partitions: []int32{2, -1}}, {Topic: "u", Partitions: []int32{0}}}
			resp := do[*kmsg.ElectLeadersResponse](c, req)
			var got []int16
			for _, rt := range resp.Topics {
				for _, p := range rt.Partitions {
					got = append(got, p.ErrorCode)
				}
			}
			none := kerr.UnknownTopicOrPartition.Code
			if kind == 5 {
				none = want.Code
			}
			if diff := cmp.Diff([]int16{want.Code, want.Code, none, none, none}, got); diff != "" {
				t.Errorf("v%d, election %d:\n%s", v, kind, diff)
			}
			if v > 0 && (resp.ErrorCode != 0) != (kind == 5) {
				t.Errorf("v%d, election %d: code %d", v, kind, resp.ErrorCode)
			}
		}
		all := withVersion(kmsg.NewPtrElectLeadersRequest(), v)
		if resp := do[*kmsg.ElectLeadersResponse](c, all); resp.ErrorCode != 0 || len(resp.Topics) != 2 || len(resp.Topics[1].Partitions) != 0 {
			t.Errorf("v%d, all partitions: %+v", v, resp)
		}
	}
}

func TestDescribeProducers(t *testing.T) {
	c := dial(t, open(t, broker.Config{}))
	mustCreate(c, "t", 2)
	for i, b := range [][]byte{
		batchWith([]seglog.BatchOption{seglog.WithProducer(7, 2, 0)}, "a", "b", "c"),
		batchWith([]seglog.BatchOption{seglog.WithProducer(5, 0, 9)}, "a"),
	} {
		if p := produce(c, -1, "t", 0, b); p.ErrorCode != 0 {
			t.Fatalf("batch %d: code %d", i, p.ErrorCode)
		}
	}
	req := withVersion(kmsg.NewPtrDescribeProducersRequest(), 0)
	req.Topics = []kmsg.DescribeProducersRequestTopic{
		{Topic: "t", Partitions: []int32{0, 0, 1, 2}}, {Topic: "u", Partitions: []int32{0}}, {Topic: "a/b", Partitions: []int32{0}},
	}
	var got []string
	for _, rt := range do[*kmsg.DescribeProducersResponse](c, req).Topics {
		for _, p := range rt.Partitions {
			s := fmt.Sprintf("%s-%d code %d", rt.Topic, p.Partition, p.ErrorCode)
			for _, a := range p.ActiveProducers {
				s += fmt.Sprintf(" [%d epoch %d sequence %d at %d, transaction %d by %d]",
					a.ProducerID, a.ProducerEpoch, a.LastSequence, a.LastTimestamp, a.CurrentTxnStartOffset, a.CoordinatorEpoch)
			}
			got = append(got, s)
		}
	}
	want := []string{
		"t-0 code 0 [5 epoch 0 sequence 9 at 1000, transaction -1 by -1] [7 epoch 2 sequence 2 at 1002, transaction -1 by -1]",
		"t-1 code 0", "t-2 code 3", "u-0 code 3", "a/b-0 code 17",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDescribeLogDirs(t *testing.T) {
	for name, cfg := range map[string]broker.Config{"disk": {Dir: t.TempDir()}, "memory": {}} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, open(t, cfg))
			mustCreate(c, "t", 2)
			b := batch("some value")
			if p := produce(c, -1, "t", 1, b); p.ErrorCode != 0 {
				t.Fatalf("produce: code %d", p.ErrorCode)
			}
			for v := int16(1); v <= 4; v++ {
				for all, want := range map[bool]string{
					true:  fmt.Sprintf("t-0 0, t-1 %d, ", len(b)),
					false: fmt.Sprintf("t-1 %d, ", len(b)),
				} {
					req := withVersion(kmsg.NewPtrDescribeLogDirsRequest(), v)
					if !all {
						req.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "t", Partitions: []int32{1, 1, 7, -1}}, {Topic: "u", Partitions: []int32{0}}}
					}
					resp := do[*kmsg.DescribeLogDirsResponse](c, req)
					if len(resp.Dirs) != 1 || resp.Dirs[0].ErrorCode != 0 || cfg.Dir != "" && resp.Dirs[0].Dir != cfg.Dir {
						t.Fatalf("v%d: %+v", v, resp)
					}
					d := resp.Dirs[0]
					got := ""
					for _, rt := range d.Topics {
						for _, p := range rt.Partitions {
							if !strings.HasPrefix(rt.Topic, "__") {
								got += fmt.Sprintf("%s-%d %d, ", rt.Topic, p.Partition, p.Size)
							}
						}
					}
					if got != want {
						t.Errorf("v%d: %s, want %s", v, got, want)
					}
					if known := d.TotalBytes > 0 && d.UsableBytes > 0; v >= 4 && known != (name == "disk") {
						t.Errorf("v%d: %d of %d bytes are usable", v, d.UsableBytes, d.TotalBytes)
					}
				}
			}
		})
	}
}

func TestDescribeTopicPartitions(t *testing.T) {
	c := dial(t, open(t, broker.Config{}))
	mustCreate(c, "a", 2)
	mustCreate(c, "c", 3)
	ask := func(limit int32, at string, partition int32, topics ...string) string {
		req := withVersion(kmsg.NewPtrDescribeTopicPartitionsRequest(), 0)
		req.ResponsePartitionLimit = limit
		for _, name := range topics {
			req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: name})
		}
		if at != "" {
			req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: at, Partition: partition}
		}
		resp := do[*kmsg.DescribeTopicPartitionsResponse](c, req)
		var all []string
		for _, rt := range resp.Topics {
			if rt.ErrorCode != 0 {
				all = append(all, fmt.Sprintf("%s code %d", *rt.Topic, rt.ErrorCode))
			}
			for _, p := range rt.Partitions {
				all = append(all, fmt.Sprintf("%s-%d", *rt.Topic, p.Partition))
				if p.LeaderID != 1 || len(p.Replicas) != 1 || len(p.ISR) != 1 {
					t.Errorf("%s-%d: %+v", *rt.Topic, p.Partition, p)
				}
			}
		}
		if n := resp.NextCursor; n != nil {
			all = append(all, fmt.Sprintf("next %s-%d", n.Topic, n.Partition))
		}
		return strings.Join(all, " ")
	}
	for _, tt := range []struct {
		name, at, want string
		limit          int32
		partition      int32
		topics         []string
	}{
		{name: "all of two", limit: 2000, topics: []string{"c", "a", "c"}, want: "a-0 a-1 c-0 c-1 c-2"},
		{name: "a page in the middle of a topic", limit: 3, topics: []string{"a", "c"}, want: "a-0 a-1 c-0 next c-1"},
		{name: "a page that ends with a topic", limit: 2, topics: []string{"a", "c"}, want: "a-0 a-1 next c-0"},
		{name: "the next page", limit: 2, at: "c", partition: 1, topics: []string{"a", "c"}, want: "c-1 c-2"},
		{name: "a limit of nothing is one", limit: 0, topics: []string{"a"}, want: "a-0 next a-1"},
		{name: "no such topic", limit: 1, topics: []string{"b", "x/y"}, want: "b code 3 x/y code 17"},
		{name: "a cursor beyond the partitions", limit: 9, at: "a", partition: 7, topics: []string{"a", "c"}, want: "c-0 c-1 c-2"},
		{name: "a cursor on another topic", limit: 9, at: "b", topics: []string{"a", "c"}, want: "a code 42 c code 42"},
		{name: "a negative cursor", limit: 9, at: "a", partition: -1, topics: []string{"a"}, want: "a code 42"},
		{name: "all topics from one on", limit: 9, at: "b", want: "c-0 c-1 c-2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ask(tt.limit, tt.at, tt.partition, tt.topics...); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// The Java client breaks on lists of replicas that are null, which kmsg would not
// tell from empty ones.
func TestDescribeTopicPartitionsHasNoNulls(t *testing.T) {
	c := dial(t, open(t, broker.Config{}))
	mustCreate(c, "t", 1)
	req := withVersion(kmsg.NewPtrDescribeTopicPartitionsRequest(), 0)
	req.ResponsePartitionLimit, req.Topics = 10, []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "t"}}
	c.send(req)
	_, body, err := readAnswer(c.nc, true)
	if err != nil {
		t.Fatal(err)
	}
	one := []byte{2, 0, 0, 0, 1} // a list of the node 1
	want := slices.Concat(one, one, []byte{1, 1, 1, 0})
	if at := len(body) - len(want) - 7; at < 0 || !bytes.Equal(body[at:at+len(want)], want) {
		t.Errorf("replicas, in sync, eligible, last known, offline:\n% x\nwant them to be\n% x", body, want)
	}
}

// What was acknowledged of configs survives a power cut at once.
func TestConfigsAreDurable(t *testing.T) {
	disk := vfs.NewCrashMem()
	b := open(t, broker.Config{FS: disk, Dir: "/d"})
	c := dial(t, b)
	mustCreate(c, "t", 1)
	set(c, ofTopic, "t", "retention.ms", "4711")
	set(c, ofBroker, "1", "log.retention.bytes", "815")
	for seed := range uint64(10) {
		after := open(t, broker.Config{FS: disk.Crash(rand.New(rand.NewPCG(seed, 1))), Dir: "/d"})
		c := dial(t, after)
		got := described(c, ofTopic, "t", "retention.ms", "retention.bytes")
		if len(got) != 2 || !strings.HasPrefix(got[0], "retention.bytes=815 ") || !strings.HasPrefix(got[1], "retention.ms=4711 ") {
			t.Errorf("seed %d: %q", seed, got)
		}
	}
}

// flush.messages makes an fsync part of every so many acknowledgements.
func TestFlushMessages(t *testing.T) {
	disk := vfs.NewCrashMem()
	b := open(t, broker.Config{FS: disk, Dir: "/d"})
	c := dial(t, b)
	mustCreate(c, "t", 1, "flush.messages", "3")
	dropAll := func() *vfs.CrashMem {
		for seed := uint64(0); ; seed++ { // one that loses all that was not synced
			if rng := rand.New(rand.NewPCG(seed, 0)); rng.IntN(6) == 1 {
				return disk.Crash(rand.New(rand.NewPCG(seed, 0)))
			}
		}
	}
	for i, want := range []int64{0, 0, 3, 3, 3, 6} {
		mustProduce(c, "t", "x")
		after := open(t, broker.Config{FS: dropAll(), Dir: "/d"})
		if end := after.LogEndOffset("t", 0); end != want {
			t.Errorf("after %d records a power cut leaves %d, want %d", i+1, end, want)
		}
	}
	set(c, ofTopic, "t", "flush.messages", "1")
	mustProduce(c, "t", "x")
	if end := open(t, broker.Config{FS: dropAll(), Dir: "/d"}).LogEndOffset("t", 0); end != 7 {
		t.Errorf("with an fsync each, a power cut leaves %d of 7", end)
	}
}
