// SPDX-License-Identifier: Apache-2.0

package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/plan"
)

// restoreBytes is how much one fetch of a restore asks for at most.
const restoreBytes = 8 << 20

// reader is a [Reader] that sends its fetches itself: the client's consumer does
// not tell its position behind markers and gaps, and that is where a restore ends.
type reader struct {
	client *kgo.Client
	part   Partition
	id     [16]byte
	next   Position
	end    int64
	leader int32 // -1: to be asked for
	failed int   // tries since the last success
	decomp kgo.Decompressor
	memory int64 // that a fetch may take
	growth growth
}

// Read implements [Cluster].
func (k *Kafka) Read(p Partition, id [16]byte, from, end int64) Reader {
	return &reader{
		client: k.reads, part: p, id: id, next: Position{Offset: from, Epoch: -1}, end: end, leader: -1,
		decomp: kgo.DefaultDecompressor(), memory: k.cfg.ReadMemory, growth: newGrowth(),
	}
}

// Next implements [Reader].
func (r *reader) Next(ctx context.Context) ([]plan.Raw, Position, error) {
	if r.next.Offset >= r.end {
		return nil, r.next, io.EOF
	}
	for {
		recs, err := r.fetch(ctx)
		if err == nil {
			r.failed = 0
			return recs, r.next, nil
		}
		if !retriable(err) || ctx.Err() != nil {
			return nil, r.next, fmt.Errorf("read %s from offset %d: %w", r.part, r.next.Offset, err)
		}
		r.leader = -1
		r.failed++
		if err := wait(ctx, r.failed); err != nil {
			return nil, r.next, err
		}
	}
}

func retriable(err error) bool {
	return kerr.IsRetriable(err) || kgo.IsRetryableBrokerErr(err) || errors.Is(err, errNoLeader)
}

var errNoLeader = errors.New("the partition has no leader")

func (r *reader) fetch(ctx context.Context) ([]plan.Raw, error) {
	if r.leader < 0 {
		if err := r.findLeader(ctx); err != nil {
			return nil, err
		}
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = -1
	size := r.growth.bytes(r.memory, leastFetch, restoreBytes)
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 500, 1, size
	req.IsolationLevel = 1
	req.SessionEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = r.part.Topic, r.id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = r.part.Num, r.next.Offset, size
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	kresp, err := r.client.Broker(int(r.leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := kresp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, nil // nothing came in the time allowed
	}
	return r.take(&resp.Topics[0].Partitions[0])
}

// take decodes an answer up to the end and moves the position.
func (r *reader) take(rp *kmsg.FetchResponseTopicPartition) ([]plan.Raw, error) {
	err := kerr.ErrorForCode(rp.ErrorCode)
	if errors.Is(err, kerr.OffsetOutOfRange) {
		return nil, &OutOfRangeError{r.part, r.next.Offset}
	}
	if err != nil {
		return nil, err
	}
	got, err := decode(r.part, r.next.Offset, rp, r.decomp)
	if err != nil {
		return nil, err
	}
	if got.Stored > 0 {
		r.growth.add(got.Stored, got.Memory)
	}
	recs, next := got.Records, got.Next
	if n, _ := slices.BinarySearchFunc(recs, r.end, func(rec plan.Raw, end int64) int { return cmp.Compare(rec.Offset, end) }); n < len(recs) {
		recs, next = recs[:n], r.end
	}
	r.next.Offset = max(next, r.next.Offset)
	if n := len(recs); n > 0 {
		r.next.Epoch = recs[n-1].Epoch
	}
	return recs, nil
}

func (r *reader) findLeader(ctx context.Context) error {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(r.part.Topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, asker{r.client})
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.Partition == r.part.Num && p.Leader >= 0 {
				r.leader = p.Leader
				return nil
			}
		}
	}
	return errNoLeader
}
