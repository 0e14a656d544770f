// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// Under the policy of a flush a batch, consumers see a record only after its
// fsync: one that they have seen is never lost. It fails when the high watermark
// moves with the append (mutant high-watermark-before-flush).
func TestNothingIsShownBeforeItsFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Bool
		release := make(chan struct{})
		fsys := vfs.Faults(vfs.NewMem(), func(op vfs.Op) error {
			if op.Kind == vfs.OpSync && strings.HasSuffix(op.Path, ".log") && held.Load() {
				<-release
			}
			return nil
		})
		b := open(t, broker.Config{FS: fsys, Dir: "/d", Flush: broker.FlushPolicy{Mode: broker.FlushBatch}})
		producer, reader := dial(t, b), dial(t, b)
		mustCreate(producer, "t", 1)
		mustProduce(producer, "t", "a")
		held.Store(true)
		req := produceRequest(9, -1, "t", topicID{}, 0, batch("b"))
		id := producer.send(req)
		synctest.Wait()
		if end := b.LogEndOffset("t", 0); end != 2 {
			t.Fatalf("the log ends at %d while the fsync is under way, want 2", end)
		}
		p := fetch(reader, "t", 0)
		if got := values(t, p.RecordBatches, 0); p.HighWatermark != 1 || !cmp.Equal(got, []string{"a"}) {
			t.Errorf("before the fsync has ended: high watermark %d and %q are shown", p.HighWatermark, got)
		}
		close(release)
		if p := producer.receive(req, id).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != 1 {
			t.Errorf("after the fsync: code %d, offset %d", p.ErrorCode, p.BaseOffset)
		}
		if got := readAll(reader, "t"); !cmp.Equal(got, []string{"a", "b"}) {
			t.Errorf("after the fsync %q are shown", got)
		}
	})
}

// What a crash of the machine takes from the end of a log has been seen, perhaps,
// under the policy of the page cache. Others get its offsets, but in a new leader
// epoch, and who asks for the end of the old one learns where it was cut (KIP-320).
// It fails when the epoch stays (mutant offset-reuse).
func TestOffsetsOfLostRecordsHaveANewEpoch(t *testing.T) {
	cut := 0
	for seed := range uint64(12) {
		mem := vfs.NewCrashMem()
		cfg := broker.Config{FS: mem, Dir: "/d", OffsetsPartitions: 1, Logger: quiet}
		b, err := broker.Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, b)
		mustCreate(c, "t", 1)
		for _, v := range []string{"a", "b", "c"} {
			mustProduce(c, "t", v)
		}
		seen := epochsOf(t, fetch(c, "t", 0).RecordBatches)
		cfg.FS = mem.Crash(rand.New(rand.NewPCG(seed, 0)))
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = open(t, cfg)
		c = dial(t, b)
		end := b.LogEndOffset("t", 0)
		if end == 3 {
			continue // nothing was lost
		}
		cut++
		for range 4 {
			mustProduce(c, "t", "other")
		}
		now := epochsOf(t, fetch(c, "t", end).RecordBatches)
		for offset := end; offset < 3; offset++ {
			if now[offset] <= seen[offset] {
				t.Errorf("seed %d: offset %d had a record of epoch %d and has another of epoch %d", seed, offset, seen[offset], now[offset])
			}
		}
		if got := epochEnd(c, "t", seen[2]); end > 0 && got != end {
			t.Errorf("seed %d: epoch %d ends at offset %d, want %d where it was cut", seed, seen[2], got, end)
		}
	}
	if cut == 0 {
		t.Fatal("no crash cut the log")
	}
}

// epochsOf are the leader epochs of fetched records, by offset.
func epochsOf(t testing.TB, data []byte) map[int64]int32 {
	t.Helper()
	epochs := map[int64]int32{}
	for len(data) > 0 {
		h, err := seglog.ParseHeader(data)
		if err != nil || h.Length > len(data) {
			t.Fatalf("fetched batch: %v, %d of %d bytes", err, len(data), h.Length)
		}
		for o := h.BaseOffset; o <= h.LastOffset(); o++ {
			epochs[o] = h.LeaderEpoch
		}
		data = data[h.Length:]
	}
	return epochs
}

// epochEnd is the end offset of a leader epoch of partition 0.
func epochEnd(c *client, topic string, epoch int32) int64 {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.Version = 4
	rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	rp.CurrentLeaderEpoch, rp.LeaderEpoch = -1, epoch
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return do[*kmsg.OffsetForLeaderEpochResponse](c, req).Topics[0].Partitions[0].EndOffset
}
