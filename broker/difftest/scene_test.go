// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/seglog"
)

// prepare makes what most cases look at and none changes: topics "base" (0:
// five batches, the last packed with gzip; 1: one record; 2: none), "trimmed"
// (ten records, the first four deleted), "compacted", "stamped" (with the time
// of the append), and the group "simple" with offsets of base.
func prepare(s *script) {
	s.coordinator("simple")
	s.until("producer ids", func() bool { return ask[*kmsg.InitProducerIDResponse](s, newProducerID()).ErrorCode == 0 })
	s.createTopic("base", 3)
	s.createTopic("trimmed", 1)
	s.createTopic("compacted", 1, "cleanup.policy", "compact")
	s.createTopic("stamped", 1, "message.timestamp.type", "LogAppendTime")
	s.fill("base", 0, batchAt(1000, "a", "b", "c"))
	s.fill("base", 0, batchAt(3000, "d"))
	s.fill("base", 0, batchAt(2000, "e", "f"))
	s.fill("base", 0, seglog.BuildBatch([]seglog.Record{{
		Timestamp: 4000, Key: []byte("key"), Headers: []seglog.RecordHeader{{Key: "h", Value: []byte("v")}, {Key: "null"}},
	}}))
	s.fill("base", 0, packed(batchAt(3500, "g", "h", "i")))
	s.fill("base", 1, batchAt(5000, "only"))
	for i := range 10 {
		s.fill("trimmed", 0, batchAt(1000+int64(i), fmt.Sprint("r", i)))
	}
	req := deleteRecords("trimmed", 0, 4)
	if p := ask[*kmsg.DeleteRecordsResponse](s, req).Topics[0].Partitions[0]; p.ErrorCode != 0 {
		s.fail("delete records: %s", errorName(p.ErrorCode))
	}
	_ = ask[*kmsg.ConsumerGroupHeartbeatResponse](s, s.newConsumer("first", "consumer-1", "base").request())
	commit := commitRequest(s, "simple", "base", 0, 5)
	if p := ask[*kmsg.OffsetCommitResponse](s, commit).Topics[0].Partitions[0]; p.ErrorCode != 0 {
		s.fail("commit: %s", errorName(p.ErrorCode))
	}
}

// coordinator waits until a group has one.
func (s *script) coordinator(group string) {
	s.until("a coordinator", func() bool {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.SetVersion(3)
		req.CoordinatorKey = group
		return ask[*kmsg.FindCoordinatorResponse](s, req).ErrorCode == 0
	})
	s.until("the coordinator", func() bool {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.SetVersion(5)
		req.Groups = []string{group}
		code := ask[*kmsg.DescribeGroupsResponse](s, req).Groups[0].ErrorCode
		return code != 14 && code != 15 && code != 16 // loads, is not there, is elsewhere
	})
}

func newTopic(name string, partitions int32, configs ...string) kmsg.CreateTopicsRequestTopic {
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, 1
	for i := 0; i < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		rt.Configs = append(rt.Configs, c)
	}
	return rt
}

func createTopics(topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis, req.Topics = 60_000, topics
	return req
}

// createTopic makes a topic and waits until it can be used.
func (s *script) createTopic(name string, partitions int32, configs ...string) {
	if !slices.Contains(configs, "retention.ms") {
		configs = append(configs, "retention.ms", "-1") // records of 1970 are to stay
	}
	req := createTopics(newTopic(name, partitions, configs...))
	req.SetVersion(7)
	if t := ask[*kmsg.CreateTopicsResponse](s, req).Topics[0]; t.ErrorCode != 0 {
		s.fail("create %s: %s %s", name, errorName(t.ErrorCode), *t.ErrorMessage)
	}
	s.settled(name, int(partitions))
}

// settled waits until a topic has so many partitions with a leader: after the
// answer to CreateTopics, Kafka takes a moment. None: until it is gone.
func (s *script) settled(name string, partitions int) {
	s.until("topic "+name, func() bool {
		req := metadataRequest(name)
		req.SetVersion(12)
		t := ask[*kmsg.MetadataResponse](s, req).Topics[0]
		leaders := 0
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && p.Leader == 1 {
				leaders++
			}
		}
		if t.TopicID != ([16]byte{}) {
			s.learn(t.TopicID, name)
		}
		return leaders == partitions
	})
	if partitions == 0 {
		return
	}
	s.until("leaders of "+name, func() bool {
		req := listRequest(name, 0, -1)
		for p := range int32(partitions - 1) {
			addList(req, name, p+1, -1)
		}
		req.SetVersion(5)
		for _, p := range ask[*kmsg.ListOffsetsResponse](s, req).Topics[0].Partitions {
			if p.ErrorCode != 0 {
				return false
			}
		}
		return true
	})
}

// id is that of a topic on this node; of one that is not there it is like none.
func (s *script) id(topic string) [16]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, name := range s.topics {
		if name == topic {
			return id
		}
	}
	return [16]byte{1, 2, 3, 4, 5, 6, 7, 8}
}

func metadataRequest(topics ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for i := range topics {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &topics[i]
		req.Topics = append(req.Topics, rt)
	}
	return req
}

// batchAt is a batch of values, whose timestamps begin with first.
func batchAt(first int64, values ...string) []byte {
	return seglog.BuildBatch(recordsAt(first, values...))
}

func recordsAt(first int64, values ...string) (recs []seglog.Record) {
	for i, v := range values {
		recs = append(recs, seglog.Record{Timestamp: first + int64(i), Key: []byte("k" + v), Value: []byte(v)})
	}
	return recs
}

// packed is a batch with its records packed by gzip.
func packed(batch []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(batch[61:])
	_ = w.Close()
	return edit(append(batch[:61:61], b.Bytes()...), func(b []byte) {
		binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
		b[22] = 1
	})
}

// edit changes a copy of a batch and sums it up anew.
func edit(batch []byte, change func(b []byte)) []byte {
	b := bytes.Clone(batch)
	change(b)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func (s *script) produceRequest(acks int16, topic string, partition int32, batch []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 60_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = topic, s.id(topic)
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = partition, batch
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// fill produces a batch.
func (s *script) fill(topic string, partition int32, batch []byte) {
	req := s.produceRequest(-1, topic, partition, batch)
	req.SetVersion(9)
	if p := ask[*kmsg.ProduceResponse](s, req).Topics[0].Partitions[0]; p.ErrorCode != 0 {
		s.fail("produce to %s: %s", topic, errorName(p.ErrorCode))
	}
}

func deleteRecords(topic string, partition int32, offset int64) *kmsg.DeleteRecordsRequest {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 60_000
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = topic
	rt.Partitions = append(rt.Partitions, kmsg.DeleteRecordsRequestTopicPartition{Partition: partition, Offset: offset})
	req.Topics = append(req.Topics, rt)
	return req
}

// commitRequest is a commit as of a consumer that has its partitions by hand.
func commitRequest(s *script, group, topic string, partition int32, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = group
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic, rt.TopicID = topic, s.id(topic)
	rp := kmsg.NewOffsetCommitRequestTopicPartition()
	rp.Partition, rp.Offset, rp.LeaderEpoch = partition, offset, 0
	rp.Metadata = kmsg.StringPtr("note")
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}
