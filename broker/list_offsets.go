// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListOffsets (2), versions 1-11. There is no tiered storage: the earliest
// local offset is the log start, and nothing has been, or is to be, uploaded.

// Timestamps that stand for something else.
const (
	latestOffset        = -1
	earliestOffset      = -2
	maxTimestampOffset  = -3 // KIP-734
	earliestLocalOffset = -4 // KIP-405
	latestTieredOffset  = -5 // KIP-1005
	earliestPending     = -6 // KIP-1023
)

func (b *Broker) listOffsets(_ context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.ListOffsetsRequest)
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	twice := askedTwice(req)
	for _, rt := range req.Topics {
		at := kmsg.NewListOffsetsResponseTopic()
		at.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			ap := kmsg.NewListOffsetsResponseTopicPartition()
			ap.Partition = rp.Partition
			if twice[topicPartition{rt.Topic, rp.Partition}] {
				ap.ErrorCode = kerr.InvalidRequest.Code
			} else {
				b.listOffset(req.Version, rt.Topic, &rp, &ap)
			}
			at.Partitions = append(at.Partitions, ap)
		}
		resp.Topics = append(resp.Topics, at)
	}
	return resp
}

type topicPartition struct {
	topic     string
	partition int32
}

// askedTwice has the partitions that a request names more than once.
func askedTwice(req *kmsg.ListOffsetsRequest) map[topicPartition]bool {
	seen := make(map[topicPartition]bool)
	twice := make(map[topicPartition]bool)
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			tp := topicPartition{t.Topic, p.Partition}
			if seen[tp] {
				twice[tp] = true
			}
			seen[tp] = true
		}
	}
	return twice
}

// firstVersion is the first version in which a negative timestamp has a meaning.
func firstVersion(timestamp int64) int16 {
	switch timestamp {
	case latestOffset, earliestOffset:
		return 1
	case maxTimestampOffset:
		return 7
	case earliestLocalOffset:
		return 8
	case latestTieredOffset:
		return 9
	case earliestPending:
		return 11
	default:
		return math.MaxInt16
	}
}

func (b *Broker) listOffset(version int16, name string, q *kmsg.ListOffsetsRequestTopicPartition, a *kmsg.ListOffsetsResponseTopicPartition) {
	t, code := b.lookup(false, name, topicID{})
	if code != 0 {
		a.ErrorCode = code
		return
	}
	p := t.partition(q.Partition)
	if p == nil {
		a.ErrorCode = kerr.UnknownTopicOrPartition.Code
		return
	}
	if a.ErrorCode = p.checkEpoch(q.CurrentLeaderEpoch); a.ErrorCode != 0 {
		return
	}
	if q.Timestamp < 0 && version < firstVersion(q.Timestamp) {
		a.ErrorCode = kerr.UnsupportedVersion.Code
		return
	}
	hw := p.highWatermark()
	var ok bool
	var err error
	switch q.Timestamp {
	case latestOffset:
		a.Offset, a.LeaderEpoch = hw, p.epoch // of the record to come
		return
	case earliestOffset, earliestLocalOffset:
		a.Offset = p.log.LogStartOffset()
		a.LeaderEpoch = p.epochAt(a.Offset)
		return
	case latestTieredOffset, earliestPending:
		return
	case maxTimestampOffset:
		a.Offset, a.Timestamp, a.LeaderEpoch, ok, err = p.log.MaxTimestamp(hw)
	default:
		a.Offset, a.Timestamp, a.LeaderEpoch, ok, err = p.log.OffsetForTimestamp(q.Timestamp, hw)
	}
	if a.ErrorCode = codeOf(err); !ok || err != nil {
		a.Offset, a.Timestamp, a.LeaderEpoch = -1, -1, -1
	}
	if isStorage(a.ErrorCode) {
		b.log.Error("list offsets", "topic", name, "partition", q.Partition, "timestamp", q.Timestamp, "err", err)
	}
}
