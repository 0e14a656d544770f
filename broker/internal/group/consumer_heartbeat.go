// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Member epochs that a ConsumerGroupHeartbeat brings instead of one.
const (
	epochJoin        = 0  // the sender has no partitions and (re)joins
	epochLeave       = -1 // it leaves
	epochLeaveStatic = -2 // it leaves, and a member of its instance id will be back
)

// A fault is why a request is refused.
type fault struct {
	code int16
	text string
}

func faultf(code int16, format string, args ...any) fault {
	return fault{code, fmt.Sprintf(format, args...)}
}

// A consumerHeartbeatEvent is a ConsumerGroupHeartbeat request, versions 0-1:
// a consumer joins, leaves, stays, subscribes, confirms what it let go of, and
// is told what it has. Since v1 it may subscribe by a regular expression, and
// brings a member id of its own (KIP-1082).
//
// It is refused before anything is changed, so that a refusal has no effect.
type consumerHeartbeatEvent struct {
	token  token
	client Client
	req    *kmsg.ConsumerGroupHeartbeatRequest
	fresh  string // member id for a v0 member that has none
}

func (e consumerHeartbeatEvent) apply(c *core) {
	req := e.req
	if f := e.check(); f.code != errNone {
		e.fail(c, nil, f)
		return
	}
	g := c.groups[req.Group]
	if req.MemberEpoch < 0 {
		e.leave(c, g)
		return
	}
	id := req.MemberID
	if id == "" {
		id = e.fresh
	}
	converted, f := e.admit(c, g, id)
	if f.code != errNone {
		e.fail(c, g, f)
		return
	}
	if g == nil {
		g = c.create(req.Group)
	}
	if g.modern == nil {
		c.upgrade(g, converted)
	}
	before, after := e.beat(c, g, id)
	session, interval := c.cfg.ConsumerTimes(g.id)
	c.timers.set(timerKey{timerSession, g.id, id}, c.now.Add(session))
	resp := e.response(id, after.epoch)
	resp.HeartbeatIntervalMillis = int32(interval.Milliseconds())
	full := req.RebalanceTimeoutMillis != -1 && req.Topics != nil &&
		(req.SubscribedTopicNames != nil || req.SubscribedTopicRegex != nil)
	if req.MemberEpoch == epochJoin || full || !before.partitions().equal(after.assigned.partitions()) {
		resp.Assignment = assignmentOf(after.assigned)
	}
	c.reply(g, e.token, resp)
}

// check refuses what makes no sense in itself.
func (e consumerHeartbeatEvent) check() fault {
	req := e.req
	empty := func(s *string) bool { return s != nil && *s == "" }
	invalid := func(text string) fault { return fault{errInvalidRequest, text} }
	switch {
	case req.MemberID == "" && (req.Version >= 1 || req.MemberEpoch > 0 || req.MemberEpoch == epochLeave):
		return invalid("MemberId can't be empty.")
	case req.Group == "":
		return invalid("GroupId can't be empty.")
	case empty(req.InstanceID):
		return invalid("InstanceId can't be empty.")
	case empty(req.RackID):
		return invalid("RackId can't be empty.")
	case req.MemberEpoch == epochJoin && req.RebalanceTimeoutMillis == -1:
		return invalid("RebalanceTimeoutMs must be provided in first request.")
	case req.MemberEpoch == epochJoin && (req.Topics == nil || len(req.Topics) > 0):
		return invalid("TopicPartitions must be empty when (re-)joining.")
	case req.MemberEpoch == epochJoin && req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
		return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	case req.MemberEpoch == epochLeaveStatic && req.InstanceID == nil:
		return invalid("InstanceId can't be null.")
	case req.MemberEpoch < epochLeaveStatic:
		return invalid("MemberEpoch is invalid.")
	case req.ServerAssignor != nil && !slices.Contains(assignorNames, *req.ServerAssignor):
		return faultf(errUnsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.",
			*req.ServerAssignor, strings.Join(assignorNames, ", "))
	case len(req.Group) > maxString || len(req.MemberID) > maxString,
		req.SubscribedTopicRegex != nil && len(*req.SubscribedTopicRegex) > maxString:
		return invalid("A name is too long for the keys of the offsets log.")
	}
	return fault{}
}

