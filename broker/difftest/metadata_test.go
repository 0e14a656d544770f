// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func metadataCases() []testCase {
	return []testCase{
		{name: "metadata", key: kmsg.Metadata, run: metadata},
		{name: "metadata of all", key: kmsg.Metadata, alone: true, run: func(s *script) {
			req := metadataRequest()
			s.do("empty list", req)
			req.Topics = nil
			s.do("null list", req)
		}},
		{name: "describe topic partitions", key: kmsg.DescribeTopicPartitions, run: describeTopicPartitions},
		{name: "describe cluster", key: kmsg.DescribeCluster, run: func(s *script) {
			req := kmsg.NewPtrDescribeClusterRequest()
			s.do("right", req)
			req.IncludeClusterAuthorizedOperations, req.IncludeFencedBrokers = true, true
			s.do("with operations", req)
			for _, kind := range []int8{0, 2, 3, -1} {
				req.EndpointType = kind
				s.do("endpoint type "+string(rune('a'+kind)), req)
			}
		}},
		{name: "find coordinator", key: kmsg.FindCoordinator, run: findCoordinator},
	}
}

func metadata(s *script) {
	s.do("known", metadataRequest("base", "compacted"))
	s.do("internal", metadataRequest("__consumer_offsets"))
	s.do("twice", metadataRequest("base", "base"))
	noCreate := func(topics ...string) *kmsg.MetadataRequest {
		req := metadataRequest(topics...)
		req.AllowAutoTopicCreation = false
		return req
	}
	s.do("invalid names", noCreate("", ".", "..", "a b", strings.Repeat("x", 250), "ok/no"))
	all := metadataRequest("base")
	all.IncludeClusterAuthorizedOperations, all.IncludeTopicAuthorizedOperations = true, true
	s.do("with operations", all)
	if s.version >= 4 {
		s.do("unknown", noCreate("nowhere", "base"))
	}
	if s.version < 10 {
		return
	}
	byID := noCreate("base")
	byID.Topics[0].Topic, byID.Topics[0].TopicID = nil, s.id("base")
	s.do("by id", byID)
	byID.Topics[0].TopicID = s.id("nowhere")
	s.do("by unknown id", byID)
	byID.Topics[0].TopicID = [16]byte{}
	s.do("by nothing", byID)
	byID.Topics[0].TopicID, byID.Topics[0].Topic = s.id("base"), kmsg.StringPtr("trimmed")
	s.do("by id and another name", byID)
	byID.Topics = append(byID.Topics, noCreate("base").Topics...)
	byID.Topics[0].Topic = nil
	s.do("one by id, one by name", byID)
}

func describeTopicPartitions(s *script) {
	ask := func(limit int32, topics ...string) *kmsg.DescribeTopicPartitionsRequest {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = limit
		for _, t := range topics {
			req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: t})
		}
		return req
	}
	s.do("known", ask(2000, "base", "trimmed"))
	s.do("unknown", ask(2000, "nowhere", "base"))
	s.do("invalid", ask(2000, "a b", ""))
	s.do("twice", ask(2000, "base", "base"))
	s.do("limit 2", ask(2, "base", "trimmed"))
	s.do("limit 3", ask(3, "trimmed", "base"))
	s.do("limit 0", ask(0, "base"))
	s.do("limit -1", ask(-1, "base"))
	req := ask(2, "base", "trimmed")
	each(map[string]kmsg.DescribeTopicPartitionsRequestCursor{
		"cursor":                  {Topic: "base", Partition: 1},
		"cursor at an end":        {Topic: "base", Partition: 3},
		"cursor beyond":           {Topic: "base", Partition: 9},
		"cursor to another":       {Topic: "bbb", Partition: 0},
		"cursor after all":        {Topic: "zzz", Partition: 0},
		"cursor below zero":       {Topic: "base", Partition: -1},
		"cursor without a name":   {},
		"cursor to a second name": {Topic: "trimmed", Partition: 0},
	}, func(label string, c kmsg.DescribeTopicPartitionsRequestCursor) {
		req.Cursor = &c
		s.do(label, req)
	})
}

func findCoordinator(s *script) {
	ask := func(kind int8, names ...string) *kmsg.FindCoordinatorRequest {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = kind, names[0], names
		return req
	}
	s.do("group", ask(0, "simple"))
	s.do("group of no name", ask(0, ""))
	s.do("transaction", ask(1, "x"))
	s.do("unknown kind", ask(7, "x"))
	s.do("negative kind", ask(-1, "x"))
	if s.version >= 4 {
		s.do("several", ask(0, "simple", "other", "simple"))
		s.do("none", &kmsg.FindCoordinatorRequest{Version: s.version})
	}
	if s.version >= 1 {
		s.do("share group", ask(2, "x:AAAAAAAAAAAAAAAAAAAAAA:0"))
	}
}
