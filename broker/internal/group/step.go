// SPDX-License-Identifier: Apache-2.0

package group

import (
	"maps"
	"slices"
	"time"
)

const (
	// newMemberJoinTimeout is how long a member that joins for the first time
	// may wait in JoinGroup. It has no session yet, and a disconnect does not
	// show while its request is parked, so this bounds dead ones.
	newMemberJoinTimeout = 5 * time.Minute

	// expiryInterval is the time between sweeps for expired offsets:
	// offsets.retention.check.interval.ms.
	expiryInterval = 10 * time.Minute
)

// A token names a request that waits for its reply. 0 names none.
type token uint64

// A core holds the groups of one partition of __consumer_offsets. It belongs
// to one goroutine. Its life is: replay for each record of the log, loaded
// once, step for each event.
type core struct {
	cfg    Config
	groups map[string]*group
	topics *Topics // as the shell has told last; never nil
	timers timers
	now    time.Time // never goes back
	seq    uint64    // records emitted so far

	fx effects // of the step under way
}

// newCore returns a core without groups, ready for replay.
func newCore(cfg Config) *core {
	return &core{cfg: cfg.withDefaults(), topics: noTopics, groups: make(map[string]*group)}
}

// An event is something that happened to the groups of a partition.
type event interface{ apply(c *core) }

// effects is what a step asks of the shell.
type effects struct {
	records  []Record  // to append, in order; the last is number seq
	replies  []reply   // in the order in which they were given
	notes    []note    // for the log of the broker
	seq      uint64    // number of the last record emitted so far, by any step
	deadline time.Time // when to step again with no event; zero if never
}

// A reply answers a request once the record of number after is committed.
type reply struct {
	token token
	body  any
	after uint64
	group *group // whose records body depends on; nil means all of them
}

// A note is a line for the log of the broker.
type note struct {
	text       string
	group      string
	member     string
	reason     string
	generation int32
	members    int
}

// step fires the timers that are due, applies ev, which may be nil, and
// returns the effects of both.
func (c *core) step(now time.Time, ev event) effects {
	c.begin(now)
	for {
		key, ok := c.timers.due(c.now)
		if !ok {
			break
		}
		c.fire(key)
	}
	if ev != nil {
		ev.apply(c)
	}
	return c.end()
}

// loaded ends the replay: every member restored gets a fresh session.
func (c *core) loaded(now time.Time) effects {
	c.begin(now)
	c.timers.set(timerKey{kind: timerExpiry}, c.now.Add(expiryInterval))
	for _, id := range c.groupIDs() {
		g := c.groups[id]
		for _, m := range g.members {
			c.keepAlive(g, m)
		}
		if g.modern != nil {
			c.loadedModern(g)
		}
		switch {
		case len(g.members) > c.cfg.GroupMaxSize:
			c.prepareRebalance(g, "restored with more members than the limit")
		case g.leaderless:
			c.prepareRebalance(g, "restored without a leader")
		}
	}
	return c.end()
}

func (c *core) begin(now time.Time) {
	if now.After(c.now) {
		c.now = now
	}
	c.fx = effects{}
}

func (c *core) end() effects {
	for i := range c.fx.replies {
		r := &c.fx.replies[i]
		r.after = c.seq
		if r.group != nil {
			r.after = r.group.lastSeq
		}
	}
	c.fx.seq = c.seq
	c.fx.deadline = c.timers.next()
	return c.fx
}

func (c *core) fire(key timerKey) {
	if key.kind == timerExpiry {
		c.timers.set(key, c.now.Add(expiryInterval))
		c.expireOffsets()
		return
	}
	g := c.groups[key.group]
	if g == nil {
		return
	}
	if g.modern != nil {
		c.consumerTimeout(g, key)
		return
	}
	switch key.kind {
	case timerSession:
		c.sessionEnded(g, key.member)
	case timerJoin:
		c.joinTimeout(g)
	case timerSync:
		c.syncTimeout(g)
	default: // of a consumer group, or of the partition
	}
}

// emit adds a record that g depends on.
func (c *core) emit(g *group, r Record) {
	c.seq++
	g.lastSeq = c.seq
	c.fx.records = append(c.fx.records, r)
}

// reply answers t, once the records of g so far, those of this step included,
// are committed; a nil g stands for the records of all groups.
func (c *core) reply(g *group, t token, body any) {
	c.fx.replies = append(c.fx.replies, reply{token: t, body: body, group: g})
}

func (c *core) note(n note) { c.fx.notes = append(c.fx.notes, n) }

// nowMs returns the time of the step in ms since the Unix epoch.
func (c *core) nowMs() int64 { return c.now.UnixMilli() }

// groupIDs returns the ids of all groups in order.
func (c *core) groupIDs() []string { return slices.Sorted(maps.Keys(c.groups)) }

// create adds an empty group that is not in the log yet. What is told of it
// depends on all records so far: a tombstone of its namesake may be among them.
func (c *core) create(id string) *group {
	g := newGroup(id)
	g.since = -1
	g.lastSeq = c.seq
	c.groups[id] = g
	return g
}

// consumerTimeout removes a member of a consumer group that was not heard of,
// or has not done what it was to do.
func (c *core) consumerTimeout(g *group, key timerKey) {
	reason, ok := map[timerKind]string{
		timerSession: "its session ended",
		timerRevoke:  "it did not let go of partitions",
		timerRejoin:  "it did not rejoin",
		timerResync:  "it did not sync",
	}[key.kind]
	if ok && g.modern.members[key.member] != nil {
		c.note(note{text: "member evicted", group: g.id, member: key.member, reason: reason})
		c.fence(g, reason, key.member)
	}
}

// loadedModern gives the members of a consumer group fresh sessions.
func (c *core) loadedModern(g *group) {
	for _, id := range g.modern.ids() {
		m := g.modern.members[id]
		c.keepClassic(g, m)
		c.timeRevocation(g, m)
	}
}

// forget drops g and its timers.
func (c *core) forget(g *group) {
	c.stopTimers(g)
	delete(c.groups, g.id)
}

// stopTimers cancels all timers of g.
func (c *core) stopTimers(g *group) {
	if g.modern != nil {
		for _, id := range g.modern.ids() {
			c.cancelTimers(g, id)
		}
	}
	for _, m := range g.members {
		c.timers.cancel(timerKey{timerSession, g.id, m.id})
	}
	for id := range g.pendingJoin {
		c.timers.cancel(timerKey{timerSession, g.id, id})
	}
	c.timers.cancel(timerKey{kind: timerJoin, group: g.id})
	c.timers.cancel(timerKey{kind: timerSync, group: g.id})
}
