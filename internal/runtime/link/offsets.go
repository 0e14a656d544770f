// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Committed implements [Cluster]. The offsets are stable ones: those of an open
// transaction are waited for (KIP-447).
func (k *Kafka) Committed(ctx context.Context, parts []Partition) (map[Partition]Position, error) {
	for try := 1; ; try++ {
		found, err := k.committed(ctx, parts)
		if err == nil || !kerr.IsRetriable(err) {
			return found, err
		}
		if err := wait(ctx, try); err != nil {
			return nil, err
		}
	}
}

func (k *Kafka) committed(ctx context.Context, parts []Partition) (map[Partition]Position, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = true
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = k.cfg.Group
	req.Group = k.cfg.Group
	for topic, parts := range byTopic(set(parts)) {
		gt, t := kmsg.NewOffsetFetchRequestGroupTopic(), kmsg.NewOffsetFetchRequestTopic()
		gt.Topic, t.Topic = topic, topic
		for _, p := range parts {
			gt.Partitions = append(gt.Partitions, p.Num)
			t.Partitions = append(t.Partitions, p.Num)
		}
		g.Topics = append(g.Topics, gt)
		req.Topics = append(req.Topics, t)
	}
	req.Groups = append(req.Groups, g) // the client picks the form that the broker has
	resp, err := req.RequestWith(ctx, asker{k.main})
	if err != nil {
		return nil, fmt.Errorf("fetch committed offsets: %w", err)
	}
	found := make(map[Partition]Position, len(parts))
	add := func(topic string, num int32, code int16, offset int64, epoch int32, metadata *string) error {
		if err := kerr.ErrorForCode(code); err != nil {
			return fmt.Errorf("fetch the committed offset of %s-%d: %w", topic, num, err)
		}
		if offset >= 0 {
			pos := Position{Offset: offset, Epoch: epoch}
			if metadata != nil {
				pos.Metadata = *metadata
			}
			found[Partition{topic, num}] = pos
		}
		return nil
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, fmt.Errorf("fetch committed offsets: %w", err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := add(t.Topic, p.Partition, p.ErrorCode, p.Offset, p.LeaderEpoch, p.Metadata); err != nil {
				return nil, err
			}
		}
	}
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return nil, fmt.Errorf("fetch committed offsets: %w", err)
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if err := add(t.Topic, p.Partition, p.ErrorCode, p.Offset, p.LeaderEpoch, p.Metadata); err != nil {
					return nil, err
				}
			}
		}
	}
	return found, nil
}

// Ranges implements [Cluster].
func (k *Kafka) Ranges(ctx context.Context, parts []Partition) (map[Partition]Range, error) {
	starts, err := k.listOffsets(ctx, parts, -2)
	if err != nil {
		return nil, err
	}
	ends, err := k.listOffsets(ctx, parts, -1)
	if err != nil {
		return nil, err
	}
	ranges := make(map[Partition]Range, len(parts))
	for _, p := range parts {
		ranges[p] = Range{starts[p].Offset, ends[p].Offset}
	}
	return ranges, nil
}

// Ends implements [Cluster].
func (k *Kafka) Ends(ctx context.Context, parts []Partition) (map[Partition]Position, error) {
	return k.listOffsets(ctx, parts, -1)
}

func (k *Kafka) listOffsets(ctx context.Context, parts []Partition, at int64) (map[Partition]Position, error) {
	found := make(map[Partition]Position, len(parts))
	left := set(parts)
	for try := 1; len(left) > 0; try++ {
		if try > 1 {
			if err := wait(ctx, try-1); err != nil {
				return nil, err
			}
		}
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		req.IsolationLevel = 1 // the end is the last stable offset
		for topic, parts := range byTopic(left) {
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = topic
			for _, p := range parts {
				rp := kmsg.NewListOffsetsRequestTopicPartition()
				rp.Partition, rp.Timestamp = p.Num, at
				t.Partitions = append(t.Partitions, rp)
			}
			req.Topics = append(req.Topics, t)
		}
		resp, err := req.RequestWith(ctx, asker{k.main})
		if err != nil {
			return nil, fmt.Errorf("list offsets: %w", err)
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				err := kerr.ErrorForCode(p.ErrorCode)
				if kerr.IsRetriable(err) {
					continue
				}
				if err != nil {
					return nil, fmt.Errorf("list offsets of %s-%d: %w", t.Topic, p.Partition, err)
				}
				found[Partition{t.Topic, p.Partition}] = Position{Offset: p.Offset, Epoch: p.LeaderEpoch}
				delete(left, Partition{t.Topic, p.Partition})
			}
		}
	}
	return found, nil
}

// EpochEnd implements [Cluster].
func (k *Kafka) EpochEnd(ctx context.Context, p Partition, epoch int32) (Position, error) {
	for try := 1; ; try++ {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.ReplicaID = -1
		t := kmsg.NewOffsetForLeaderEpochRequestTopic()
		t.Topic = p.Topic
		rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		rp.Partition, rp.CurrentLeaderEpoch, rp.LeaderEpoch = p.Num, -1, epoch
		t.Partitions = append(t.Partitions, rp)
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, asker{k.main})
		if err != nil {
			return Position{}, fmt.Errorf("ask for the end of epoch %d of %s: %w", epoch, p, err)
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return Position{}, fmt.Errorf("ask for the end of epoch %d of %s: the answer lacks it", epoch, p)
		}
		end := resp.Topics[0].Partitions[0]
		err = kerr.ErrorForCode(end.ErrorCode)
		if err == nil {
			return Position{Offset: end.EndOffset, Epoch: end.LeaderEpoch}, nil
		}
		if !kerr.IsRetriable(err) {
			return Position{}, fmt.Errorf("ask for the end of epoch %d of %s: %w", epoch, p, err)
		}
		if err := wait(ctx, try); err != nil {
			return Position{}, err
		}
	}
}

func set(parts []Partition) map[Partition]struct{} {
	m := make(map[Partition]struct{}, len(parts))
	for _, p := range parts {
		m[p] = struct{}{}
	}
	return m
}

// wait is the pause before another try.
func wait(ctx context.Context, try int) error {
	t := time.NewTimer(backoff(try))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
