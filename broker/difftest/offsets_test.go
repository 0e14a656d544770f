// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func offsetCases() []testCase {
	return []testCase{
		{name: "list offsets", key: kmsg.ListOffsets, run: listOffsets},
		{name: "offset for leader epoch", key: kmsg.OffsetForLeaderEpoch, run: offsetForLeaderEpoch},
		{name: "delete records", key: kmsg.DeleteRecords, run: deletesRecords},
	}
}

func listRequest(topic string, partition int32, timestamp int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.TimeoutMillis = -1, 60_000
	addList(req, topic, partition, timestamp)
	return req
}

func addList(req *kmsg.ListOffsetsRequest, topic string, partition int32, timestamp int64) {
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = partition, timestamp, -1
	if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != topic {
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = topic
		req.Topics = append(req.Topics, rt)
	}
	rt := &req.Topics[len(req.Topics)-1]
	rt.Partitions = append(rt.Partitions, rp)
}

func listOffsets(s *script) {
	for _, ts := range []int64{-1, -2, -3, -4, -5, -6, -7, -100, 0, 1, 1000, 1001, 1002, 1003, 1999, 2001, 2500, 3000, 3001, 3502, 4000, 4001, 1 << 60} {
		s.do(fmt.Sprint("timestamp ", ts), listRequest("base", 0, ts))
	}
	for _, ts := range []int64{-1, -2, -3, -4, -5, 0, 1002, 1005, 2000} {
		s.do(fmt.Sprint("trimmed, timestamp ", ts), listRequest("trimmed", 0, ts))
		s.do(fmt.Sprint("empty, timestamp ", ts), listRequest("base", 2, ts))
	}
	s.do("unknown topic", listRequest("nowhere", 0, -1))
	s.do("invalid topic", listRequest("a b", 0, -1))
	s.do("partition beyond", listRequest("base", 3, -1))
	s.do("partition -1", listRequest("base", -1, -1))
	req := listRequest("base", 0, -1)
	addList(req, "base", 1, -2)
	addList(req, "trimmed", 0, 1007)
	addList(req, "nowhere", 0, 5)
	s.do("several", req)
	addList(req, "base", 0, -2)
	s.do("twice in two lists", req)
	req = listRequest("base", 0, -1)
	addList(req, "base", 0, -2)
	addList(req, "base", 1, -2)
	s.do("twice", req)
	req = listRequest("base", 0, -1)
	req.IsolationLevel = 1
	s.do("committed", req)
	req.IsolationLevel = 5
	s.do("unknown isolation", req)
	req = listRequest("base", 0, -1)
	req.ReplicaID = 5
	s.do("as a replica", req)
	req.ReplicaID = -2
	s.do("as a debugger", req)
	for _, epoch := range []int32{0, 1, -2} {
		for _, topic := range []string{"base", "nowhere"} {
			req = listRequest(topic, 0, 2001)
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
			s.do(fmt.Sprint("epoch ", epoch, " of ", topic), req)
		}
	}
	req.Topics[0].Partitions = nil
	s.do("no partitions", req)
	req.Topics = nil
	s.do("nothing", req)
}

func offsetForLeaderEpoch(s *script) {
	question := func(topic string, partition, current, epoch int32) *kmsg.OffsetForLeaderEpochRequest {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.ReplicaID = -1
		rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
		rt.Topic = topic
		rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		rp.Partition, rp.CurrentLeaderEpoch, rp.LeaderEpoch = partition, current, epoch
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		return req
	}
	for _, topic := range []string{"base", "trimmed", "nowhere", "a b"} {
		for _, epoch := range []int32{-1, 0, 1, 9, -2} {
			s.do(fmt.Sprint(topic, ", epoch ", epoch), question(topic, 0, -1, epoch))
			s.do(fmt.Sprint(topic, ", current epoch ", epoch), question(topic, 0, epoch, 0))
		}
	}
	s.do("empty", question("base", 2, -1, 0))
	s.do("partition beyond", question("base", 3, -1, 0))
	req := question("base", 0, -1, 0)
	req.Topics = append(req.Topics, question("trimmed", 0, -1, 0).Topics...)
	req.Topics = append(req.Topics, req.Topics[0])
	s.do("several, one twice", req)
	req = question("base", 0, -1, 0)
	req.ReplicaID = 3
	s.do("as a replica", req)
}

func deletesRecords(s *script) {
	topic := s.unique("t")
	s.createTopic(topic, 2)
	s.fill(topic, 0, batchAt(1000, "a", "b", "c", "d"))
	for _, offset := range []int64{-2, 5, 0, 2, 1, 4, -1, 4} {
		s.do(fmt.Sprint("before ", offset), deleteRecords(topic, 0, offset))
	}
	s.do("what is left", s.fetchRequest(topic, 0, 4))
	s.do("what is not", s.fetchRequest(topic, 0, 1))
	s.do("of none", deleteRecords(topic, 1, -1))
	s.do("unknown topic", deleteRecords("nowhere", 0, 1))
	s.do("invalid topic", deleteRecords("a b", 0, 1))
	s.do("partition beyond", deleteRecords(topic, 2, 1))
	s.do("partition -1", deleteRecords(topic, -1, 1))
	s.do("internal topic", deleteRecords("__consumer_offsets", 0, 0))
	s.do("internal topic, all", deleteRecords("__consumer_offsets", 0, -1))
	compacted := deleteRecords("compacted", 0, 0)
	s.do("compacted", compacted)
	req := deleteRecords(topic, 0, 4)
	req.Topics = append(req.Topics, deleteRecords("nowhere", 0, 1).Topics...)
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
	s.do("twice, and elsewhere", req)
	req.TimeoutMillis = -1
	s.do("negative timeout", req)
	req.Topics = nil
	s.do("nothing", req)
}
