// SPDX-License-Identifier: Apache-2.0

package simtest

import (
	"bytes"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace/millrace/internal/runtime/link/member"
)

const (
	sessionTimeout   = 10_000 // ms
	rebalanceTimeout = 15_000
)

// A coordinator is that of one group of the classic protocol, with static members
// (KIP-345), as far as members can tell.
//
//	stable -> preparing (until all have joined) -> completing (until the leader has dealt) -> stable
type coordinator struct {
	w          *world
	state      string
	generation int32
	leader     string
	members    map[string]*groupMember
	gone       map[string]bool // ids of those who were members
	round      int             // counts preparations: their timers know whether they are still meant
	sessions   int64           // session timers begin here again after the coordinator was away
}

type groupMember struct {
	id, instance string
	metadata     []byte
	assignment   []byte
	heard        int64
	join         func(joinAnswer)
	sync         func(syncAnswer)
}

type joinAnswer struct {
	err        error
	generation int32
	deals      bool // the member leads, and deals
	members    []member.Joined
}

type syncAnswer struct {
	err        error
	assignment []byte
}

func newCoordinator(w *world) *coordinator {
	return &coordinator{w: w, state: "stable", members: map[string]*groupMember{}, gone: map[string]bool{}}
}

func (c *coordinator) remove(id string) {
	delete(c.members, id)
	c.gone[id] = true
}

func (c *coordinator) ids() []string { return slices.Sorted(maps.Keys(c.members)) }

func (c *coordinator) join(id, instance string, metadata []byte, reply func(joinAnswer)) {
	m := c.members[id]
	if m == nil && c.gone[id] {
		reply(joinAnswer{err: kerr.UnknownMemberID})
		return
	}
	if m == nil && instance != "" {
		if old := c.byInstance(instance); old != nil {
			if c.replace(old, id, metadata, reply) {
				return
			}
			m = c.members[id]
		}
	}
	if m == nil {
		m = &groupMember{id: id, instance: instance}
		c.members[id] = m
		c.w.say("group: %s is new", id)
		c.prepare("a new member")
	}
	same := bytes.Equal(m.metadata, metadata)
	m.metadata, m.join, m.sync = metadata, reply, nil
	c.hear(m)
	switch {
	case c.state == "stable" && same && c.leader != id:
		c.answerJoin(m, joinAnswer{generation: c.generation})
	case c.state == "completing" && same:
		c.answerJoin(m, c.dealing(m))
	case c.state != "preparing":
		c.prepare(id + " joins again")
	}
	c.complete(false)
}

func (c *coordinator) byInstance(instance string) *groupMember {
	for _, id := range c.ids() {
		if c.members[id].instance == instance {
			return c.members[id]
		}
	}
	return nil
}

// replace puts a process that was restarted in the place of the one before. true: the
// group is stable and stays so, and nobody else learns of it.
func (c *coordinator) replace(old *groupMember, id string, metadata []byte, reply func(joinAnswer)) bool {
	c.remove(old.id)
	m := &groupMember{id: id, instance: old.instance, metadata: metadata, assignment: old.assignment}
	c.members[id] = m
	c.hear(m)
	if c.leader == old.id {
		c.leader = id
	}
	if old.join != nil {
		old.join(joinAnswer{err: kerr.FencedInstanceID})
	}
	c.w.say("group: %s replaces %s, %s", id, old.id, c.state)
	if c.state != "stable" {
		m.metadata = nil // it takes part in the round
		return false
	}
	m.join = reply
	c.answerJoin(m, joinAnswer{generation: c.generation})
	return true
}

func (c *coordinator) answerJoin(m *groupMember, a joinAnswer) {
	m.join(a)
	m.join = nil
}

func (c *coordinator) dealing(m *groupMember) joinAnswer {
	a := joinAnswer{generation: c.generation}
	if m.id != c.leader {
		return a
	}
	a.deals = true
	for _, id := range c.ids() {
		o := c.members[id]
		a.members = append(a.members, member.Joined{ID: id, Instance: o.instance, Metadata: o.metadata})
	}
	return a
}

// prepare begins a round.
func (c *coordinator) prepare(why string) {
	if c.state == "preparing" {
		return
	}
	for _, id := range c.ids() {
		if m := c.members[id]; m.sync != nil {
			m.sync(syncAnswer{err: kerr.RebalanceInProgress})
			m.sync = nil
		}
	}
	c.state = "preparing"
	c.round++
	c.w.say("group: round %d, %s", c.round, why)
	c.await(c.round, rebalanceTimeout)
}

