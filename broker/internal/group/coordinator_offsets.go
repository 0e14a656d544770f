// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetCommit answers when the offsets are in the log. Since v10 topics come
// by id. With a Config.TopicID, topics that it does not know are refused, and so
// are with a Config.PartitionExists partitions.
func (c *Coordinator) OffsetCommit(ctx context.Context, _ Client, req *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
	e := commitEvent{req: req, exists: c.cfg.PartitionExists, names: make([]string, len(req.Topics)), codes: make([]int16, len(req.Topics))}
	for i, t := range req.Topics {
		e.names[i], e.codes[i] = c.commitTopic(req.Version, t)
	}
	return one(ctx, c, c.partitionOf(req.Group), func(t token) event {
		e.token = t
		return e
	}, func(code int16) *kmsg.OffsetCommitResponse {
		return commitFailure(req, code)
	})
}

// commitTopic returns the name of a topic to commit for, or why not to.
func (c *Coordinator) commitTopic(version int16, t kmsg.OffsetCommitRequestTopic) (string, int16) {
	if version >= 10 {
		name, ok := c.cfg.TopicName(t.TopicID)
		if !ok {
			return "", errUnknownTopicID
		}
		return name, errNone
	}
	if t.Topic == "" || len(t.Topic) > maxString {
		return "", errInvalidTopic
	}
	if c.cfg.TopicID != nil {
		if _, ok := c.cfg.TopicID(t.Topic); !ok {
			return "", errUnknownTopicOrPartition
		}
	}
	return t.Topic, errNone
}

// topicID returns the id of a topic.
func (c *Coordinator) topicID(name string) ([16]byte, bool) {
	if c.cfg.TopicID == nil {
		return [16]byte{}, false
	}
	return c.cfg.TopicID(name)
}

// OffsetFetch returns committed offsets: of one group, or, since v8, of
// several; since v2 of all partitions if no topics are named (null). An offset
// that was never committed is -1 with no error.
func (c *Coordinator) OffsetFetch(ctx context.Context, _ Client, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.Version = req.Version
	if req.Version >= 8 {
		c.fetchGroups(ctx, req, resp)
		return resp
	}
	e := fetchEvent{group: req.Group, epoch: -1, all: req.Topics == nil && req.Version >= 2}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			e.of = append(e.of, topicPartition{t.Topic, p})
		}
	}
	p := c.partitionOf(req.Group)
	offsets, code := c.ask(ctx, p, e.with).wait(ctx, p).fetched()
	resp.ErrorCode = code
	if code != errNone {
		e.failedTopics(resp, code)
		return resp
	}
	for _, f := range offsets {
		addFetched(resp, f, errNone)
	}
	return resp
}

// fetched returns what a fetchEvent is answered with.
func (a answer) fetched() ([]fetched, int16) {
	if code, ok := a.body.(int16); ok {
		return nil, code
	}
	if a.code != errNone {
		return nil, a.code
	}
	return a.body.([]fetched), errNone
}

// with returns e as the event of t.
func (e fetchEvent) with(t token) event {
	e.token = t
	return e
}

// failedTopics puts code into each partition asked for: before v2 there is no
// other place for it, and later ones do not mind.
func (e fetchEvent) failedTopics(resp *kmsg.OffsetFetchResponse, code int16) {
	for _, tp := range e.of {
		addFetched(resp, fetched{topicPartition: tp, committed: committed{offset: -1, leaderEpoch: -1}}, code)
	}
}

// addFetched appends f to the topic that resp ends with, or to a new one.
func addFetched(resp *kmsg.OffsetFetchResponse, f fetched, code int16) {
	if n := len(resp.Topics); n == 0 || resp.Topics[n-1].Topic != f.topic {
		t := kmsg.NewOffsetFetchResponseTopic()
		t.Topic = f.topic
		resp.Topics = append(resp.Topics, t)
	}
	t := &resp.Topics[len(resp.Topics)-1]
	p := kmsg.NewOffsetFetchResponseTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch = f.partition, f.offset, f.leaderEpoch
	p.Metadata = kmsg.StringPtr(f.committed.metadata)
	p.ErrorCode = code
	t.Partitions = append(t.Partitions, p)
}