// admit refuses what the state of g, which may be nil, does not allow. If g is
// to be made a consumer group, it returns what that becomes.
func (e consumerHeartbeatEvent) admit(c *core, g *group, id string) (*modern, fault) {
	joins := e.req.MemberEpoch == epochJoin
	mod := newModern()
	switch {
	case g == nil && !joins:
		return nil, faultf(errGroupIDNotFound, "Consumer group %s not found.", e.req.Group)
	case g == nil:
	case g.modern != nil:
		mod = g.modern
	case !joins:
		return nil, faultf(errGroupIDNotFound, "Group %s is not a consumer group.", g.id)
	case g.state != stateEmpty:
		var f fault
		if mod, f = c.upgraded(g); f.code != errNone {
			return nil, f
		}
	}
	if len(mod.members) >= c.cfg.ConsumerMaxSize && mod.members[id] == nil {
		return nil, faultf(errGroupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", c.cfg.ConsumerMaxSize)
	}
	old, f := e.member(mod, id)
	if f.code != errNone {
		return nil, f
	}
	return mod, e.checkMember(c, mod, old, id)
}

// member returns the member that the request is of, which is nil for a new
// one, or the static one that it takes the place of.
func (e consumerHeartbeatEvent) member(mod *modern, id string) (*consumer, fault) {
	req := e.req
	joins := req.MemberEpoch == epochJoin
	if req.InstanceID == nil {
		m := mod.members[id]
		if m == nil && !joins {
			return nil, faultf(errUnknownMemberID, "Member %s is not a member of group %s.", id, req.Group)
		}
		if m == nil {
			return nil, fault{}
		}
		return m, e.checkEpoch(m)
	}
	m := mod.members[mod.statics[*req.InstanceID]]
	switch {
	case m == nil && joins:
		return nil, fault{}
	case m == nil:
		return nil, faultf(errUnknownMemberID, "Instance id %s is unknown.", *req.InstanceID)
	case joins && m.classic == nil && m.epoch != epochLeaveStatic:
		return nil, faultf(errUnreleasedInstanceID,
			"Static member %s with instance id %s cannot join the group because the instance id is owned by %s member.", id, *req.InstanceID, m.id)
	case joins:
		return m, fault{}
	case m.id != id:
		return nil, faultf(errFencedInstanceID, "Static member %s with instance id %s was fenced by member %s.", id, *req.InstanceID, m.id)
	}
	return m, e.checkEpoch(m)
}

// checkEpoch refuses an epoch that is not that of m. The one before will do if
// the sender has nothing that m does not have: an answer was lost.
func (e consumerHeartbeatEvent) checkEpoch(m *consumer) fault {
	switch epoch := e.req.MemberEpoch; {
	case epoch == epochJoin || epoch == m.epoch:
		return fault{}
	case epoch > m.epoch:
		return faultf(errFencedMemberEpoch, "The consumer group member has a greater member epoch (%d) than the one known by the group coordinator (%d). The member must abandon all its partitions and rejoin.", epoch, m.epoch)
	case epoch != m.previousEpoch || !m.covers(e.has()):
		return faultf(errFencedMemberEpoch, "The consumer group member has a smaller member epoch (%d) than the one known by the group coordinator (%d). The member must abandon all its partitions and rejoin.", epoch, m.epoch)
	}
	return fault{}
}

// covers reports whether a member that has no more than has may go on as m.
func (m *consumer) covers(has *partitions) bool {
	if has == nil {
		return false
	}
	for id, of := range *has {
		for _, p := range of {
			if !m.assigned.has(id, p) {
				return false
			}
		}
	}
	return true
}

// checkMember refuses what the sender wants to be.
func (e consumerHeartbeatEvent) checkMember(c *core, mod *modern, old *consumer, id string) fault {
	meta := e.meta(old, id)
	if meta.regex != "" && !mod.regexInUse(meta.regex) {
		if _, err := compileSubscription(meta.regex); err != nil {
			return faultf(errInvalidRegularExpression, "SubscribedTopicRegex `%s` is not a valid regular expression: %v.", meta.regex, err)
		}
	}
	r := memberRecord(e.req.Group, &meta)
	if len(r.Key)+len(r.Value) > c.cfg.MaxRecordBytes {
		return fault{errInvalidRequest, "The subscription is too large for a record of the offsets log."}
	}
	return fault{}
}

// meta returns what the sender says of itself; what it leaves out is as in old.
func (e consumerHeartbeatEvent) meta(old *consumer, id string) consumerMeta {
	req := e.req
	meta := consumerMeta{}
	if old != nil {
		meta = old.consumerMeta
	}
	meta.id, meta.client, meta.classic = id, e.client, nil
	if req.InstanceID != nil {
		meta.instance = req.InstanceID
	}
	if req.RackID != nil {
		meta.rack = req.RackID
	}
	if req.RebalanceTimeoutMillis != -1 {
		meta.rebalanceTimeout = max(0, millis(req.RebalanceTimeoutMillis))
	}
	if req.ServerAssignor != nil {
		meta.assignor = req.ServerAssignor
	}
	if req.SubscribedTopicNames != nil {
		meta.topics = distinct(slices.Clone(req.SubscribedTopicNames))
	}
	if req.SubscribedTopicRegex != nil {
		meta.regex = *req.SubscribedTopicRegex
	}
	return meta
}

// has returns the partitions that the sender says it has; nil if it does not.
func (e consumerHeartbeatEvent) has() *partitions {
	if e.req.Topics == nil {
		return nil
	}
	has := make(partitions)
	for _, t := range e.req.Topics {
		has[t.TopicID] = append(has[t.TopicID], t.Partitions...)
	}
	return &has
}

// beat takes over what the member says, assigns anew if need be, and leads the
// member on. It returns what the member had before, and the member.
func (e consumerHeartbeatEvent) beat(c *core, g *group, id string) (before owned, after *consumer) {
	mod := g.modern
	old, _ := e.member(mod, id)
	meta := e.meta(old, id)
	if old != nil {
		before = old.assigned
	}
	if old != nil && old.id != id {
		old = c.replaceConsumer(g, old, id)
	}
	changed := c.updateConsumer(g, old, meta)
	c.refresh(g, changed)
	return before, c.reconcile(g, id, e.has(), changed)
}

// updateConsumer stores what a member, which is new if old is nil, says of
// itself. It reports whether its subscription has changed.
func (c *core) updateConsumer(g *group, old *consumer, meta consumerMeta) (changed bool) {
	if old == nil {
		c.setMeta(g, meta)
		c.note(note{text: "member joins the consumer group", group: g.id, member: meta.id})
		return true
	}
	if !old.equalMeta(&meta) {
		c.setMeta(g, meta)
	}
	if meta.classic == nil {
		c.timers.cancel(timerKey{timerRejoin, g.id, meta.id})
		c.timers.cancel(timerKey{timerResync, g.id, meta.id})
	}
	return !slices.Equal(old.topics, meta.topics) || old.regex != meta.regex
}

// replaceConsumer gives the member id what the static member old has.
func (c *core) replaceConsumer(g *group, old *consumer, id string) *consumer {
	target := g.modern.targets[old.id]
	c.dropConsumer(g, old.id)
	meta, state := old.consumerMeta, old.consumerState
	meta.id = id
	state.epoch, state.previousEpoch = 0, 0
	c.setMeta(g, meta)
	c.setTarget(g, id, target)
	c.note(note{text: "static member is replaced", group: g.id, member: id, reason: "of " + old.id})
	return c.setState(g, id, state)
}

// leave serves a member that goes.
func (e consumerHeartbeatEvent) leave(c *core, g *group) {
	req := e.req
	switch {
	case g == nil:
		e.fail(c, nil, faultf(errGroupIDNotFound, "Group %s not found.", req.Group))
		return
	case g.modern == nil:
		e.fail(c, g, faultf(errGroupIDNotFound, "Group %s is not a consumer group.", req.Group))
		return
	}
	id := req.MemberID
	if req.InstanceID != nil {
		id = g.modern.statics[*req.InstanceID]
	}
	m := g.modern.members[id]
	switch {
	case m == nil && req.InstanceID != nil:
		e.fail(c, g, faultf(errUnknownMemberID, "Instance id %s is unknown.", *req.InstanceID))
		return
	case m == nil:
		e.fail(c, g, faultf(errUnknownMemberID, "Member %s is not a member of group %s.", id, req.Group))
		return
	case id != req.MemberID:
		e.fail(c, g, faultf(errFencedInstanceID, "Static member %s with instance id %s was fenced by member %s.", req.MemberID, *req.InstanceID, id))
		return
	}
	if req.MemberEpoch == epochLeaveStatic {
		s := m.consumerState
		s.epoch, s.revoking = epochLeaveStatic, nil
		c.setState(g, id, s)
		c.timers.cancel(timerKey{timerRevoke, g.id, id})
	} else {
		c.fence(g, "it left", id)
	}
	c.reply(g, e.token, e.response(req.MemberID, req.MemberEpoch))
}

func (e consumerHeartbeatEvent) fail(c *core, g *group, f fault) {
	resp := consumerHeartbeatFailure(e.req.Version, f)
	c.reply(g, e.token, resp)
}

func consumerHeartbeatFailure(version int16, f fault) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.Version, resp.ErrorCode = version, f.code
	if f.text != "" {
		resp.ErrorMessage = &f.text
	}
	return resp
}

func (e consumerHeartbeatEvent) response(id string, epoch int32) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.Version = e.req.Version
	resp.MemberID, resp.MemberEpoch = &id, epoch
	return resp
}

func assignmentOf(o owned) *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	a := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
	a.Topics = []kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{}
	for id, of := range o.partitions().inOrder() {
		t := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
		t.TopicID, t.Partitions = id, of
		a.Topics = append(a.Topics, t)
	}
	return &a
}

// fence removes members of a consumer group. If only members are left that use
// the classic protocol, it becomes a classic group again.
func (c *core) fence(g *group, reason string, ids ...string) {
	if c.downgrade(g, ids) {
		return
	}
	for _, id := range ids {
		c.dropConsumer(g, id)
		c.note(note{text: "member leaves the consumer group", group: g.id, member: id, reason: reason})
	}
	c.dropRegexes(g)
	c.setEpoch(g)
}

// cancelTimers cancels all timers of a member.
func (c *core) cancelTimers(g *group, id string) {
	for _, kind := range []timerKind{timerSession, timerRevoke, timerRejoin, timerResync} {
		c.timers.cancel(timerKey{kind, g.id, id})
	}
}
