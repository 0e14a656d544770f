// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A heartbeatEvent is a Heartbeat request, versions 0-4.
type heartbeatEvent struct {
	token token
	req   *kmsg.HeartbeatRequest
}

func (e heartbeatEvent) apply(c *core) {
	g := c.groups[e.req.Group]
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.Version = e.req.Version
	resp.ErrorCode = e.beat(c, g)
	c.reply(g, e.token, resp)
}

func (e heartbeatEvent) beat(c *core, g *group) int16 {
	req := e.req
	if req.Group == "" {
		return errInvalidGroupID
	}
	if g == nil {
		return errUnknownMemberID
	}
	if g.modern != nil {
		return e.beatModern(c, g)
	}
	if code := g.validate(req.MemberID, req.InstanceID); code != errNone {
		return code
	}
	if req.Generation != g.generation {
		return errIllegalGeneration
	}
	c.keepAlive(g, g.byID[req.MemberID])
	if g.state == statePreparing {
		return errRebalanceInProgress
	}
	return errNone
}

// A leaveEvent is a LeaveGroup request, versions 0-5. Since v3 it names
// several members, each by its id or, for an administrator, by its instance id
// alone.
type leaveEvent struct {
	token token
	req   *kmsg.LeaveGroupRequest
}

func (e leaveEvent) apply(c *core) {
	req := e.req
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.Version = req.Version
	g := c.groups[req.Group]
	members := req.Members
	if req.Version < 3 {
		members = []kmsg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	if req.Group == "" {
		resp.ErrorCode = errInvalidGroupID
		c.reply(nil, e.token, resp)
		return
	}
	var codes []int16
	switch {
	case g == nil:
		codes = slices.Repeat([]int16{errUnknownMemberID}, len(members))
	case g.modern != nil:
		codes = c.leaveModern(g, members)
	default:
		codes = c.leaveClassic(g, members)
	}
	for i, lm := range members {
		rm := kmsg.NewLeaveGroupResponseMember()
		rm.MemberID, rm.InstanceID, rm.ErrorCode = lm.MemberID, lm.InstanceID, codes[i]
		resp.Members = append(resp.Members, rm)
	}
	if req.Version < 3 {
		resp.ErrorCode, resp.Members = resp.Members[0].ErrorCode, nil
	}
	c.reply(g, e.token, resp)
}

// leaveClassic removes members of a classic group. The answers are in the order
// of members.
func (c *core) leaveClassic(g *group, members []kmsg.LeaveGroupRequestMember) []int16 {
	codes, left := make([]int16, len(members)), false
	for i, lm := range members {
		codes[i] = c.leave(g, lm)
		left = left || codes[i] == errNone
	}
	if left {
		c.membersLeft(g, "members left")
	}
	return codes
}

// leave removes one member, and does not go on with the rebalance yet.
func (c *core) leave(g *group, lm kmsg.LeaveGroupRequestMember) int16 {
	id := lm.MemberID
	switch {
	case id == "" && lm.InstanceID == nil:
		return errUnknownMemberID
	case id == "":
		id = g.statics[*lm.InstanceID]
		if id == "" {
			return errUnknownMemberID
		}
	case !g.pendingJoin[id]:
		if code := g.validate(id, lm.InstanceID); code != errNone {
			return code
		}
	}
	c.drop(g, id)
	c.note(note{text: "member left", group: g.id, member: id})
	return errNone
}
