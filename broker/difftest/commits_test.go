// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func commitCases() []testCase {
	return []testCase{
		{name: "commit", key: kmsg.OffsetCommit, run: commits},
		{name: "commit of a member", key: kmsg.OffsetCommit, run: memberCommits},
		{name: "fetch offsets", key: kmsg.OffsetFetch, run: fetchesOffsets},
		{name: "delete offsets", key: kmsg.OffsetDelete, run: deletesOffsets},
	}
}

func commits(s *script) {
	group := s.unique("g")
	try := func(label string, change func(r *kmsg.OffsetCommitRequest)) {
		req := commitRequest(s, group, "base", 0, 5)
		change(req)
		s.do(label, req)
	}
	part := func(r *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitRequestTopicPartition {
		return &r.Topics[0].Partitions[0]
	}
	try("unknown member", func(r *kmsg.OffsetCommitRequest) { r.MemberID = "nobody" })
	try("generation of no group", func(r *kmsg.OffsetCommitRequest) { r.Generation = 3 })
	try("right", func(*kmsg.OffsetCommitRequest) {})
	try("no group", func(r *kmsg.OffsetCommitRequest) { // and nothing to keep, lest other cases find the group
		r.Group, r.Topics = "", commitRequest(s, group, "nowhere", 0, 1).Topics
	})
	try("unknown topic", func(r *kmsg.OffsetCommitRequest) { r.Topics = commitRequest(s, group, "nowhere", 0, 1).Topics })
	try("invalid topic", func(r *kmsg.OffsetCommitRequest) { r.Topics = commitRequest(s, group, "a b", 0, 1).Topics })
	try("partition beyond", func(r *kmsg.OffsetCommitRequest) { part(r).Partition = 3 })
	try("partition -1", func(r *kmsg.OffsetCommitRequest) { part(r).Partition = -1 })
	try("offset -1", func(r *kmsg.OffsetCommitRequest) { part(r).Offset = -1 })
	try("offset -7", func(r *kmsg.OffsetCommitRequest) { part(r).Offset = -7 })
	try("offset beyond the end", func(r *kmsg.OffsetCommitRequest) { part(r).Offset = 1 << 50 })
	try("leader epoch 99", func(r *kmsg.OffsetCommitRequest) { part(r).LeaderEpoch = 99 })
	try("leader epoch -5", func(r *kmsg.OffsetCommitRequest) { part(r).LeaderEpoch = -5 })
	try("long note", func(r *kmsg.OffsetCommitRequest) { part(r).Metadata = kmsg.StringPtr(strings.Repeat("x", 4097)) })
	try("longest note", func(r *kmsg.OffsetCommitRequest) { part(r).Metadata = kmsg.StringPtr(strings.Repeat("x", 4096)) })
	try("no note", func(r *kmsg.OffsetCommitRequest) { part(r).Metadata = nil })
	try("no partitions", func(r *kmsg.OffsetCommitRequest) { r.Topics[0].Partitions = nil })
	try("nothing", func(r *kmsg.OffsetCommitRequest) { r.Topics = nil })
	try("right and wrong", func(r *kmsg.OffsetCommitRequest) {
		r.Topics = append(r.Topics, commitRequest(s, group, "nowhere", 0, 1).Topics...)
		r.Topics = append(r.Topics, commitRequest(s, group, "trimmed", 0, 6).Topics...)
	})
	try("twice", func(r *kmsg.OffsetCommitRequest) {
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, *part(r))
		r.Topics[0].Partitions[1].Offset = 2
	})
	if s.version >= 7 {
		try("instance", func(r *kmsg.OffsetCommitRequest) { r.InstanceID = kmsg.StringPtr("static") })
	}
	if s.version <= 4 {
		try("kept for a second", func(r *kmsg.OffsetCommitRequest) { r.RetentionTimeMillis = 1000 })
	}
	s.offsetsOf("what came of it", group)
}

// offsetsOf records all offsets of a group.
func (s *script) offsetsOf(label, group string) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.SetVersion(9)
	rg := kmsg.NewOffsetFetchRequestGroup()
	rg.Group = group
	req.Groups = append(req.Groups, rg)
	s.do(label, req)
}

