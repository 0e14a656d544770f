// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/runtime/link"
)

const (
	parts   = 6
	records = 3000 // of each partition
)

// cluster has three brokers and a topic.
func cluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(parts, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func open(t *testing.T, c *kfake.Cluster, byRecord bool) *link.Kafka {
	t.Helper()
	k, err := link.Open(link.Config{
		Brokers: c.ListenAddrs(), Group: "g", ByRecord: byRecord, Linger: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// ways runs a test with both forms of the link; the client's own waits long for its leaders.
func ways(t *testing.T, test func(t *testing.T, byRecord bool)) {
	t.Run("batches", func(t *testing.T) { test(t, false) })
	t.Run("records", func(t *testing.T) {
		if os.Getenv("MILLRACE_LONG") == "" {
			t.Skip("only with MILLRACE_LONG=1")
		}
		test(t, true)
	})
}

// trouble makes something go wrong that a client gets over.
func trouble(c *kfake.Cluster, rng *rand.Rand) {
	switch rng.IntN(3) {
	case 0:
		c.ShufflePartitionLeaders()
	case 1:
		errs := []*kerr.Error{
			kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend,
			kerr.RequestTimedOut, kerr.LeaderNotAvailable, kerr.KafkaStorageError,
		}
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: errs[rng.IntN(len(errs))], Count: 1 + rng.IntN(3)})
	case 2:
		errs := []*kerr.Error{
			kerr.NotLeaderForPartition, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.KafkaStorageError,
			kerr.UnknownTopicOrPartition, kerr.OffsetNotAvailable,
		}
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: errs[rng.IntN(len(errs))], Count: 1 + rng.IntN(3)})
	}
}

// fill appends the same numbers to each partition, while there is trouble.
func fill(t *testing.T, c *kfake.Cluster, k *link.Kafka) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	l := k.Lane()
	var dests []*link.Dest
	for num := range int32(parts) {
		dests = append(dests, link.NewDest("t", num))
	}
	for i := range records {
		for _, d := range dests {
			if err := l.Append(d, nil, fmt.Append(nil, i), int64(i), nil); err != nil {
				t.Fatal(err)
			}
		}
		if i%200 != 199 {
			continue
		}
		trouble(c, rng)
		done := make(chan error, 1)
		l.Barrier(func(err error) { done <- err })
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-within(t).Done():
			t.Fatal("the barrier is not reached")
		}
	}
}

func TestALaneFollowsLeaders(t *testing.T) {
	ways(t, func(t *testing.T, byRecord bool) {
		c := cluster(t)
		k := open(t, c, byRecord)
		fill(t, c, k)
		info, err := k.Topics(within(t), "t")
		if err != nil {
			t.Fatal(err)
		}
		for num := range int32(parts) {
			r := k.Read(link.Partition{Topic: "t", Num: num}, info["t"].ID, 0, records)
			n := 0
			for {
				recs, _, err := r.Next(within(t))
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, rec := range recs {
					if string(rec.Value) != fmt.Sprint(n) {
						t.Fatalf("partition %d has %s as record %d", num, rec.Value, n)
					}
					n++
				}
			}
			ends, err := k.Ends(within(t), []link.Partition{{Topic: "t", Num: num}})
			if err != nil || n != records || ends[link.Partition{Topic: "t", Num: num}].Offset != records {
				t.Errorf("partition %d has %d records and ends at %v (%v), want %d", num, n, ends, err, records)
			}
		}
	})
}

func TestAMemberFollowsLeaders(t *testing.T) {
	ways(t, func(t *testing.T, byRecord bool) {
		c := cluster(t)
		fill(t, c, open(t, c, false))
		k := open(t, c, byRecord)
		joined := make(chan struct{})
		var m link.Member
		m, err := k.Join(link.MemberConfig{
			Topics: []string{"t"}, FetchMemory: 64 << 10, PartitionMemory: 16 << 10, // many fetches
			Assigned: func(parts []link.Partition) { <-joined; m.Resume(parts...) },
			Revoked:  func([]link.Partition) {}, Lost: func([]link.Partition) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		close(joined)
		rng := rand.New(rand.NewPCG(3, 4))
		next := map[link.Partition]int{}
		ctx := within(t)
		for left := parts * records; left > 0; {
			batches, err := m.Poll(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range batches {
				for _, rec := range b.Records {
					if string(rec.Value) != fmt.Sprint(next[b.Partition]) {
						t.Fatalf("%v brings %s, want %d", b.Partition, rec.Value, next[b.Partition])
					}
					next[b.Partition]++
					left--
				}
			}
			m.Delivered()
			if rng.IntN(4) == 0 {
				trouble(c, rng)
			}
		}
		if err := m.Leave(ctx, false); err != nil {
			t.Fatal(err)
		}
	})
}
