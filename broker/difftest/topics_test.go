// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func topicCases() []testCase {
	return []testCase{
		{name: "create topics", key: kmsg.CreateTopics, run: createsTopics},
		{name: "create topics wrongly", key: kmsg.CreateTopics, run: createsTopicsWrongly},
		{name: "delete topics", key: kmsg.DeleteTopics, run: deletesTopics},
		{name: "create partitions", key: kmsg.CreatePartitions, run: createsPartitions},
		{name: "elect leaders", key: kmsg.ElectLeaders, run: electLeaders},
		{name: "elect all leaders", key: kmsg.ElectLeaders, alone: true, run: func(s *script) {
			req := kmsg.NewPtrElectLeadersRequest()
			req.TimeoutMillis = 60_000
			s.do("all", req)
		}},
		{name: "describe log dirs", key: kmsg.DescribeLogDirs, run: describeLogDirs},
	}
}

func createsTopics(s *script) {
	name := s.unique("t")
	req := createTopics(newTopic(name, 2, "retention.ms", "1000", "cleanup.policy", "compact,delete"))
	req.ValidateOnly = true
	s.do("validated", req)
	req.ValidateOnly = false
	s.do("created", req)
	s.settled(name, 2)
	s.do("again", req)
	req.ValidateOnly = true
	s.do("again, validated", req)
	s.do("metadata", metadataRequest(name))
	assigned := newTopic(s.unique("assigned"), -1)
	assigned.ReplicationFactor = -1
	for i := range int32(2) {
		assigned.ReplicaAssignment = append(assigned.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: i, Replicas: []int32{1}})
	}
	s.do("assigned", createTopics(assigned))
	s.settled(assigned.Topic, 2)
	if s.version >= 4 {
		byDefault := newTopic(s.unique("default"), -1)
		byDefault.ReplicationFactor = -1
		s.do("by default", createTopics(byDefault))
		s.settled(byDefault.Topic, 1)
	}
	s.do("two, one there", createTopics(newTopic(name, 1), newTopic(s.unique("more"), 1)))
}

func createsTopicsWrongly(s *script) {
	n := 0
	topic := func(label string, change func(t *kmsg.CreateTopicsRequestTopic)) {
		n++
		t := newTopic(s.unique(fmt.Sprint("t", n)), 1)
		change(&t)
		s.do(label, createTopics(t))
	}
	for _, name := range []string{"", ".", "..", "a b", strings.Repeat("x", 250), "ok/no", "\u00fc"} {
		topic("name "+name, func(t *kmsg.CreateTopicsRequestTopic) { t.Topic = name })
	}
	topic("no partitions", func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = 0 })
	topic("partitions -2", func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = -2 })
	topic("partitions default", func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = -1 })
	topic("replicas 0", func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = 0 })
	topic("replicas 2", func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = 2 })
	topic("replicas -2", func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = -2 })
	assigned := func(label string, partitions, replicas int32, parts ...kmsg.CreateTopicsRequestTopicReplicaAssignment) {
		topic(label, func(t *kmsg.CreateTopicsRequestTopic) {
			t.NumPartitions, t.ReplicationFactor, t.ReplicaAssignment = partitions, int16(replicas), parts
		})
	}
	type part = kmsg.CreateTopicsRequestTopicReplicaAssignment
	assigned("assigned and counted", 1, 1, part{Partition: 0, Replicas: []int32{1}})
	assigned("assigned to nobody", -1, -1, part{Partition: 0})
	assigned("assigned to a stranger", -1, -1, part{Partition: 0, Replicas: []int32{7}})
	assigned("assigned twice", -1, -1, part{Partition: 0, Replicas: []int32{1, 1}})
	assigned("assigned from 1", -1, -1, part{Partition: 1, Replicas: []int32{1}})
	assigned("a partition twice", -1, -1, part{Partition: 0, Replicas: []int32{1}}, part{Partition: 0, Replicas: []int32{1}})
	assigned("a gap", -1, -1, part{Partition: 0, Replicas: []int32{1}}, part{Partition: 2, Replicas: []int32{1}})
	assigned("assigned below 0", -1, -1, part{Partition: -1, Replicas: []int32{1}})
	for i, c := range badTopicConfigs {
		if !s.whole() && i%10 != int(s.version)%10 {
			continue
		}
		topic("config "+c[0]+"="+c[1], func(t *kmsg.CreateTopicsRequestTopic) { t.Configs = newTopic("", 1, c[0], c[1]).Configs })
	}
	topic("config null", func(t *kmsg.CreateTopicsRequestTopic) {
		t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: "retention.ms"})
	})
	topic("config twice", func(t *kmsg.CreateTopicsRequestTopic) {
		t.Configs = newTopic("", 1, "retention.ms", "1", "retention.ms", "2").Configs
	})
	twice := newTopic(s.unique("twice"), 1)
	s.do("twice", createTopics(twice, twice, newTopic(s.unique("other"), 1)))
	s.do("internal", createTopics(newTopic("__consumer_offsets", 1)))
	s.do("nothing", createTopics())
	late := createTopics(newTopic(s.unique("late"), 1))
	late.TimeoutMillis = -1
	s.do("negative timeout", late)
	collides := s.unique("with.dot")
	s.createTopic(collides, 1)
	s.do("colliding", createTopics(newTopic(strings.ReplaceAll(collides, ".", "_"), 1)))
}