// fetchGroups serves v8 and later.
func (c *Coordinator) fetchGroups(ctx context.Context, req *kmsg.OffsetFetchRequest, resp *kmsg.OffsetFetchResponse) {
	calls := make([]*call, len(req.Groups))
	known := make([][]bool, len(req.Groups)) // of each group's topics, at one time
	for i, rg := range req.Groups {
		e := fetchEvent{group: rg.Group, member: rg.MemberID, epoch: rg.MemberEpoch, all: rg.Topics == nil}
		if req.Version < 9 {
			e.member, e.epoch = nil, -1
		}
		for _, t := range rg.Topics {
			name, ok := c.fetchTopic(req.Version, t)
			known[i] = append(known[i], ok)
			for _, p := range t.Partitions {
				if ok {
					e.of = append(e.of, topicPartition{name, p})
				}
			}
		}
		calls[i] = c.ask(ctx, c.partitionOf(rg.Group), e.with)
	}
	for i, rg := range req.Groups {
		g := kmsg.NewOffsetFetchResponseGroup()
		g.Group = rg.Group
		offsets, code := calls[i].wait(ctx, c.partitionOf(rg.Group)).fetched()
		g.ErrorCode = code
		switch {
		case code != errNone:
		case rg.Topics == nil:
			g.Topics = c.allTopics(req.Version, offsets)
		default:
			g.Topics = namedTopics(rg.Topics, known[i], offsets)
		}
		resp.Groups = append(resp.Groups, g)
	}
}

// fetchTopic returns the name of a topic asked for.
func (c *Coordinator) fetchTopic(version int16, t kmsg.OffsetFetchRequestGroupTopic) (string, bool) {
	if version >= 10 {
		return c.cfg.TopicName(t.TopicID)
	}
	return t.Topic, true
}

// allTopics groups offsets, which are in order, by topic. Since v10 topics
// without an id, deleted ones, are left out.
func (c *Coordinator) allTopics(version int16, offsets []fetched) []kmsg.OffsetFetchResponseGroupTopic {
	topics := []kmsg.OffsetFetchResponseGroupTopic{}
	for i, f := range offsets {
		if i == 0 || offsets[i-1].topic != f.topic {
			t := kmsg.NewOffsetFetchResponseGroupTopic()
			t.Topic = f.topic
			t.TopicID, _ = c.topicID(f.topic)
			topics = append(topics, t)
		}
		t := &topics[len(topics)-1]
		t.Partitions = append(t.Partitions, fetchedPartition(f.partition, f))
	}
	if version < 10 {
		return topics
	}
	known := topics[:0]
	for _, t := range topics {
		if t.TopicID != ([16]byte{}) {
			known = append(known, t)
		}
	}
	return known
}

// namedTopics answers for topics as they were asked for. offsets has those of
// the known ones, in the same order.
func namedTopics(topics []kmsg.OffsetFetchRequestGroupTopic, known []bool, offsets []fetched) []kmsg.OffsetFetchResponseGroupTopic {
	out := make([]kmsg.OffsetFetchResponseGroupTopic, 0, len(topics))
	for i, rt := range topics {
		t := kmsg.NewOffsetFetchResponseGroupTopic()
		t.Topic, t.TopicID = rt.Topic, rt.TopicID
		for _, partition := range rt.Partitions {
			p := fetchedPartition(partition, fetched{committed: committed{offset: -1, leaderEpoch: -1}})
			if known[i] {
				p = fetchedPartition(partition, offsets[0])
				offsets = offsets[1:]
			} else {
				p.ErrorCode = errUnknownTopicID
			}
			t.Partitions = append(t.Partitions, p)
		}
		out = append(out, t)
	}
	return out
}

func fetchedPartition(partition int32, f fetched) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch = partition, f.offset, f.leaderEpoch
	p.Metadata = kmsg.StringPtr(f.committed.metadata)
	return p
}
