// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteRecords (21), versions 0-2. Kafka Streams purges its repartition topics
// with it.

var errPolicy = errors.New("records of a compacted topic are not deleted by offset")

func (b *Broker) deleteRecords(_ context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.DeleteRecordsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	last := make(map[topicPartition]int64) // of a partition named twice the last offset holds, as in Kafka
	for _, rt := range req.Topics {
		for _, rp := range rt.Partitions {
			last[topicPartition{rt.Topic, rp.Partition}] = rp.Offset
		}
	}
	for _, rt := range req.Topics {
		at := kmsg.NewDeleteRecordsResponseTopic()
		at.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			tp := topicPartition{rt.Topic, rp.Partition}
			offset, ok := last[tp]
			if !ok {
				continue
			}
			delete(last, tp)
			ap := kmsg.NewDeleteRecordsResponseTopicPartition()
			ap.Partition = rp.Partition
			ap.LowWatermark, ap.ErrorCode = b.deletePartitionRecords(rt.Topic, rp.Partition, offset)
			at.Partitions = append(at.Partitions, ap)
		}
		resp.Topics = append(resp.Topics, at)
	}
	return resp
}

func (b *Broker) deletePartitionRecords(name string, partition int32, upTo int64) (int64, int16) {
	t, code := b.lookup(false, name, topicID{})
	switch {
	case code != 0:
		return -1, code
	case t.internal:
		return -1, codeOf(errInvalidTopic)
	case !t.config().remove:
		return -1, codeOf(errPolicy)
	}
	p := t.partition(partition)
	if p == nil {
		return -1, kerr.UnknownTopicOrPartition.Code
	}
	start, err := p.deleteRecords(upTo)
	if err != nil {
		code := codeOf(err)
		if isStorage(code) {
			b.log.Error("delete records", "topic", name, "partition", partition, "err", err)
		}
		return -1, code
	}
	return start, 0
}