// badTopicConfigs are settings of topics, most of which make no sense.
var badTopicConfigs = [][2]string{
	{"no.such.config", "1"},
	{"", "1"},
	{"retention.ms", "x"},
	{"retention.ms", ""},
	{"retention.ms", " 5 "},
	{"retention.ms", "-2"},
	{"retention.ms", "-1"},
	{"retention.ms", "9223372036854775808"},
	{"retention.bytes", "-5"},
	{"cleanup.policy", "shred"},
	{"cleanup.policy", ""},
	{"cleanup.policy", "compact,"},
	{"cleanup.policy", "compact,compact"},
	{"cleanup.policy", "delete,compact"},
	{"compression.type", "brotli"},
	{"compression.type", "GZIP"},
	{"compression.gzip.level", "0"},
	{"compression.gzip.level", "10"},
	{"compression.lz4.level", "18"},
	{"compression.zstd.level", "23"},
	{"max.message.bytes", "-1"},
	{"max.message.bytes", "2147483648"},
	{"message.timestamp.type", "Noon"},
	{"message.timestamp.after.max.ms", "-1"},
	{"min.cleanable.dirty.ratio", "1.5"},
	{"min.cleanable.dirty.ratio", "NaN"},
	{"min.compaction.lag.ms", "-1"},
	{"max.compaction.lag.ms", "0"},
	{"min.insync.replicas", "0"},
	{"min.insync.replicas", "3"},
	{"preallocate", "yes"},
	{"preallocate", "TRUE"},
	{"segment.bytes", "13"},
	{"segment.bytes", "1048575"},
	{"segment.bytes", "1048576"},
	{"segment.ms", "0"},
	{"segment.index.bytes", "3"},
	{"segment.jitter.ms", "-1"},
	{"index.interval.bytes", "-1"},
	{"flush.messages", "0"},
	{"flush.ms", "-1"},
	{"file.delete.delay.ms", "-1"},
	{"delete.retention.ms", "-1"},
	{"unclean.leader.election.enable", "maybe"},
	{"remote.storage.enable", "true"},
	{"remote.storage.enable", "false"},
	{"local.retention.ms", "5"},
	{"leader.replication.throttled.replicas", "*"},
	{"leader.replication.throttled.replicas", "nonsense"},
	{"follower.replication.throttled.replicas", ""},
	{"message.format.version", "2.8"},
	{"message.downconversion.enable", "false"},
}

func deleteTopics(s *script, names ...string) *kmsg.DeleteTopicsRequest {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis, req.TopicNames = 60_000, names
	for i := range names {
		rt := kmsg.NewDeleteTopicsRequestTopic()
		rt.Topic = &names[i]
		req.Topics = append(req.Topics, rt)
	}
	return req
}

func deletesTopics(s *script) {
	name, second, third := s.unique("t"), s.unique("u"), s.unique("w")
	for _, t := range []string{name, second, third} {
		s.createTopic(t, 1)
	}
	s.do("unknown", deleteTopics(s, "nowhere"))
	s.do("invalid", deleteTopics(s, "a b", ""))
	s.do("nothing", deleteTopics(s))
	s.do("twice", deleteTopics(s, second, second))
	s.do("right and wrong", deleteTopics(s, name, "nowhere"))
	s.settled(name, 0)
	s.do("gone", deleteTopics(s, name))
	late := deleteTopics(s, third)
	late.TimeoutMillis = -1
	s.do("negative timeout", late)
	if s.version < 6 {
		return
	}
	byID := deleteTopics(s, "x")
	byID.Topics[0].Topic = nil
	s.do("of nothing", byID)
	byID.Topics[0].TopicID = s.id("nowhere")
	s.do("unknown id", byID)
	byID.Topics[0].TopicID = s.id(name)
	s.do("id of what is gone", byID)
	byID.Topics[0].Topic, byID.Topics[0].TopicID = &second, s.id(second)
	s.do("id and name", byID)
	byID.Topics[0].Topic = nil
	byID.Topics = append(byID.Topics, byID.Topics[0])
	s.do("id twice", byID)
	byID.Topics[1].TopicID, byID.Topics[1].Topic = [16]byte{}, &second
	s.do("id, and the name besides", byID)
	byID.Topics = byID.Topics[:1]
	s.do("by id", byID)
}

