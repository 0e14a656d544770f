// SPDX-License-Identifier: Apache-2.0

package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A joinEvent is a JoinGroup request, versions 0-9.
//
// Since v4 a dynamic member that comes without an id is first given one
// (MEMBER_ID_REQUIRED, KIP-394); since v5 members can be static (KIP-345);
// since v9 a static leader that comes back may skip the assignment (KIP-814).
type joinEvent struct {
	token  token
	client Client
	req    *kmsg.JoinGroupRequest
	fresh  string // random part of a new member id
}

func (e joinEvent) apply(c *core) {
	req := e.req
	if code := c.checkJoin(req); code != errNone {
		e.fail(c, nil, req.MemberID, code)
		return
	}
	protocols := ownProtocols(req.Protocols)
	g := c.groups[req.Group]
	if g == nil {
		if req.MemberID != "" {
			e.fail(c, nil, req.MemberID, errUnknownMemberID)
			return
		}
		if req.ProtocolType == "" || len(protocols) == 0 {
			e.fail(c, nil, "", errInconsistentGroupProtocol)
			return
		}
		g = c.create(req.Group)
	}
	if g.modern != nil && len(g.modern.members) > 0 {
		e.joinModern(c, g, protocols)
		return
	}
	if g.modern != nil { // empty: it becomes a classic group
		if req.MemberID != "" || req.ProtocolType == "" || len(protocols) == 0 {
			code := errInconsistentGroupProtocol
			if req.MemberID != "" {
				code = errUnknownMemberID
			}
			e.fail(c, g, req.MemberID, code)
			return
		}
		c.dropModern(g)
	}
	switch {
	case !c.acceptsJoin(g, req.MemberID):
		c.drop(g, req.MemberID)
		c.maybeCompleteJoin(g)
		e.fail(c, g, "", errGroupMaxSizeReached)
	case !g.supports(req.ProtocolType, protocols):
		e.fail(c, g, req.MemberID, errInconsistentGroupProtocol)
	case req.MemberID == "":
		e.newMember(c, g, protocols)
	case g.pendingJoin[req.MemberID]:
		if req.InstanceID != nil { // ids are given out to dynamic members only
			e.fail(c, g, req.MemberID, errUnknownMemberID)
			return
		}
		e.addMember(c, g, req.MemberID, protocols)
	default:
		e.rejoin(c, g, protocols)
	}
}

// checkJoin checks what needs no group.
func (c *core) checkJoin(req *kmsg.JoinGroupRequest) int16 {
	session := time.Duration(req.SessionTimeoutMillis) * time.Millisecond
	switch {
	case req.Group == "" || len(req.Group) > maxString:
		return errInvalidGroupID
	case session < c.cfg.MinSessionTimeout || session > c.cfg.MaxSessionTimeout:
		return errInvalidSessionTimeout
	case req.InstanceID != nil && len(*req.InstanceID) > maxInstanceID:
		return errInvalidRequest
	case len(req.ProtocolType) > maxString:
		return errInconsistentGroupProtocol
	}
	for _, p := range req.Protocols {
		if len(p.Name) > maxString {
			return errInconsistentGroupProtocol
		}
	}
	return errNone
}

// maxInstanceID and maxClientID leave room for the random part of a member id.
const (
	maxInstanceID = maxString - 64
	maxClientID   = 249
)

// acceptsJoin reports whether the limit of members leaves room for id. In the
// join phase those that have joined count, so that a group above the limit
// loses its last ones.
func (c *core) acceptsJoin(g *group, id string) bool {
	m := g.byID[id]
	switch g.state {
	case stateEmpty:
		return true
	case statePreparing:
		return m != nil && m.join.token != 0 || g.joining < c.cfg.GroupMaxSize
	default:
		return m != nil || len(g.members) < c.cfg.GroupMaxSize
	}
}

// newMember serves a member that came without an id.
func (e joinEvent) newMember(c *core, g *group, protocols []kmsg.JoinGroupRequestProtocol) {
	if !g.persisted {
		g.since = c.nowMs()
		c.emitGroup(g) // so that the group is still there after a restart
	}
	if e.req.InstanceID != nil {
		id := *e.req.InstanceID + "-" + e.fresh
		if old, ok := g.statics[*e.req.InstanceID]; ok {
			e.replaceStatic(c, g, g.byID[old], id, protocols)
			return
		}
		e.addMember(c, g, id, protocols)
		return
	}
	name := e.client.ID
	if len(name) > maxClientID {
		name = name[:maxClientID]
	}
	id := name + "-" + e.fresh
	if e.req.Version < 4 {
		e.addMember(c, g, id, protocols)
		return
	}
	g.pendingJoin[id] = true
	c.timers.set(timerKey{timerSession, g.id, id}, c.now.Add(millis(e.req.SessionTimeoutMillis)))
	e.fail(c, g, id, errMemberIDRequired)
}

// addMember adds the sender under id and has it wait for the rebalance.
func (e joinEvent) addMember(c *core, g *group, id string, protocols []kmsg.JoinGroupRequestProtocol) {
	m := &member{id: id, instance: e.req.InstanceID, isNew: true}
	e.update(m)
	m.protocols = protocols
	if g.state == statePreparing && g.previous == stateEmpty {
		g.joinedSince = true
	}
	if len(g.members) == 0 {
		g.protocolType = e.req.ProtocolType
	}
	g.add(m)
	c.timers.set(timerKey{timerSession, g.id, id}, c.now.Add(newMemberJoinTimeout))
	c.rebalanceOrComplete(g, "member "+id+" joins")
}

