// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

// What compresses well is fetched in small pieces, by members and readers: no fetch
// but the first takes much more than it may.
const (
	grownParts  = 2
	grownBytes  = 32 << 20 // of values, of each partition
	grownValue  = 1 << 10
	grownNoise  = 24  // bytes of a value that are not compressed
	grownBatch  = 200 // records
	grownMemory = 2 << 20
	// grownMost is a fetch that ends with the batch that fills it, and what an average of
	// batches is wrong by.
	grownMost = grownMemory*5/4 + 2*grownBatch*1200
)

// grown makes a topic whose batches grow to about the fortyfold: each value has as much
// in it that is not compressed, however near the records' times are. What grew more
// would be bounded by the least that is asked for.
func grown(t *testing.T, cfg link.Config, k *link.Kafka) link.Topic {
	t.Helper()
	topic := create(t, k, "grown", grownParts, nil)
	opts := append(cfg.ClientOptions(), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	noise := rand.NewChaCha8([32]byte{})
	for range grownBytes / grownValue / grownBatch {
		for p := range int32(grownParts) {
			recs := make([]*kgo.Record, grownBatch)
			for i := range recs {
				value := make([]byte, grownValue)
				_, _ = noise.Read(value[:grownNoise])
				recs[i] = &kgo.Record{Topic: "grown", Partition: p, Value: value}
			}
			if err := cl.ProduceSync(within(t, time.Minute), recs...).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return topic
}

func memoryOf(recs []plan.Raw) int {
	n := 0
	for i := range recs {
		n += len(recs[i].Value)
	}
	return n
}

func TestFetchesAreBoundedByWhatTheyTakeInMemory(t *testing.T) {
	cfg := bundled(t)
	k := open(t, cfg)
	grown(t, cfg, k)
	joined := make(chan struct{})
	var m link.Member
	m, err := k.Join(link.MemberConfig{
		Topics: []string{"grown"}, FetchMemory: grownParts * grownMemory, PartitionMemory: grownMemory,
		Assigned: func(parts []link.Partition) { <-joined; m.Resume(parts...) },
		Revoked:  func([]link.Partition) {}, Lost: func([]link.Partition) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	close(joined)
	const all = grownParts * (grownBytes / grownValue / grownBatch * grownBatch)
	polls := map[link.Partition]int{}
	ctx := within(t, 2*time.Minute)
	for n := 0; n < all; {
		batches, err := m.Poll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			n += len(b.Records)
			polls[b.Partition]++
			if size := memoryOf(b.Records); size > grownMost && polls[b.Partition] > 1 {
				t.Errorf("%d bytes came at once of %v, where %d may", size, b.Partition, grownMost)
			}
		}
		m.Delivered()
	}
	if err := m.Leave(context.WithoutCancel(ctx), false); err != nil {
		t.Fatal(err)
	}
}

func TestReadsAreBoundedByWhatTheyTakeInMemory(t *testing.T) {
	cfg := bundled(t)
	cfg.ReadMemory = grownMemory
	k := open(t, cfg)
	topic := grown(t, cfg, k)
	const all = grownBytes / grownValue / grownBatch * grownBatch
	r := k.Read(link.Partition{Topic: "grown"}, topic.ID, 0, all)
	for n, reads := 0, 0; ; reads++ {
		recs, _, err := r.Next(within(t, time.Minute))
		if errors.Is(err, io.EOF) {
			if n != all {
				t.Errorf("%d records were read, want %d", n, all)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		n += len(recs)
		if size := memoryOf(recs); size > grownMost && reads > 0 {
			t.Errorf("%d bytes came at once, where %d may", size, grownMost)
		}
	}
}