func createsPartitions(s *script) {
	name := s.unique("t")
	s.createTopic(name, 2)
	part := func(topic string, count int32, assigned ...[]int32) kmsg.CreatePartitionsRequestTopic {
		rt := kmsg.NewCreatePartitionsRequestTopic()
		rt.Topic, rt.Count = topic, count
		for _, a := range assigned {
			rt.Assignment = append(rt.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: a})
		}
		return rt
	}
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = 60_000
	ask := func(label string, topics ...kmsg.CreatePartitionsRequestTopic) {
		req.Topics = topics
		s.do(label, req)
	}
	req.ValidateOnly = true
	ask("validated", part(name, 3))
	ask("wrong, validated", part(name, 1), part("nowhere", 2))
	req.ValidateOnly = false
	ask("fewer", part(name, 1))
	ask("as many", part(name, 2))
	ask("none", part(name, 0))
	ask("negative", part(name, -1))
	ask("very many", part(name, 1_000_000_000))
	ask("unknown", part("nowhere", 2))
	ask("invalid", part("a b", 2), part("", 3))
	ask("twice", part(name, 3), part(name, 4))
	ask("assigned to a stranger", part(name, 3, []int32{7}))
	ask("assigned to nobody", part(name, 3, []int32{}))
	ask("assigned twice", part(name, 3, []int32{1, 1}))
	ask("too few assigned", part(name, 4, []int32{1}))
	ask("too many assigned", part(name, 3, []int32{1}, []int32{1}))
	ask("assigned", part(name, 3, []int32{1}))
	s.settled(name, 3)
	ask("right and wrong", part(name, 4), part("nowhere", 3))
	s.settled(name, 4)
	s.do("metadata", metadataRequest(name))
	ask("internal", part("__consumer_offsets", 3))
	ask("nothing")
	req.TimeoutMillis = -1
	ask("negative timeout", part(name, 5))
}

func electLeaders(s *script) {
	ask := func(kind int8, topic string, partitions ...int32) *kmsg.ElectLeadersRequest {
		req := kmsg.NewPtrElectLeadersRequest()
		req.ElectionType, req.TimeoutMillis = kind, 60_000
		rt := kmsg.NewElectLeadersRequestTopic()
		rt.Topic, rt.Partitions = topic, partitions
		req.Topics = append(req.Topics, rt)
		return req
	}
	s.do("preferred", ask(0, "base", 0, 1))
	s.do("unclean", ask(1, "base", 0))
	s.do("partition beyond", ask(0, "base", 9, -1))
	s.do("unknown topic", ask(0, "nowhere", 0))
	s.do("invalid topic", ask(0, "a b", 0))
	s.do("twice", ask(0, "base", 0, 0))
	s.do("no partitions", ask(0, "base"))
	if s.version >= 1 {
		s.do("unknown kind", ask(5, "base", 0))
		s.do("negative kind", ask(-1, "base", 0))
	}
	req := ask(0, "base", 0)
	req.Topics = []kmsg.ElectLeadersRequestTopic{}
	s.do("nothing", req)
}

func describeLogDirs(s *script) {
	req := kmsg.NewPtrDescribeLogDirsRequest()
	add := func(topic string, partitions ...int32) {
		rt := kmsg.NewDescribeLogDirsRequestTopic()
		rt.Topic, rt.Partitions = topic, partitions
		req.Topics = append(req.Topics, rt)
	}
	add("base", 0, 1, 2)
	s.do("known", req)
	add("nowhere", 0)
	add("a b", 0)
	add("base", 9, -1)
	s.do("right and wrong", req)
	req.Topics = nil
	add("base", 0, 0)
	s.do("twice", req)
	req.Topics = nil
	add("base")
	s.do("no partitions", req)
	req.Topics = []kmsg.DescribeLogDirsRequestTopic{}
	s.do("nothing", req)
}
