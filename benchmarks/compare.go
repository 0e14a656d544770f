// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// An outcome is what a side has written for a key: with every update, the number
// of records and a hash over them in their order; folded, the last one alone.
type outcome struct {
	records int
	hash    uint64
}

// outcomes reads the output topic id to its end.
func (c *contender) outcomes(ctx context.Context, w workload, id string) (map[string]outcome, error) {
	ends, err := c.adm.ListEndOffsets(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("ask for the end of %s: %w", id, err)
	}
	left := map[int32]int64{}
	for p, o := range ends[id] {
		if o.Offset > 0 {
			left[p] = o.Offset
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.node.addr), kgo.ConsumeTopics(id),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("open a client: %w", err)
	}
	defer client.Close()
	all := map[string]outcome{}
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", id, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			was := all[string(r.Key)]
			if w.folded {
				was = outcome{}
			}
			all[string(r.Key)] = outcome{was.records + 1, roll(was.hash, r)}
			if r.Offset >= left[r.Partition]-1 {
				delete(left, r.Partition)
			}
		})
	}
	return all, nil
}

// roll hashes a record, null value and timestamp included, onto what came before.
func roll(before uint64, r *kgo.Record) uint64 {
	h := fnv.New64a()
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 128), before)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Timestamp.UnixMilli()))
	if r.Value == nil {
		b = append(b, 0)
	} else {
		b = append(append(b, 1), r.Value...)
	}
	_, _ = h.Write(b) // never fails
	return h.Sum64()
}

// equal tells how two sides' outcomes differ: a sentence, "" if they do not.
func equal(a, b map[string]outcome) string {
	wrong, example := 0, ""
	for key, x := range a {
		if y := b[key]; x != y {
			wrong++
			example = fmt.Sprintf("key %q: %d records against %d, or other ones", key, x.records, y.records)
		}
	}
	for key := range b {
		if _, ok := a[key]; !ok {
			wrong++
			example = fmt.Sprintf("key %q on one side alone", key)
		}
	}
	if wrong == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d keys differ, for instance %s", wrong, len(a), example)
}
