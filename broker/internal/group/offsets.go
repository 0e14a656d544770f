// SPDX-License-Identifier: Apache-2.0

package group

import (
	"cmp"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

type topicPartition struct {
	topic     string
	partition int32
}

// committed is a committed offset.
type committed struct {
	offset      int64
	leaderEpoch int32 // -1 if unknown
	metadata    string
	commitTime  int64 // ms since the Unix epoch
	expireTime  int64 // ms since the Unix epoch; -1: by the retention
}

// A commitEvent is an OffsetCommit request, versions 2-10, whose topics the
// shell has resolved: Topic is set and codes has the errors of whole topics.
type commitEvent struct {
	token token
	req   *kmsg.OffsetCommitRequest
	names []string // of req.Topics
	codes []int16  // of req.Topics; errNone to go on

	exists func(topic string, partition int32) bool // nil: all do
}

func (e commitEvent) apply(c *core) {
	g := c.groups[e.req.Group]
	if code := e.check(c, g); code != errNone {
		c.reply(g, e.token, commitFailure(e.req, code))
		return
	}
	if g != nil && (g.state == stateStable || g.state == statePreparing) {
		if m := g.byID[e.req.MemberID]; m != nil {
			c.keepAlive(g, m)
		}
	}
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Version = e.req.Version
	for i, t := range e.req.Topics {
		rt := kmsg.NewOffsetCommitResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetCommitResponseTopicPartition()
			rp.Partition = p.Partition
			rp.ErrorCode = e.codes[i]
			if rp.ErrorCode == errNone && e.exists != nil && !e.exists(e.names[i], p.Partition) {
				rp.ErrorCode = errUnknownTopicOrPartition
			}
			if p.Metadata != nil && len(*p.Metadata) > min(c.cfg.MaxMetadataBytes, maxString) {
				rp.ErrorCode = cmp.Or(rp.ErrorCode, errOffsetMetadataTooLarge)
			}
			if rp.ErrorCode == errNone {
				if g == nil {
					g = c.create(e.req.Group) // a simple group: it only has offsets
				}
				c.commit(g, e.req, topicPartition{e.names[i], p.Partition}, p)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	c.reply(g, e.token, resp)
}

// commit stores one offset.
func (c *core) commit(g *group, req *kmsg.OffsetCommitRequest, tp topicPartition, p kmsg.OffsetCommitRequestTopicPartition) {
	o := committed{offset: p.Offset, leaderEpoch: p.LeaderEpoch, commitTime: c.nowMs(), expireTime: -1}
	if req.Version < 6 {
		o.leaderEpoch = -1
	}
	if p.Metadata != nil {
		o.metadata = *p.Metadata
	}
	if req.Version < 5 && req.RetentionTimeMillis >= 0 {
		o.expireTime = o.commitTime + min(req.RetentionTimeMillis, maxRetentionMs)
		o.leaderEpoch = -1 // the record that has an expire time has no epoch
	}
	g.offsets[tp] = o
	c.emit(g, offsetRecord(g.id, tp, o))
}

// maxRetentionMs keeps sums of times and retentions far from overflow.
const maxRetentionMs = 1 << 60

// check returns why the commit is refused as a whole.
func (e commitEvent) check(c *core, g *group) int16 {
	req := e.req
	switch {
	case len(req.Group) > maxString:
		return errInvalidGroupID
	case g == nil && req.Generation < 0:
		return errNone
	case g == nil && req.Version >= 9:
		return errGroupIDNotFound
	case g == nil:
		return errIllegalGeneration
	case req.Generation < 0 && g.empty():
		return errNone // a simple consumer, or an administrator
	case g.modern != nil:
		return e.checkModern(g.modern, c)
	case req.Generation < 0 && req.MemberID == "" && req.InstanceID == nil:
		return errUnknownMemberID
	}
	if code := g.validate(req.MemberID, req.InstanceID); code != errNone {
		return code
	}
	if req.Generation != g.generation {
		return errIllegalGeneration
	}
	if g.state == stateCompleting {
		// The member knows this generation but not yet its part in it.
		return errRebalanceInProgress
	}
	return errNone
}

// checkModern returns why a member of a consumer group may not commit. Since
// Kafka 4.3 (KIP-1251) it may under an epoch that is over, if each partition was
// assigned to it by then and has not been let go of: so that a commit is not lost
// to an epoch that has just been counted up.
func (e commitEvent) checkModern(mod *modern, c *core) int16 {
	m := mod.members[e.req.MemberID]
	if m == nil {
		return errUnknownMemberID
	}
	if m.classic == nil && e.req.Version < 9 {
		return errUnsupportedVersion
	}
	stale := errStaleMemberEpoch
	if m.classic != nil {
		stale = errIllegalGeneration
	}
	epoch := e.req.Generation
	if epoch > m.epoch {
		return stale
	}
	for i := 0; i < len(e.req.Topics) && epoch < m.epoch; i++ {
		var id [16]byte
		if t := c.topics.byName[e.names[i]]; t != nil {
			id = t.ID
		}
		for _, p := range e.req.Topics[i].Partitions {
			at, ok := m.assigned[id][p.Partition]
			if !ok {
				at, ok = m.revoking[id][p.Partition]
			}
			if !ok || epoch < at {
				return stale
			}
		}
	}
	return errNone
}

// commitFailure answers req with code for each partition.
func commitFailure(req *kmsg.OffsetCommitRequest, code int16) *kmsg.OffsetCommitResponse {
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Version = req.Version
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetCommitResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetCommitResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// A fetchEvent asks for the offsets of one group; its reply is a []fetched, or
// the code of an error. The shell makes the answer of the request's version of
// it.
type fetchEvent struct {
	token  token
	group  string
	member *string          // since v9, of a consumer group: who asks
	epoch  int32            // the same; -1 and no member: nobody in particular
	all    bool             // every offset that the group has
	of     []topicPartition // otherwise these, in this order
}

// fetched is an offset, or, with found false, the news that there is none.
type fetched struct {
	topicPartition
	committed
	found bool
}

func (e fetchEvent) apply(c *core) {
	g := c.groups[e.group]
	if g != nil && g.modern != nil {
		if code := e.check(g.modern); code != errNone {
			c.reply(g, e.token, code)
			return
		}
	}
	of := e.of
	var offsets map[topicPartition]committed
	if g != nil {
		offsets = g.offsets
		if e.all {
			of = g.partitions()
		}
	}
	out := make([]fetched, 0, len(of))
	for _, tp := range of {
		o, ok := offsets[tp]
		if !ok {
			o = committed{offset: -1, leaderEpoch: -1}
		}
		out = append(out, fetched{tp, o, ok})
	}
	c.reply(g, e.token, out)
}

// check returns why the sender may not fetch the offsets of a consumer group.
func (e fetchEvent) check(mod *modern) int16 {
	if e.member == nil && e.epoch < 0 {
		return errNone
	}
	var m *consumer
	if e.member != nil {
		m = mod.members[*e.member]
	}
	switch {
	case m == nil:
		return errUnknownMemberID
	case m.epoch == e.epoch:
		return errNone
	case m.classic != nil:
		return errIllegalGeneration
	}
	return errStaleMemberEpoch
}

// partitions returns the partitions with an offset, in order.
func (g *group) partitions() []topicPartition {
	return slices.SortedFunc(maps.Keys(g.offsets), func(a, b topicPartition) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
}

// A topicDeletedEvent drops the offsets of a topic in all groups. It has no
// reply.
type topicDeletedEvent struct{ topic string }

func (e topicDeletedEvent) apply(c *core) {
	for _, id := range c.groupIDs() {
		g := c.groups[id]
		for _, tp := range g.partitions() {
			if tp.topic == e.topic {
				c.dropOffset(g, tp)
			}
		}
		c.dropIfGone(g)
	}
}

// dropOffset removes an offset.
func (c *core) dropOffset(g *group, tp topicPartition) {
	delete(g.offsets, tp)
	c.emit(g, offsetTombstone(g.id, tp))
}

// dropIfGone forgets a group of which the log knows nothing any more.
func (c *core) dropIfGone(g *group) {
	if !g.persisted && g.modern == nil && len(g.offsets) == 0 {
		c.forget(g)
	}
}

// deleteGroup forgets g, which has no members and no offsets, in the log too.
func (c *core) deleteGroup(g *group) {
	if g.modern != nil {
		c.dropModern(g)
	}
	if g.persisted {
		c.emit(g, groupTombstone(g.id))
	}
	c.forget(g)
}

// expireOffsets drops the offsets whose time is over (KIP-211), and the empty
// groups that have none left.
func (c *core) expireOffsets() {
	for _, id := range c.groupIDs() {
		g := c.groups[id]
		topics, known := g.subscription()
		for _, tp := range g.partitions() {
			if c.expired(g, g.offsets[tp], known && !topics[tp.topic]) {
				c.dropOffset(g, tp)
			}
		}
		if g.empty() && len(g.offsets) == 0 && len(g.pendingJoin) == 0 {
			c.deleteGroup(g)
		}
	}
}

// expired reports whether o is to go. The clock of an empty group runs from
// when its last member left; that of a simple group from the commit, and so
// does that of a topic to which no member of a stable group subscribes, or of a
// consumer group in any state.
func (c *core) expired(g *group, o committed, unsubscribed bool) bool {
	var from int64
	switch {
	case g.modern != nil && unsubscribed:
		from = o.commitTime
	case g.modern != nil:
		return false
	case g.state == stateEmpty && g.protocolType == "":
		from = o.commitTime
	case g.state == stateEmpty:
		from = g.since
		if from < 0 {
			from = o.commitTime
		}
	case g.state == stateStable && unsubscribed:
		from = o.commitTime
	default:
		return false
	}
	if o.expireTime >= 0 {
		return c.nowMs() >= o.expireTime
	}
	return c.nowMs()-from >= c.cfg.OffsetRetention.Milliseconds()
}
