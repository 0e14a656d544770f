// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetForLeaderEpoch (23), versions 2-4: where an epoch ended, for clients
// that check whether the log was truncated (KIP-320).

func (b *Broker) offsetForLeaderEpoch(_ context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.OffsetForLeaderEpochRequest)
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for _, rt := range req.Topics {
		at := kmsg.NewOffsetForLeaderEpochResponseTopic()
		at.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			ap := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			ap.Partition, ap.LeaderEpoch, ap.EndOffset = rp.Partition, -1, -1
			b.epochEnd(rt.Topic, &rp, &ap)
			at.Partitions = append(at.Partitions, ap)
		}
		resp.Topics = append(resp.Topics, at)
	}
	return resp
}

func (b *Broker) epochEnd(name string, q *kmsg.OffsetForLeaderEpochRequestTopicPartition, a *kmsg.OffsetForLeaderEpochResponseTopicPartition) {
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
	if q.LeaderEpoch == p.epoch { // still growing
		a.LeaderEpoch, a.EndOffset = p.epoch, p.log.LogEndOffset()
		return
	}
	a.LeaderEpoch, a.EndOffset = p.log.EndOffsetForEpoch(q.LeaderEpoch)
}