func memberCommits(s *script) {
	m := s.stable(s.unique("g"))
	try := func(label string, change func(r *kmsg.OffsetCommitRequest)) {
		req := m.commitRequest(5)
		change(req)
		s.do(label, req)
	}
	try("right", func(*kmsg.OffsetCommitRequest) {})
	try("unknown member", func(r *kmsg.OffsetCommitRequest) { r.MemberID = "nobody" })
	try("no member", func(r *kmsg.OffsetCommitRequest) { r.MemberID = "" })
	try("old generation", func(r *kmsg.OffsetCommitRequest) { r.Generation-- })
	try("generation to come", func(r *kmsg.OffsetCommitRequest) { r.Generation++ })
	try("from outside", func(r *kmsg.OffsetCommitRequest) { r.MemberID, r.Generation = "", -1 })
	try("generation -1", func(r *kmsg.OffsetCommitRequest) { r.Generation = -1 })
	if s.version >= 7 {
		try("unknown instance", func(r *kmsg.OffsetCommitRequest) { r.InstanceID = kmsg.StringPtr("static") })
	}
	s.offsetsOf("what came of it", m.group)
}

func fetchesOffsets(s *script) {
	group := s.unique("g")
	ask[*kmsg.OffsetCommitResponse](s, commitRequest(s, group, "base", 1, 5))
	ask[*kmsg.OffsetCommitResponse](s, commitRequest(s, group, "trimmed", 0, 6))
	m := s.stable(s.unique("h"))
	question := func(group string, topics ...string) *kmsg.OffsetFetchRequest {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Group = group
		rg := kmsg.NewOffsetFetchRequestGroup()
		rg.Group = group
		for _, t := range topics {
			rt := kmsg.NewOffsetFetchRequestTopic()
			rt.Topic, rt.Partitions = t, []int32{0, 1, 7, -1}
			req.Topics = append(req.Topics, rt)
			gt := kmsg.NewOffsetFetchRequestGroupTopic()
			gt.Topic, gt.TopicID, gt.Partitions = t, s.id(t), rt.Partitions
			rg.Topics = append(rg.Topics, gt)
		}
		req.Groups = append(req.Groups, rg)
		return req
	}
	s.do("right", question(group, "base", "trimmed"))
	s.do("unknown topic", question(group, "base", "nowhere"))
	s.do("invalid topic", question(group, "a b"))
	s.do("unknown group", question("nowhere", "base"))
	s.do("no group", question("", "base"))
	s.do("topic twice", question(group, "base", "base"))
	stable := question(group, "base")
	stable.RequireStable = true
	s.do("stable", stable)
	s.do("all", question(group))
	s.do("all of an unknown group", question("nowhere"))
	none := question(group)
	none.Topics, none.Groups[0].Topics = []kmsg.OffsetFetchRequestTopic{}, []kmsg.OffsetFetchRequestGroupTopic{}
	s.do("none", none)
	if s.version >= 8 {
		several := question(group, "base")
		several.Groups = append(several.Groups, question("nowhere", "base").Groups...)
		several.Groups = append(several.Groups, question("simple").Groups...)
		s.do("several groups", several)
		several.Groups = append(several.Groups, several.Groups[0])
		s.do("a group twice", several)
		several.Groups = nil
		s.do("no groups", several)
	}
	if s.version >= 9 {
		for _, who := range []struct {
			label string
			id    *string
			epoch int32
		}{{"nobody", kmsg.StringPtr("nobody"), 3}, {"the member", &m.id, m.generation}, {"no member", nil, 3}, {"old member", &m.id, 0}} {
			req := question(m.group, "base")
			req.Groups[0].MemberID, req.Groups[0].MemberEpoch = who.id, who.epoch
			s.do("as "+who.label, req)
		}
	}
}

func deletesOffsets(s *script) {
	group := s.unique("g")
	ask[*kmsg.OffsetCommitResponse](s, commitRequest(s, group, "base", 1, 5))
	ask[*kmsg.OffsetCommitResponse](s, commitRequest(s, group, "trimmed", 0, 6))
	m := s.stable(s.unique("h"))
	s.start("stable", "", m.commitRequest(2)).wait()
	try := func(label, group, topic string, partitions ...int32) {
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = group
		rt := kmsg.NewOffsetDeleteRequestTopic()
		rt.Topic = topic
		for _, p := range partitions {
			rt.Partitions = append(rt.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
		}
		req.Topics = append(req.Topics, rt)
		s.do(label, req)
	}
	try("right, and without an offset", group, "base", 0, 1)
	try("again", group, "base", 1)
	try("twice", group, "trimmed", 0, 0)
	try("partition beyond", group, "base", 7, -1)
	try("unknown topic", group, "nowhere", 0)
	try("unknown group", "nowhere", "base", 0)
	try("no group", "", "base", 0)
	try("subscribed topic", m.group, "base", 0)
	try("topic that is not subscribed", m.group, "trimmed", 0)
	try("no partitions", group, "base")
	s.do("nothing", &kmsg.OffsetDeleteRequest{Group: group})
	s.described("what is left", group)
	s.offsetsOf("offsets that are left", group)
}