// await ends the joining of a round after a while, which an outage makes longer.
func (c *coordinator) await(round int, ms int64) {
	c.w.after(ms, func() {
		switch {
		case c.round != round || c.state != "preparing":
		case c.w.away:
			c.await(round, 1_000)
		default:
			c.complete(true)
		}
	})
}

// complete ends the joining when all have joined, or when the time is over: then those
// who have not are out, but static ones, which stay as they are.
func (c *coordinator) complete(overdue bool) {
	if c.state != "preparing" {
		return
	}
	joined := 0
	for _, id := range c.ids() {
		m := c.members[id]
		switch {
		case m.join != nil:
			joined++
		case !overdue:
			return
		case m.instance == "":
			c.w.say("group: %s is out, it did not join", id)
			c.remove(id)
		}
	}
	if joined == 0 {
		if len(c.members) == 0 {
			c.state = "stable"
		} else {
			c.state = "stable"
			c.prepare("nobody has joined")
		}
		return
	}
	c.generation++
	c.state = "completing"
	if m := c.members[c.leader]; m == nil || m.join == nil {
		for _, id := range slices.Backward(c.ids()) {
			if c.members[id].join != nil {
				c.leader = id
			}
		}
	}
	c.w.say("group: generation %d of %v, led by %s", c.generation, c.ids(), c.leader)
	for _, id := range c.ids() {
		if m := c.members[id]; m.join != nil {
			c.hear(m)
			c.answerJoin(m, c.dealing(m))
		}
	}
}

// check tells what is wrong with a request of a member.
func (c *coordinator) check(id string, generation int32) (*groupMember, error) {
	m := c.members[id]
	switch {
	case m == nil:
		return nil, kerr.UnknownMemberID
	case generation != c.generation:
		return nil, kerr.IllegalGeneration
	}
	return m, nil
}

func (c *coordinator) sync(id string, generation int32, shares map[string][]byte, reply func(syncAnswer)) {
	m, err := c.check(id, generation)
	if err == nil && c.state == "preparing" {
		err = kerr.RebalanceInProgress
	}
	if err != nil {
		reply(syncAnswer{err: err})
		return
	}
	c.hear(m)
	if c.state == "stable" {
		reply(syncAnswer{assignment: m.assignment})
		return
	}
	m.sync = reply
	if id != c.leader || shares == nil {
		return
	}
	c.state = "stable"
	for _, id := range c.ids() {
		m := c.members[id]
		m.assignment = shares[id]
		if m.sync != nil {
			c.hear(m)
			m.sync(syncAnswer{assignment: m.assignment})
			m.sync = nil
		}
	}
}

func (c *coordinator) heartbeat(id string, generation int32) error {
	m, err := c.check(id, generation)
	if err != nil {
		return err
	}
	c.hear(m)
	if c.state == "preparing" {
		return kerr.RebalanceInProgress
	}
	return nil
}

// mayCommit judges a commit: one of the last generation is taken while the next is
// prepared, and none while it is dealt out.
func (c *coordinator) mayCommit(id string, generation int32) error {
	m, err := c.check(id, generation)
	if err != nil {
		return err
	}
	c.hear(m)
	if c.state == "completing" {
		return kerr.RebalanceInProgress
	}
	return nil
}

func (c *coordinator) leave(id, why string) {
	if c.members[id] == nil {
		return
	}
	c.w.say("group: %s %s", id, why)
	c.remove(id)
	if len(c.members) > 0 {
		c.prepare(id + " " + why)
	}
	c.complete(false)
}

// hear restarts a member's session.
func (c *coordinator) hear(m *groupMember) {
	m.heard = c.w.now
	c.watch(m)
}

func (c *coordinator) watch(m *groupMember) {
	c.w.after(sessionTimeout, func() {
		if c.members[m.id] != m || c.w.away || m.join != nil || m.sync != nil {
			return
		}
		if c.w.now-max(m.heard, c.sessions) >= sessionTimeout {
			c.leave(m.id, "has gone silent")
		}
	})
}

// back is the coordinator on a broker that has come back: it waits for nobody's
// answers any more, and all sessions begin anew.
func (c *coordinator) back() {
	c.sessions = c.w.now
	for _, id := range c.ids() {
		m := c.members[id]
		m.join, m.sync = nil, nil
		c.watch(m)
	}
	if c.state == "completing" {
		c.prepare("the coordinator is back")
	}
}