// rejoin serves a member that is, or should be, one of the group.
func (e joinEvent) rejoin(c *core, g *group, protocols []kmsg.JoinGroupRequestProtocol) {
	id := e.req.MemberID
	if code := g.validate(id, e.req.InstanceID); code != errNone {
		e.fail(c, g, id, code)
		return
	}
	m := g.byID[id]
	switch {
	case g.state == stateCompleting && m.matches(protocols):
		// The answer to its first join may have been lost.
		c.reply(g, e.token, joinReply(g, m, e.req.Version))
	case g.state == stateStable && g.leader != id && m.matches(protocols):
		c.reply(g, e.token, joinReply(g, m, e.req.Version))
	default:
		// A leader that rejoins a stable group asks for a rebalance: it has
		// seen a change that its metadata does not show, such as partitions.
		e.park(c, g, m, protocols)
		c.rebalanceOrComplete(g, "member "+id+" rejoins")
	}
}

// park updates m from the request and has it wait for the end of the join phase.
func (e joinEvent) park(c *core, g *group, m *member, protocols []kmsg.JoinGroupRequestProtocol) {
	if m.join.token != 0 {
		// The member has given up on its older request.
		c.answerJoin(g, m, joinFailure(m.join.version, m.id, errRebalanceInProgress))
	}
	e.update(m)
	g.setProtocols(m, protocols)
	g.joining++
}

// update takes over what the request says of the member itself.
func (e joinEvent) update(m *member) {
	m.client = e.client
	m.sessionTimeout = millis(e.req.SessionTimeoutMillis)
	m.rebalanceTimeout = m.sessionTimeout // v0 has but one timeout
	if e.req.Version > 0 {
		m.rebalanceTimeout = max(0, millis(e.req.RebalanceTimeoutMillis))
	}
	m.join = parked{e.token, e.req.Version}
}

// replaceStatic lets the sender take the place of m, which has its instance
// id. A stable group goes on as it is if the sender wants what m wanted.
func (e joinEvent) replaceStatic(c *core, g *group, m *member, id string, protocols []kmsg.JoinGroupRequestProtocol) {
	c.answerJoin(g, m, joinFailure(m.join.version, m.id, errFencedInstanceID))
	c.answerSync(g, m, errFencedInstanceID)
	c.timers.cancel(timerKey{timerSession, g.id, m.id})
	leaderBefore := g.leader
	sameTopics := sameSubscription(g, m, protocols)
	g.rename(m, id)
	m.isNew = false
	c.keepAlive(g, m)
	e.park(c, g, m, protocols)

	switch {
	case g.state == stateStable && g.selectProtocol() == g.protocol && sameTopics:
		if !c.emitGroup(g) {
			c.rebalanceOrComplete(g, "the group does not fit into a record")
			return
		}
		resp := joinReply(g, m, e.req.Version)
		switch {
		case e.req.Version >= 9:
			resp.SkipAssignment = g.leader == id
		case leaderBefore != g.leader:
			// An old client knows no skipping: it must not think that it
			// leads, or it would compute an assignment that nobody waits for.
			resp.LeaderID, resp.Members = leaderBefore, nil
		}
		c.answerJoin(g, m, resp)
	case g.state == stateStable, g.state == stateCompleting:
		// While completing, the leader may know the old id only: begin anew.
		c.prepareRebalance(g, "static member "+id+" took over")
	default:
		c.maybeCompleteJoin(g)
	}
}

// sameSubscription reports whether protocols asks for the topics that m has
// asked for. Only consumers say so in a way that is known here; of others
// nothing is known, and like in Kafka they do not cause a rebalance.
func sameSubscription(g *group, m *member, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if g.protocolType != consumerProtocol {
		return true
	}
	before, ok := subscribedTopics(m.metadata(g.protocol))
	if !ok {
		return true
	}
	for _, p := range protocols {
		if p.Name == g.protocol {
			after, ok := subscribedTopics(p.Metadata)
			slices.Sort(before)
			slices.Sort(after)
			return !ok || slices.Equal(slices.Compact(before), slices.Compact(after))
		}
	}
	return true
}

// fail answers with an error.
func (e joinEvent) fail(c *core, g *group, memberID string, code int16) {
	c.reply(g, e.token, joinFailure(e.req.Version, memberID, code))
}

func joinFailure(version int16, memberID string, code int16) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = version
	resp.ErrorCode = code
	resp.MemberID = memberID
	return resp
}

// joinReply tells m of the current generation; the leader sees all members.
func joinReply(g *group, m *member, version int16) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = version
	resp.Generation = g.generation
	resp.ProtocolType = kmsg.StringPtr(g.protocolType)
	resp.Protocol = kmsg.StringPtr(g.protocol)
	resp.LeaderID = g.leader
	resp.MemberID = m.id
	if g.leader == m.id {
		for _, o := range g.members {
			rm := kmsg.NewJoinGroupResponseMember()
			rm.MemberID = o.id
			rm.InstanceID = o.instance
			rm.ProtocolMetadata = o.metadata(g.protocol)
			resp.Members = append(resp.Members, rm)
		}
	}
	return resp
}

// answerJoin answers the parked join of m, if there is one.
func (c *core) answerJoin(g *group, m *member, resp *kmsg.JoinGroupResponse) {
	if m.join.token == 0 {
		return
	}
	c.reply(g, m.join.token, resp)
	m.join = parked{}
	g.joining--
}

// ownProtocols copies protocols, each name once.
func ownProtocols(protocols []kmsg.JoinGroupRequestProtocol) []kmsg.JoinGroupRequestProtocol {
	own := make([]kmsg.JoinGroupRequestProtocol, 0, len(protocols))
	seen := make(map[string]bool, len(protocols))
	for _, p := range protocols {
		if !seen[p.Name] {
			seen[p.Name] = true
			own = append(own, kmsg.JoinGroupRequestProtocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)})
		}
	}
	return own
}

func millis(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }
