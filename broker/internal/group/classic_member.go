// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Members of a consumer group that use the classic protocol. To them, member
// epochs are generations; a rebalance of theirs concerns nobody else. They
// never lead, and never wait in JoinGroup or SyncGroup:
//
//	JoinGroup  takes over the subscription, confirms what was let go of (the
//	           subscription says what the member has), and leads the member on
//	SyncGroup  tells what it has
//	Heartbeat  says REBALANCE_IN_PROGRESS when there is reason to join again
//
// One that does not join or sync in time is removed.

// joinModern serves a JoinGroup request to a consumer group with members.
func (e joinEvent) joinModern(c *core, g *group, protocols []kmsg.JoinGroupRequestProtocol) {
	req, mod := e.req, g.modern
	id := req.MemberID
	if id == "" {
		id = e.fresh
	}
	switch {
	case c.cfg.Migration == Disabled:
		e.fail(c, g, req.MemberID, errInconsistentGroupProtocol)
		return
	case len(mod.members) >= c.cfg.ConsumerMaxSize && mod.members[id] == nil:
		e.fail(c, g, req.MemberID, errGroupMaxSizeReached)
		return
	case !mod.supports(req.ProtocolType, protocols):
		e.fail(c, g, req.MemberID, errInconsistentGroupProtocol)
		return
	case req.Version >= 4 && req.MemberID == "" && req.InstanceID == nil:
		e.fail(c, g, id, errMemberIDRequired)
		return
	}
	sub, ok := readSubscription(protocols[0].Metadata)
	if !ok {
		e.fail(c, g, req.MemberID, errInconsistentGroupProtocol)
		return
	}
	old := mod.members[id]
	if req.InstanceID != nil {
		old = mod.members[mod.statics[*req.InstanceID]]
		if code := e.checkStatic(old); code != errNone {
			e.fail(c, g, req.MemberID, code)
			return
		}
	}
	meta := e.meta(old, id, sub, protocols)
	if r := memberRecord(g.id, &meta); len(r.Key)+len(r.Value) > c.cfg.MaxRecordBytes {
		e.fail(c, g, req.MemberID, errInvalidRequest)
		return
	}
	if old != nil && old.id != id {
		old = c.replaceConsumer(g, old, id)
	}
	changed := c.updateConsumer(g, old, meta)
	if req.InstanceID != nil && c.downgrade(g, nil) {
		// It took the place of the last that used the consumer protocol.
		c.timers.cancel(timerKey{timerSession, g.id, id})
		e.park(c, g, g.byID[id], protocols)
		c.maybeCompleteJoin(g)
		return
	}
	has := c.partitionsOf(sub.owned)
	c.refresh(g, changed)
	m := c.reconcile(g, id, &has, changed)
	c.timers.cancel(timerKey{timerRejoin, g.id, id})
	c.timers.cancel(timerKey{timerRevoke, g.id, id})
	c.timers.set(timerKey{timerResync, g.id, id}, c.now.Add(meta.rebalanceTimeout))
	c.keepClassic(g, m)
	c.reply(g, e.token, e.modernReply(m))
}

// checkStatic refuses a static member that is unknown or fenced. One without an
// id takes the place of that of its instance id.
func (e joinEvent) checkStatic(old *consumer) int16 {
	switch {
	case e.req.MemberID == "":
		return errNone
	case old == nil:
		return errUnknownMemberID
	case old.id != e.req.MemberID:
		return errFencedInstanceID
	}
	return errNone
}

// meta returns what the sender says of itself.
func (e joinEvent) meta(old *consumer, id string, sub subscription, protocols []kmsg.JoinGroupRequestProtocol) consumerMeta {
	meta := consumerMeta{}
	if old != nil {
		meta = old.consumerMeta
	}
	meta.id, meta.client = id, e.client
	if e.req.InstanceID != nil {
		meta.instance = e.req.InstanceID
	}
	if sub.rack != nil {
		meta.rack = sub.rack
	}
	meta.topics, meta.regex = distinct(sub.topics), ""
	session := millis(e.req.SessionTimeoutMillis)
	meta.rebalanceTimeout = session
	if e.req.Version > 0 {
		meta.rebalanceTimeout = max(0, millis(e.req.RebalanceTimeoutMillis))
	}
	meta.classic = &classicMeta{session, protocols}
	return meta
}

func (e joinEvent) modernReply(m *consumer) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = e.req.Version
	resp.Generation = m.epoch
	resp.ProtocolType = kmsg.StringPtr(consumerProtocol)
	resp.Protocol = kmsg.StringPtr(m.classic.protocols[0].Name)
	resp.MemberID = m.id
	return resp
}

