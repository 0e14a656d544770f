// SPDX-License-Identifier: Apache-2.0

package group

import "slices"

// reconcile leads member id towards its target, as far as it can go now. has is
// what the member says it has; nil if it does not say. A change of subscription
// takes effect at once, where the member is still letting go of something.
//
// A partition comes to a member only when no other has it or has yet to let go
// of it: what is taken away stays with the member, in revoking, until it says
// that it has it no more. Until then the member keeps its epoch.
func (c *core) reconcile(g *group, id string, has *partitions, changed bool) *consumer {
	m := g.modern.members[id]
	if m.reconciled(g.modern.assignmentEpoch) {
		return m
	}
	var next consumerState
	switch {
	case m.state == memberUnrevoked && m.holds(m.revoking, has):
		if !changed {
			return m
		}
		next = c.unsubscribed(g, m)
	default:
		next = c.nextState(g, m, has)
	}
	if next.equalState(&m.consumerState) {
		return m
	}
	next.previousEpoch = m.epoch
	m = c.setState(g, id, next)
	c.timeRevocation(g, m)
	return m
}

// timeRevocation bounds how long m may hold on to what it is to let go of. A
// member that uses the classic protocol must join again in time, instead.
func (c *core) timeRevocation(g *group, m *consumer) {
	key := timerKey{timerRevoke, g.id, m.id}
	if m.state == memberUnrevoked && m.classic == nil {
		c.timers.set(key, c.now.Add(m.rebalanceTimeout))
		return
	}
	c.timers.cancel(key)
}

// holds reports whether a member may still have some of o.
func (m *consumer) holds(o owned, has *partitions) bool {
	if has == nil {
		return true
	}
	for id, of := range *has {
		for _, p := range of {
			if o.has(id, p) {
				return true
			}
		}
	}
	return false
}

// subscribedIDs returns the ids of the topics that m subscribes to.
func (c *core) subscribedIDs(g *group, m *consumer) map[[16]byte]bool {
	ids := make(map[[16]byte]bool)
	for name := range g.modern.topicsOf(m) {
		if t := c.topics.byName[name]; t != nil {
			ids[t.ID] = true
		}
	}
	return ids
}

// unsubscribed takes what m does not subscribe to any more away from it.
func (c *core) unsubscribed(g *group, m *consumer) consumerState {
	next := m.consumerState
	topics := c.subscribedIDs(g, m)
	next.assigned, next.revoking = make(owned), make(owned)
	m.revoking.each(next.revoking.put)
	m.assigned.each(func(id [16]byte, p, epoch int32) {
		if topics[id] {
			next.assigned.put(id, p, epoch)
		} else {
			next.revoking.put(id, p, epoch)
		}
	})
	return next
}

// nextState compares what m has with its target.
func (c *core) nextState(g *group, m *consumer, has *partitions) consumerState {
	mod := g.modern
	topics := c.subscribedIDs(g, m)
	target := make(owned)
	for id, of := range mod.targets[m.id] {
		for _, p := range of {
			if topics[id] {
				target.put(id, p, mod.assignmentEpoch)
			}
		}
	}
	next := consumerState{epoch: m.epoch, previousEpoch: m.previousEpoch, assigned: make(owned), revoking: make(owned)}
	m.assigned.each(func(id [16]byte, p, epoch int32) {
		if target.has(id, p) {
			next.assigned.put(id, p, epoch)
		} else {
			next.revoking.put(id, p, epoch)
		}
	})
	if len(next.revoking) > 0 && m.holds(next.revoking, has) {
		next.state = memberUnrevoked
		return next
	}
	next.revoking = make(owned)
	next.epoch, next.state = mod.assignmentEpoch, memberStable
	target.each(func(id [16]byte, p, epoch int32) {
		if next.assigned.has(id, p) {
			return
		}
		if owner, ok := mod.owners[partitionID{id, p}]; ok && owner != m.id {
			next.state = memberUnreleased
			return
		}
		next.assigned.put(id, p, epoch)
	})
	return next
}

// waits reports whether another member still has a partition that m is to have.
func (mod *modern) waits(m *consumer) bool {
	for id, of := range mod.targets[m.id] {
		for _, p := range of {
			if owner, ok := mod.owners[partitionID{id, p}]; ok && owner != m.id {
				return true
			}
		}
	}
	return false
}

// refresh sees to it that the targets are up to date: it resolves the regular
// expressions, counts the epoch up if subscriptions have changed, or a topic
// subscribed to has, and assigns.
func (c *core) refresh(g *group, changed bool) {
	mod := g.modern
	if changed || mod.seen != c.topics {
		if c.resolve(g) {
			changed = true
		}
		mod.seen = c.topics
		if hash := mod.metadataHash(c.topics); changed || mod.epoch == 0 || hash != mod.hash {
			if mod.epoch == 0 && hash != 0 {
				mod.epoch = 1 // as in Kafka: members are one change, and their topics another
			}
			c.setEpoch(g)
		}
	}
	if mod.epoch > mod.assignmentEpoch {
		c.computeTargets(g)
	}
}

// resolve brings the topics of all regular expressions up to date, and reports
// whether there was a change. Kafka does it in the background; here it is done
// at once, since names are few and matching takes linear time.
func (c *core) resolve(g *group) (changed bool) {
	mod := g.modern
	c.dropRegexes(g)
	for _, id := range mod.ids() {
		expr := mod.members[id].regex
		old, known := mod.regexes[expr]
		if expr == "" || known && mod.seen == c.topics {
			continue
		}
		re, err := compileSubscription(expr)
		if err != nil {
			continue // the log had it; nothing matches
		}
		topics := c.fitting(c.topics.matching(re))
		if known && slices.Equal(old, topics) {
			continue
		}
		c.setRegex(g, expr, topics)
		changed = true
	}
	return changed
}

// fitting returns as many of topics as fit into a record.
func (c *core) fitting(topics []string) []string {
	size := maxString + 1024 // the key, and a little
	for i, t := range topics {
		if size += len(t) + 3; size > c.cfg.MaxRecordBytes {
			c.note(note{text: "regular expression matches more topics than a record holds", members: i})
			return topics[:i]
		}
	}
	return topics
}

// computeTargets assigns the partitions anew.
func (c *core) computeTargets(g *group) {
	mod := g.modern
	var subscribers []subscriber
	wanted := make(map[[16]byte]int32)
	for _, id := range mod.ids() {
		m := mod.members[id]
		s := subscriber{id: id, target: mod.targets[id]}
		if m.instance != nil {
			s.instance = *m.instance
		}
		for name := range mod.topicsOf(m) {
			if t := c.topics.byName[name]; t != nil {
				s.topics = append(s.topics, t.ID)
				wanted[t.ID] = t.Partitions
			}
		}
		slices.SortFunc(s.topics, compareIDs)
		subscribers = append(subscribers, s)
	}
	topics := make([]topicSize, 0, len(wanted))
	for _, id := range sortedIDs(wanted) {
		topics = append(topics, topicSize{id, wanted[id]})
	}
	targets := assign(mod.assignorName(), subscribers, topics)
	for _, s := range subscribers {
		if old, ok := mod.targets[s.id]; !ok || !old.equal(targets[s.id]) {
			c.setTarget(g, s.id, targets[s.id])
		}
	}
	c.setAssigned(g)
}
