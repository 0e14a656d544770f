// SPDX-License-Identifier: Apache-2.0

package group

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A syncEvent is a SyncGroup request, versions 0-5. The leader's brings the
// assignment, which goes to the log before anybody is told of it.
type syncEvent struct {
	token token
	req   *kmsg.SyncGroupRequest
}

func (e syncEvent) apply(c *core) {
	g := c.groups[e.req.Group]
	if g != nil && g.modern != nil {
		e.syncModern(c, g)
		return
	}
	code := e.check(g)
	if code == errNone && g.state == statePreparing {
		code = errRebalanceInProgress
	}
	if code != errNone {
		c.reply(g, e.token, syncFailure(e.req.Version, code))
		return
	}
	m := g.byID[e.req.MemberID]
	delete(g.pendingSync, m.id)
	if len(g.pendingSync) == 0 {
		c.timers.cancel(timerKey{kind: timerSync, group: g.id})
	}
	if g.state == stateStable {
		c.reply(g, e.token, syncReply(g, m, e.req.Version))
		return
	}
	c.answerSync(g, m, errRebalanceInProgress) // it has given up on an older request
	m.sync = parked{e.token, e.req.Version}
	if g.leader == m.id {
		e.assign(c, g)
	}
}

// check returns why the sender may not sync now.
func (e syncEvent) check(g *group) int16 {
	req := e.req
	if req.Group == "" {
		return errInvalidGroupID
	}
	if g == nil {
		return errUnknownMemberID
	}
	if code := g.validate(req.MemberID, req.InstanceID); code != errNone {
		return code
	}
	if req.Generation != g.generation {
		return errIllegalGeneration
	}
	if req.ProtocolType != nil && *req.ProtocolType != g.protocolType {
		return errInconsistentGroupProtocol
	}
	// While preparing, the protocol is that of the generation that ends.
	if req.Protocol != nil && *req.Protocol != g.protocol {
		return errInconsistentGroupProtocol
	}
	return errNone
}

// assign stores the leader's assignment. Members that it left out get an empty
// one; ids that are no members are passed over.
func (e syncEvent) assign(c *core, g *group) {
	for _, m := range g.members {
		m.assignment = nil
	}
	for _, a := range e.req.GroupAssignment {
		if m := g.byID[a.MemberID]; m != nil {
			m.assignment = bytes.Clone(a.MemberAssignment)
		}
	}
	g.transition(c, stateStable)
	if !c.emitGroup(g) {
		// Nothing is stored: as if the leader had not synced, but it must
		// not come back with the same assignment.
		for _, m := range g.members {
			m.assignment = nil
			c.answerSync(g, m, errUnknownServerError)
		}
		c.prepareRebalance(g, "the assignment does not fit into a record")
		return
	}
	for _, m := range g.members {
		if m.sync.token != 0 {
			c.reply(g, m.sync.token, syncReply(g, m, m.sync.version))
			m.sync = parked{}
			c.keepAlive(g, m) // sessions did not end while it waited
		}
	}
	c.note(note{text: "group is stable", group: g.id, generation: g.generation, members: len(g.members)})
}

// answerSync answers the parked sync of m with an error, if there is one.
func (c *core) answerSync(g *group, m *member, code int16) {
	if m.sync.token == 0 {
		return
	}
	c.reply(g, m.sync.token, syncFailure(m.sync.version, code))
	m.sync = parked{}
	c.keepAlive(g, m)
}

func syncFailure(version, code int16) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version = version
	resp.ErrorCode = code
	return resp
}

func syncReply(g *group, m *member, version int16) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version = version
	resp.ProtocolType = kmsg.StringPtr(g.protocolType)
	resp.Protocol = kmsg.StringPtr(g.protocol)
	resp.MemberAssignment = m.assignment
	return resp
}
