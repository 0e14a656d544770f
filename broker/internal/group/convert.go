// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Conversion between classic groups and consumer groups, while they have
// members. A classic group becomes a consumer group when a consumer joins that
// uses the consumer protocol; the others stay and are answered in their own
// (classic_member.go). When the last that uses the consumer protocol is gone,
// the group becomes a classic group again, and rebalances.

// upgraded returns what the classic group g, which has members, would be as a
// consumer group, or why it can't be one. It changes nothing.
func (c *core) upgraded(g *group) (*modern, fault) {
	switch {
	case !c.cfg.Migration.upgrades():
		return nil, faultf(errGroupIDNotFound, "Cannot upgrade classic group %s to consumer group because online upgrade is disabled.", g.id)
	case g.protocolType != consumerProtocol:
		return nil, faultf(errGroupIDNotFound, "Cannot upgrade classic group %s to consumer group because the group does not use the consumer embedded protocol.", g.id)
	case len(g.members) > c.cfg.ConsumerMaxSize:
		return nil, faultf(errGroupIDNotFound, "Cannot upgrade classic group %s to consumer group because the group size exceeds the consumer group maximum size.", g.id)
	}
	mod := newModern()
	mod.epoch, mod.assignmentEpoch = g.generation, g.generation
	for _, m := range g.members {
		if f := c.upgradeMember(g, mod, m); f.code != errNone {
			return nil, f
		}
	}
	return mod, fault{}
}

// upgradeMember adds m to mod with the assignment that it has.
func (c *core) upgradeMember(g *group, mod *modern, m *member) fault {
	protocol := g.protocol
	if protocol == "" && len(m.protocols) > 0 { // the group has not been through a join phase
		protocol = m.protocols[0].Name
	}
	sub, ok := readSubscription(m.metadata(protocol))
	assigned, userData, also := readAssignment(m.assignment)
	if !ok || !also {
		return faultf(errGroupIDNotFound, "Cannot upgrade classic group %s to consumer group because the embedded consumer protocol is malformed.", g.id)
	}
	if userData {
		return faultf(errGroupIDNotFound, "Cannot upgrade classic group %s to consumer group because an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade.", g.id)
	}
	state := consumerState{epoch: g.generation, previousEpoch: g.generation, assigned: make(owned)}
	for _, a := range assigned {
		t := c.topics.byName[a.topic]
		for _, p := range a.partitions {
			// What the leader gave to two members, the first one has.
			if t == nil || p < 0 || p >= t.Partitions || mod.owners[partitionID{t.ID, p}] != "" {
				continue
			}
			state.assigned.put(t.ID, p, g.generation)
		}
	}
	mod.put(&consumer{
		consumerMeta{
			id: m.id, instance: m.instance, rack: sub.rack, client: m.client,
			rebalanceTimeout: m.rebalanceTimeout,
			topics:           distinct(sub.topics),
			classic:          &classicMeta{m.sessionTimeout, m.protocols},
		},
		state,
	})
	mod.targets[m.id] = state.assigned.partitions()
	return fault{}
}

// upgrade makes g the consumer group mod. Classic members that wait for a
// rebalance to go on are sent back to join that of the new group.
func (c *core) upgrade(g *group, mod *modern) {
	for _, m := range g.members {
		c.answerJoin(g, m, joinFailure(m.join.version, m.id, errRebalanceInProgress))
		c.answerSync(g, m, errRebalanceInProgress)
	}
	if g.persisted {
		c.emit(g, groupTombstone(g.id))
	}
	c.stopTimers(g)
	g.reset()
	g.modern = mod
	ids := mod.ids()
	if len(ids) == 0 {
		return
	}
	for _, id := range ids {
		c.emit(g, memberRecord(g.id, &mod.members[id].consumerMeta))
	}
	c.emit(g, epochRecord(g.id, mod))
	for _, id := range ids {
		c.emit(g, targetRecord(g.id, id, mod.targets[id]))
	}
	c.emit(g, targetEpochRecord(g.id, mod))
	for _, id := range ids {
		c.emit(g, currentRecord(g.id, id, &mod.members[id].consumerState))
		c.keepClassic(g, mod.members[id])
	}
	c.note(note{text: "classic group becomes a consumer group", group: g.id, generation: mod.epoch, members: len(ids)})
}

// reset makes g a group that only has offsets.
func (g *group) reset() {
	fresh := newGroup(g.id)
	fresh.offsets, fresh.lastSeq = g.offsets, g.lastSeq
	*g = *fresh
}

// downgrade makes the consumer group g a classic group without the members
// that leave, if all others use the classic protocol. It reports whether it
// did.
func (c *core) downgrade(g *group, leaving []string) bool {
	classic := g.downgraded(leaving)
	if classic == nil || len(classic.members) > c.cfg.GroupMaxSize || !c.cfg.Migration.downgrades() {
		return false
	}
	if r := groupRecord(classic); len(r.Key)+len(r.Value) > c.cfg.MaxRecordBytes {
		return false
	}
	for _, m := range classic.members {
		m.assignment = c.classicAssignment(g.modern.members[m.id])
	}
	c.dropModern(g)
	classic.offsets, classic.lastSeq = g.offsets, g.lastSeq
	*g = *classic
	g.transition(c, stateStable)
	leader := g.leader
	g.leader = "" // what is restored from this record rebalances at once
	c.emitGroup(g)
	g.leader = leader
	for _, m := range g.members {
		c.keepAlive(g, m)
	}
	c.note(note{text: "consumer group becomes a classic group", group: g.id, generation: g.generation, members: len(g.members)})
	c.prepareRebalance(g, "the last member with the consumer protocol left")
	return true
}

// downgraded returns g as a classic group, without assignments; nil if that
// can't be.
func (g *group) downgraded(leaving []string) *group {
	classic := newGroup(g.id)
	classic.protocolType = consumerProtocol
	classic.generation = g.modern.epoch
	for _, id := range g.modern.ids() {
		m := g.modern.members[id]
		switch {
		case slices.Contains(leaving, id):
			continue
		case m.classic == nil:
			return nil
		}
		classic.add(&member{
			id: id, instance: m.instance, client: m.client,
			rebalanceTimeout: m.rebalanceTimeout,
			sessionTimeout:   m.classic.sessionTimeout,
			protocols:        m.classic.protocols,
		})
	}
	if len(classic.members) == 0 {
		return nil
	}
	classic.protocol = classic.selectProtocol()
	return classic
}

// classicAssignment returns what m has, as a member of a classic group is told.
func (c *core) classicAssignment(m *consumer) []byte {
	a := kmsg.ConsumerMemberAssignment{}
	if sub, ok := readSubscription(m.classic.protocols[0].Metadata); ok {
		a.Version = max(0, min(sub.version, newestConsumerProtocol))
	}
	for id, of := range m.assigned.partitions().inOrder() {
		t := c.topics.byID[id]
		if t == nil {
			continue // deleted
		}
		a.Topics = append(a.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: t.Name, Partitions: of})
	}
	return a.AppendTo(nil)
}