// partitionsOf returns partitions by topic id; those of topics that do not
// exist are left out.
func (c *core) partitionsOf(of []topicPartitions) partitions {
	out := make(partitions)
	for _, o := range of {
		if t := c.topics.byName[o.topic]; t != nil {
			out[t.ID] = append(out[t.ID], o.partitions...)
		}
	}
	return out
}

// keepClassic starts the session of m anew.
func (c *core) keepClassic(g *group, m *consumer) {
	c.timers.set(timerKey{timerSession, g.id, m.id}, c.now.Add(m.session(c, g)))
}

// session returns the session timeout of m, a member of g.
func (m *consumer) session(c *core, g *group) time.Duration {
	if m.classic != nil {
		return m.classic.sessionTimeout
	}
	session, _ := c.cfg.ConsumerTimes(g.id)
	return session
}

// classicMember returns the member that a request is of.
func (mod *modern) classicMember(id string, instance *string, generation int32) (*consumer, int16) {
	m := mod.members[id]
	if instance != nil {
		m = mod.members[mod.statics[*instance]]
		if m != nil && m.id != id {
			return nil, errFencedInstanceID
		}
	}
	switch {
	case m == nil || m.classic == nil:
		return nil, errUnknownMemberID
	case m.epoch != generation:
		return nil, errIllegalGeneration
	}
	return m, errNone
}

// syncModern serves a SyncGroup request to a consumer group.
func (e syncEvent) syncModern(c *core, g *group) {
	req := e.req
	m, code := g.modern.classicMember(req.MemberID, req.InstanceID, req.Generation)
	if code == errNone {
		code = e.checkModern(g, m)
	}
	if code != errNone {
		if code == errRebalanceInProgress {
			c.awaitRejoin(g, m)
		}
		c.reply(g, e.token, syncFailure(req.Version, code))
		return
	}
	c.timers.cancel(timerKey{timerResync, g.id, m.id})
	c.keepClassic(g, m)
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version = req.Version
	resp.ProtocolType = kmsg.StringPtr(consumerProtocol)
	resp.Protocol = kmsg.StringPtr(m.classic.protocols[0].Name)
	resp.MemberAssignment = c.classicAssignment(m)
	c.reply(g, e.token, resp)
}

func (e syncEvent) checkModern(g *group, m *consumer) int16 {
	switch {
	case e.req.ProtocolType != nil && *e.req.ProtocolType != consumerProtocol,
		e.req.Protocol != nil && *e.req.Protocol != m.classic.protocols[0].Name:
		return errInconsistentGroupProtocol
	case g.modern.epoch > m.epoch && m.state != memberUnrevoked:
		return errRebalanceInProgress
	}
	return errNone
}

// beatModern serves a Heartbeat request to a consumer group.
func (e heartbeatEvent) beatModern(c *core, g *group) int16 {
	mod := g.modern
	m, code := mod.classicMember(e.req.MemberID, e.req.InstanceID, e.req.Generation)
	if code != errNone {
		return code
	}
	c.keepClassic(g, m)
	if m.epoch < mod.epoch || m.state == memberUnrevoked || m.state == memberUnreleased && !mod.waits(m) {
		c.awaitRejoin(g, m)
		return errRebalanceInProgress
	}
	return errNone
}

// awaitRejoin gives m its rebalance timeout to join again, from the first time
// that it is told to.
func (c *core) awaitRejoin(g *group, m *consumer) {
	key := timerKey{timerRejoin, g.id, m.id}
	if !c.timers.has(key) {
		c.timers.set(key, c.now.Add(m.rebalanceTimeout))
	}
}

// leaveModern removes the members of a LeaveGroup request from a consumer
// group. The answers are in the order of the request.
func (c *core) leaveModern(g *group, members []kmsg.LeaveGroupRequestMember) []int16 {
	codes := make([]int16, len(members))
	var ids []string
	for i, lm := range members {
		id := lm.MemberID
		if lm.InstanceID != nil {
			id = g.modern.statics[*lm.InstanceID]
		}
		switch {
		case g.modern.members[id] == nil:
			codes[i] = errUnknownMemberID
		case lm.MemberID != "" && lm.MemberID != id:
			codes[i] = errFencedInstanceID
		case !slices.Contains(ids, id):
			ids = append(ids, id)
		}
	}
	if len(ids) > 0 {
		slices.Sort(ids)
		c.fence(g, "it left", ids...)
	}
	return codes
}
