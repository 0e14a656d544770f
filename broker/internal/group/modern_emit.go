// SPDX-License-Identifier: Apache-2.0

package group

import (
	"maps"
	"slices"
)

// The setters of consumer groups. Each changes the state and emits the record
// of the change, so that a replay comes to the same state.

// setEpoch counts the epoch of g up: the targets are to be computed anew.
func (c *core) setEpoch(g *group) {
	mod := g.modern
	mod.epoch++
	mod.hash = mod.metadataHash(c.topics)
	c.emit(g, epochRecord(g.id, mod))
	c.note(note{text: "consumer group has changed", group: g.id, generation: mod.epoch, members: len(mod.members)})
}

// setMeta adds a member, or changes what it says of itself.
func (c *core) setMeta(g *group, meta consumerMeta) *consumer {
	m := &consumer{consumerMeta: meta}
	if old := g.modern.members[meta.id]; old != nil {
		m.consumerState = old.consumerState
	}
	g.modern.put(m)
	c.emit(g, memberRecord(g.id, &meta))
	return m
}

// setState moves a member.
func (c *core) setState(g *group, id string, s consumerState) *consumer {
	m := &consumer{g.modern.members[id].consumerMeta, s}
	g.modern.put(m)
	c.emit(g, currentRecord(g.id, m.id, &s))
	return m
}

// setTarget changes what a member is to have.
func (c *core) setTarget(g *group, id string, target partitions) {
	g.modern.targets[id] = target
	c.emit(g, targetRecord(g.id, id, target))
}

// setAssigned says that the targets are those of the epoch of g.
func (c *core) setAssigned(g *group) {
	g.modern.assignmentEpoch = g.modern.epoch
	g.modern.assignmentTime = c.nowMs()
	c.emit(g, targetEpochRecord(g.id, g.modern))
}

// setRegex changes the topics of a regular expression.
func (c *core) setRegex(g *group, expr string, topics []string) {
	g.modern.regexes[expr] = topics
	c.emit(g, regexRecord(g.id, expr, topics, c.nowMs()))
}

// dropRegexes forgets the regular expressions that nobody uses any more.
func (c *core) dropRegexes(g *group) {
	for _, expr := range slices.Sorted(maps.Keys(g.modern.regexes)) {
		if !g.modern.regexInUse(expr) {
			delete(g.modern.regexes, expr)
			c.emit(g, tombstone(keyRegex, g.id, expr))
		}
	}
}

// dropConsumer removes a member and its timers.
func (c *core) dropConsumer(g *group, id string) {
	c.cancelTimers(g, id)
	g.modern.remove(id)
	c.emit(g, tombstone(keyCurrent, g.id, id))
	c.emit(g, tombstone(keyTarget, g.id, id))
	c.emit(g, tombstone(keyMember, g.id, id))
}

// dropModern makes g a group that only has offsets.
func (c *core) dropModern(g *group) {
	for _, id := range g.modern.ids() {
		c.dropConsumer(g, id)
	}
	c.dropRegexes(g)
	for _, id := range slices.Sorted(maps.Keys(g.modern.targets)) { // of no member: the log was odd
		c.emit(g, tombstone(keyTarget, g.id, id))
	}
	c.emit(g, groupKeyTombstone(keyTargetEpoch, g.id))
	if g.modern.oldMeta {
		c.emit(g, groupKeyTombstone(keyPartitionMeta, g.id))
	}
	c.emit(g, groupKeyTombstone(keyEpoch, g.id))
	g.modern = nil
}

// put adds m, or replaces the member of its id.
func (mod *modern) put(m *consumer) {
	if old := mod.members[m.id]; old != nil {
		mod.unlink(old)
	}
	mod.members[m.id] = m
	if m.instance != nil {
		mod.statics[*m.instance] = m.id
	}
	for _, o := range []owned{m.assigned, m.revoking} {
		for topic, of := range o {
			for p := range of {
				mod.owners[partitionID{topic, p}] = m.id
			}
		}
	}
}

// remove removes a member with its target.
func (mod *modern) remove(id string) {
	if m := mod.members[id]; m != nil {
		mod.unlink(m)
	}
	delete(mod.members, id)
	delete(mod.targets, id)
}

// unlink takes m out of the indexes.
func (mod *modern) unlink(m *consumer) {
	if m.instance != nil && mod.statics[*m.instance] == m.id {
		delete(mod.statics, *m.instance)
	}
	for _, o := range []owned{m.assigned, m.revoking} {
		for topic, of := range o {
			for p := range of {
				if at := (partitionID{topic, p}); mod.owners[at] == m.id {
					delete(mod.owners, at)
				}
			}
		}
	}
}
