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
	at := make(map[string]int) // a topic is answered once, a partition too, as in Kafka
	for _, rt := range req.Topics {
		for _, rp := range rt.Partitions {
			tp := topicPartition{rt.Topic, rp.Partition}
			answered, refused := twice[tp]
			if answered {
				continue
			}
			ap := kmsg.NewListOffsetsResponseTopicPartition()
			ap.Partition = rp.Partition
			switch {
			case req.IsolationLevel != 0 && req.IsolationLevel != 1:
				ap.ErrorCode = kerr.UnknownServerError.Code // Kafka's code
			case refused:
				twice[tp] = true
				ap.ErrorCode = kerr.InvalidRequest.Code
			default:
				b.listOffset(req.Version, rt.Topic, &rp, &ap)
			}
			i, ok := at[rt.Topic]
			if !ok {
				i = len(resp.Topics)
				at[rt.Topic] = i
				t := kmsg.NewListOffsetsResponseTopic()
				t.Topic = rt.Topic
				resp.Topics = append(resp.Topics, t)
			}
			resp.Topics[i].Partitions = append(resp.Topics[i].Partitions, ap)
		}
	}
	return resp
}

type topicPartition struct {
	topic     string
	partition int32
}

// askedTwice has the partitions that a request names more than once, each with
// false: it was not answered yet.
func askedTwice(req *kmsg.ListOffsetsRequest) map[topicPartition]bool {
	seen := make(map[topicPartition]bool)
	twice := make(map[topicPartition]bool)
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			tp := topicPartition{t.Topic, p.Partition}
			if seen[tp] {
				twice[tp] = false
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
