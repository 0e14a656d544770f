// SPDX-License-Identifier: Apache-2.0

package group

import "time"

// rebalanceOrComplete begins a rebalance, or, if one is under way, ends its
// join phase when nobody is missing any more.
func (c *core) rebalanceOrComplete(g *group, reason string) {
	if g.state == statePreparing {
		c.maybeCompleteJoin(g)
		return
	}
	c.prepareRebalance(g, reason)
}

// prepareRebalance begins the join phase.
func (c *core) prepareRebalance(g *group, reason string) {
	if g.state == stateCompleting {
		// Those who wait for an assignment of this generation must rejoin.
		for _, m := range g.members {
			m.assignment = nil
			c.answerSync(g, m, errRebalanceInProgress)
		}
	}
	clear(g.pendingSync)
	c.timers.cancel(timerKey{kind: timerSync, group: g.id})

	first := g.state == stateEmpty
	g.transition(c, statePreparing)
	c.note(note{text: "rebalance begins", group: g.id, reason: reason, generation: g.generation, members: len(g.members)})
	switch {
	case first:
		// Give the other members of a starting application time to join.
		g.joinedSince = false
		g.delay = c.cfg.InitialRebalanceDelay
		g.restWait = max(0, g.rebalanceTimeout()-g.delay)
		c.setJoinTimer(g, g.delay)
	case g.allJoined():
		c.completeJoin(g)
	default:
		c.setJoinTimer(g, g.rebalanceTimeout())
	}
}

func (c *core) setJoinTimer(g *group, d time.Duration) {
	c.timers.set(timerKey{kind: timerJoin, group: g.id}, c.now.Add(d))
}

// maybeCompleteJoin ends the join phase if nobody is missing. The first
// rebalance of a group always waits for its timer.
func (c *core) maybeCompleteJoin(g *group) {
	if g.state == statePreparing && g.previous != stateEmpty && g.allJoined() {
		c.completeJoin(g)
	}
}

// joinTimeout ends the join phase without those that are missing. The first
// rebalance is put off for as long as members keep joining, up to the
// rebalance timeout.
func (c *core) joinTimeout(g *group) {
	if g.state != statePreparing {
		return
	}
	if g.previous == stateEmpty && g.joinedSince && g.restWait > 0 {
		g.joinedSince = false
		spent := g.delay
		g.delay = min(c.cfg.InitialRebalanceDelay, g.restWait)
		g.restWait = max(0, g.restWait-spent)
		c.setJoinTimer(g, g.delay)
		return
	}
	c.completeJoin(g)
}

// completeJoin ends the join phase: dynamic members that did not join are out,
// static ones stay until their session ends, and the next generation begins.
func (c *core) completeJoin(g *group) {
	c.timers.cancel(timerKey{kind: timerJoin, group: g.id})
	for _, m := range append([]*member(nil), g.members...) {
		if m.join.token == 0 && m.instance == nil {
			c.drop(g, m.id)
			c.note(note{text: "member evicted", group: g.id, member: m.id, reason: "it did not rejoin"})
		}
	}
	if !g.electJoined() && len(g.members) > 0 {
		// Only static members, and none of them is back: their sessions decide.
		c.setJoinTimer(g, max(g.rebalanceTimeout(), time.Second))
		return
	}
	g.generation++
	if len(g.members) == 0 {
		g.protocol = ""
		g.transition(c, stateEmpty)
		c.emitGroup(g)
		c.note(note{text: "group is empty", group: g.id, generation: g.generation})
		return
	}
	g.protocol = g.selectProtocol()
	g.transition(c, stateCompleting)
	for _, m := range g.members {
		c.answerJoin(g, m, joinReply(g, m, m.join.version))
		c.keepAlive(g, m)
		m.isNew = false
		g.pendingSync[m.id] = true
	}
	c.timers.set(timerKey{kind: timerSync, group: g.id}, c.now.Add(g.rebalanceTimeout()))
	c.note(note{text: "generation begins", group: g.id, member: g.leader, generation: g.generation, members: len(g.members)})
}

// syncTimeout removes the members that joined this generation and did not ask
// for their assignment, the leader perhaps among them.
func (c *core) syncTimeout(g *group) {
	if len(g.pendingSync) == 0 || g.state != stateCompleting && g.state != stateStable {
		return
	}
	for _, m := range append([]*member(nil), g.members...) {
		if g.pendingSync[m.id] {
			c.drop(g, m.id)
			c.note(note{text: "member evicted", group: g.id, member: m.id, reason: "it did not sync"})
		}
	}
	c.prepareRebalance(g, "members did not sync")
}

// keepAlive starts the session of m anew.
func (c *core) keepAlive(g *group, m *member) {
	c.timers.set(timerKey{timerSession, g.id, m.id}, c.now.Add(m.sessionTimeout))
}

// drop removes member or pending member id; what it waits for is answered
// UNKNOWN_MEMBER_ID, so that a live one joins anew.
func (c *core) drop(g *group, id string) {
	if m := g.byID[id]; m != nil {
		c.answerJoin(g, m, joinFailure(m.join.version, "", errUnknownMemberID))
		c.answerSync(g, m, errUnknownMemberID)
	}
	c.timers.cancel(timerKey{timerSession, g.id, id})
	g.remove(id)
}

// sessionEnded evicts the member, or the pending one, that was not heard of.
func (c *core) sessionEnded(g *group, id string) {
	m := g.byID[id]
	switch {
	case g.pendingJoin[id]:
		c.drop(g, id)
		c.maybeCompleteJoin(g)
		return
	case m == nil:
		return
	case !m.isNew && (m.join.token != 0 || m.sync.token != 0):
		return // it waits for us; its session begins anew with the answer
	}
	c.drop(g, id)
	c.note(note{text: "member evicted", group: g.id, member: id, reason: "its session ended"})
	c.membersLeft(g, "session of member "+id+" ended")
}

// membersLeft goes on without members that were just removed.
func (c *core) membersLeft(g *group, reason string) {
	switch g.state {
	case stateStable, stateCompleting:
		c.prepareRebalance(g, reason)
	case statePreparing:
		c.maybeCompleteJoin(g)
	default: // empty or dead: nobody is left who waits
	}
}
