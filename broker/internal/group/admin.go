// SPDX-License-Identifier: Apache-2.0

package group

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A describeEvent asks for the description of one group, for a DescribeGroups
// request, versions 0-6; its reply is a kmsg.DescribeGroupsResponseGroup.
type describeEvent struct {
	token   token
	version int16
	group   string
}

func (e describeEvent) apply(c *core) {
	g := c.groups[e.group]
	d := kmsg.NewDescribeGroupsResponseGroup()
	d.Group = e.group
	if g == nil || g.modern != nil {
		text := "Group " + e.group + " not found."
		if g != nil {
			text = "Group " + e.group + " is not a classic group."
		}
		d.State = deadState
		if e.version >= 6 { // KIP-1043
			d.ErrorCode, d.ErrorMessage = errGroupIDNotFound, &text
		}
		c.reply(g, e.token, d)
		return
	}
	d.State = g.state.String()
	d.ProtocolType = g.protocolType
	if g.state == stateStable {
		d.Protocol = g.protocol
	}
	for _, m := range g.members {
		dm := kmsg.NewDescribeGroupsResponseGroupMember()
		dm.MemberID, dm.InstanceID = m.id, m.instance
		dm.ClientID, dm.ClientHost = m.client.ID, m.client.Host
		dm.MemberAssignment = m.assignment
		if g.state == stateStable {
			dm.ProtocolMetadata = m.metadata(g.protocol)
		}
		d.Members = append(d.Members, dm)
	}
	c.reply(g, e.token, d)
}

// A listEvent asks for the groups of the partition, for a ListGroups request,
// versions 0-5; its reply is a []kmsg.ListGroupsResponseGroup in order of id.
type listEvent struct {
	token  token
	states []string // KIP-518; none means all
	types  []string // KIP-848; none means all
}

// What ListGroups calls the types of groups.
const (
	classicType  = "classic"
	consumerType = "consumer"
)

func (e listEvent) apply(c *core) {
	out := []kmsg.ListGroupsResponseGroup{}
	for _, id := range c.groupIDs() {
		g := c.groups[id]
		lg := kmsg.NewListGroupsResponseGroup()
		lg.Group, lg.ProtocolType = id, g.protocolType
		lg.GroupState, lg.GroupType = g.stateName(), classicType
		if g.modern != nil {
			lg.ProtocolType, lg.GroupType = consumerProtocol, consumerType
		}
		if !passes(e.states, lg.GroupState) || !passes(e.types, lg.GroupType) {
			continue
		}
		out = append(out, lg)
	}
	c.reply(nil, e.token, out)
}

// passes reports whether filter lets s through; case does not matter.
func passes(filter []string, s string) bool {
	for _, f := range filter {
		if strings.EqualFold(f, s) {
			return true
		}
	}
	return len(filter) == 0
}

// A deleteEvent deletes one group that has no members, with its offsets, for
// a DeleteGroups request, versions 0-2; its reply is an error code.
type deleteEvent struct {
	token token
	group string
}

func (e deleteEvent) apply(c *core) {
	g := c.groups[e.group]
	switch {
	case g == nil:
		c.reply(nil, e.token, errGroupIDNotFound)
		return
	case !g.empty():
		c.reply(g, e.token, errNonEmptyGroup)
		return
	}
	for _, tp := range g.partitions() {
		c.dropOffset(g, tp)
	}
	c.deleteGroup(g)
	c.note(note{text: "group deleted", group: g.id})
	c.reply(g, e.token, errNone)
}
