// SPDX-License-Identifier: Apache-2.0

package group

import "github.com/twmb/franz-go/pkg/kmsg"

// A consumerDescribeEvent asks for the description of one consumer group, for
// a ConsumerGroupDescribe request, versions 0-1; its reply is a
// kmsg.ConsumerGroupDescribeResponseGroup.
type consumerDescribeEvent struct {
	token token
	group string
}

// Member types in a description (KIP-1099).
const (
	typeClassic  = 0
	typeConsumer = 1
)

func (e consumerDescribeEvent) apply(c *core) {
	g := c.groups[e.group]
	if f := e.check(g); f.code != errNone {
		c.reply(g, e.token, describeFailure(e.group, f))
		return
	}
	mod := g.modern
	d := kmsg.NewConsumerGroupDescribeResponseGroup()
	d.Group, d.State = g.id, mod.stateName()
	d.Epoch, d.AssignmentEpoch, d.AssignorName = mod.epoch, mod.assignmentEpoch, mod.assignorName()
	for _, id := range mod.ids() {
		m := mod.members[id]
		dm := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		dm.MemberID, dm.InstanceID, dm.RackID = m.id, m.instance, m.rack
		dm.MemberEpoch = m.epoch
		dm.ClientID, dm.ClientHost = m.client.ID, m.client.Host
		dm.SubscribedTopics = m.topics
		dm.SubscribedTopicRegex = &m.regex
		dm.Assignment = c.described(m.assigned.partitions())
		dm.TargetAssignment = c.described(mod.targets[id])
		dm.MemberType = typeConsumer
		if m.classic != nil {
			dm.MemberType = typeClassic
		}
		d.Members = append(d.Members, dm)
	}
	c.reply(g, e.token, d)
}

func (e consumerDescribeEvent) check(g *group) fault {
	switch {
	case e.group == "":
		return fault{code: errInvalidGroupID}
	case g == nil:
		return faultf(errGroupIDNotFound, "Group %s not found.", e.group)
	case g.modern == nil:
		return faultf(errGroupIDNotFound, "Group %s is not a consumer group.", e.group)
	}
	return fault{}
}

func describeFailure(group string, f fault) kmsg.ConsumerGroupDescribeResponseGroup {
	d := kmsg.NewConsumerGroupDescribeResponseGroup()
	d.Group, d.ErrorCode = group, f.code
	if f.text != "" {
		d.ErrorMessage = &f.text
	}
	return d
}

// described names the topics of p; those that were deleted are left out.
func (c *core) described(p partitions) kmsg.Assignment {
	var a kmsg.Assignment
	for id, of := range p.inOrder() {
		if t := c.topics.byID[id]; t != nil {
			a.TopicPartitions = append(a.TopicPartitions, kmsg.AssignmentTopicPartition{TopicID: id, Topic: t.Name, Partitions: of})
		}
	}
	return a
}
