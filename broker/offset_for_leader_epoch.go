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
	a.LeaderEpoch, a.EndOffset = p.endOfEpoch(q.LeaderEpoch)
}

// endOfEpoch is the latest epoch up to that asked for, and where the one after it
// begins. The log knows epochs with records only; the leader's own begins at the end
// of the log until it has one, and one before it that left none ended there too: who
// was told of it at the end of the log (ListOffsets) has lost nothing.
func (p *partition) endOfEpoch(epoch int32) (found int32, end int64) {
	logEnd := p.log.LogEndOffset() // before the epochs are looked at: an append may begin the leader's
	if epoch == p.epoch {          // still growing
		return epoch, logEnd
	}
	found, end = p.log.EndOffsetForEpoch(epoch)
	if found >= 0 || epoch < 0 || epoch > p.epoch {
		return found, end
	}
	if latest := p.log.LatestEpoch(); latest >= 0 {
		return latest, logEnd
	}
	return epoch, logEnd
}
