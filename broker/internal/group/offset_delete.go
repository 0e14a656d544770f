// SPDX-License-Identifier: Apache-2.0

package group

import "github.com/twmb/franz-go/pkg/kmsg"

// An offsetDeleteEvent is an OffsetDelete request, version 0: it forgets
// offsets of topics to which nobody in the group subscribes. Only of groups of
// consumers is known who subscribes to what; others must be empty.
type offsetDeleteEvent struct {
	token token
	req   *kmsg.OffsetDeleteRequest

	exists func(topic string, partition int32) bool // nil: all do
}

func (e offsetDeleteEvent) apply(c *core) {
	g := c.groups[e.req.Group]
	resp := kmsg.NewPtrOffsetDeleteResponse()
	resp.ErrorCode = e.check(g)
	if resp.ErrorCode != errNone {
		c.reply(g, e.token, resp)
		return
	}
	for _, t := range e.req.Topics {
		rt := kmsg.NewOffsetDeleteResponseTopic()
		rt.Topic = t.Topic
		subscribed := g.subscribes(t.Topic)
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetDeleteResponseTopicPartition()
			rp.Partition = p.Partition
			tp := topicPartition{t.Topic, p.Partition}
			_, committed := g.offsets[tp]
			switch {
			case e.exists != nil && !e.exists(t.Topic, p.Partition):
				rp.ErrorCode = errUnknownTopicOrPartition
			case subscribed:
				rp.ErrorCode = errGroupSubscribedToTopic
			case committed:
				c.dropOffset(g, tp)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	c.dropIfGone(g)
	c.reply(g, e.token, resp)
}

func (e offsetDeleteEvent) check(g *group) int16 {
	switch {
	case e.req.Group == "":
		return errInvalidGroupID
	case g == nil:
		return errGroupIDNotFound
	case !g.empty() && g.modern == nil && g.protocolType != consumerProtocol:
		return errNonEmptyGroup
	}
	return errNone
}
