// SPDX-License-Identifier: Apache-2.0

package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A groupState is the state of a classic group.
//
//	           first join                    all joined, or time is up
//	Empty ------------------> Preparing ----------------> Completing
//	  ^                       ^  |   ^                    |       |
//	  |  nobody joined        |  |   |  member joins or   |       | the leader
//	  +-----------------------|--+   |  is gone           |       | has synced
//	                          |      +--------------------+       v
//	                          +-------------------------------- Stable
//
// A group that was deleted has no state any more; it is told of as Dead.
type groupState int8

const (
	stateEmpty      groupState = iota // no members; offsets perhaps
	statePreparing                    // members (re)join
	stateCompleting                   // members wait for the leader's assignment
	stateStable                       // each member has its assignment
)

// deadState is how a group that does not exist is described.
const deadState = "Dead"

func (s groupState) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}[s]
}

// A group is one group: a classic one, a consumer group if modern is not nil, or
// one that only has offsets. A consumer group uses none of the fields of classic
// ones; they are as in a new group.
type group struct {
	id           string
	state        groupState
	previous     groupState // before state
	since        int64      // when state began, ms since the Unix epoch; -1 unknown
	protocolType string     // "" if the group never had a member
	protocol     string     // chosen protocol; "" if none
	generation   int32
	leader       string // member id; "" if none
	leaderless   bool   // restored from before the first rebalance after a downgrade

	members     []*member          // in the order in which they joined
	byID        map[string]*member // the same
	statics     map[string]string  // instance id to member id
	pendingJoin map[string]bool    // ids given out with MEMBER_ID_REQUIRED
	pendingSync map[string]bool    // members that have not synced this generation
	supported   map[string]int     // protocol to the number of members that know it
	joining     int                // members that wait in JoinGroup

	// Of the first rebalance (KIP-134): whether somebody joined since its
	// timer was set, and how long that and the rest of the wait are.
	joinedSince     bool
	delay, restWait time.Duration

	modern    *modern // of a consumer group
	offsets   map[topicPartition]committed
	persisted bool   // the log has a metadata record of the group
	lastSeq   uint64 // number of the last record emitted for the group
}

func newGroup(id string) *group {
	return &group{
		id:          id,
		byID:        make(map[string]*member),
		statics:     make(map[string]string),
		pendingJoin: make(map[string]bool),
		pendingSync: make(map[string]bool),
		supported:   make(map[string]int),
		offsets:     make(map[topicPartition]committed),
	}
}

// A parked request waits for its reply. Its zero value is no request.
type parked struct {
	token   token
	version int16
}

// A member is one member of a group.
type member struct {
	id               string
	instance         *string // group.instance.id of a static member
	client           Client
	rebalanceTimeout time.Duration
	sessionTimeout   time.Duration
	protocols        []kmsg.JoinGroupRequestProtocol // in order of preference
	assignment       []byte
	isNew            bool   // has not been through a whole join phase yet
	join, sync       parked // requests that wait
}

// metadata returns what m said to protocol.
func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

// matches reports whether m said the same as protocols when it joined.
func (m *member) matches(protocols []kmsg.JoinGroupRequestProtocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b kmsg.JoinGroupRequestProtocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

// add appends m. The first member decides the protocol type and leads.
func (g *group) add(m *member) {
	if len(g.members) == 0 {
		g.leader = m.id
	}
	g.members = append(g.members, m)
	g.byID[m.id] = m
	if m.instance != nil {
		g.statics[*m.instance] = m.id
	}
	g.count(m, 1)
	if m.join.token != 0 {
		g.joining++
	}
	delete(g.pendingJoin, m.id)
}

// remove drops the member of id, or the pending one. The oldest of the others
// leads if it was the leader.
func (g *group) remove(id string) {
	delete(g.pendingJoin, id)
	delete(g.pendingSync, id)
	m := g.byID[id]
	if m == nil {
		return
	}
	delete(g.byID, id)
	g.members = slices.DeleteFunc(g.members, func(o *member) bool { return o == m })
	if m.instance != nil {
		delete(g.statics, *m.instance)
	}
	g.count(m, -1)
	if m.join.token != 0 {
		g.joining--
	}
	if g.leader == id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
}

// rename gives m the id of the process that took over its instance id.
func (g *group) rename(m *member, id string) {
	old := m.id
	delete(g.byID, old)
	m.id = id
	g.byID[id] = m
	g.statics[*m.instance] = id
	if g.leader == old {
		g.leader = id
	}
	if g.pendingSync[old] {
		delete(g.pendingSync, old)
		g.pendingSync[id] = true
	}
}

// count adds n to the number of members that know each protocol of m.
func (g *group) count(m *member, n int) {
	for _, p := range m.protocols {
		g.supported[p.Name] += n
		if g.supported[p.Name] == 0 {
			delete(g.supported, p.Name)
		}
	}
}

// setProtocols replaces what m said about itself.
func (g *group) setProtocols(m *member, protocols []kmsg.JoinGroupRequestProtocol) {
	g.count(m, -1)
	m.protocols = protocols
	g.count(m, 1)
}

// supports reports whether a member with these protocols could join.
func (g *group) supports(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if g.state == stateEmpty {
		return protocolType != "" && len(protocols) > 0
	}
	return g.protocolType == protocolType &&
		slices.ContainsFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
			return g.supported[p.Name] == len(g.members)
		})
}

// selectProtocol returns the protocol that most members would choose among
// those that all know. Among equals the one that got its first vote first,
// in the order of members, wins.
func (g *group) selectProtocol() string {
	votes := make(map[string]int)
	var order []string
	for _, m := range g.members {
		for _, p := range m.protocols {
			if g.supported[p.Name] != len(g.members) {
				continue
			}
			if votes[p.Name] == 0 {
				order = append(order, p.Name)
			}
			votes[p.Name]++
			break
		}
	}
	best := ""
	for _, name := range order {
		if votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// allJoined reports whether nobody is left to wait for in the join phase.
func (g *group) allJoined() bool {
	return g.joining == len(g.members) && len(g.pendingJoin) == 0
}

// rebalanceTimeout returns the longest of all members.
func (g *group) rebalanceTimeout() time.Duration {
	var d time.Duration
	for _, m := range g.members {
		d = max(d, m.rebalanceTimeout)
	}
	return d
}

// electJoined keeps the leader if it has joined, and else makes the oldest
// member that has the leader. It reports whether there is one.
func (g *group) electJoined() bool {
	if l := g.byID[g.leader]; l != nil && l.join.token != 0 {
		return true
	}
	for _, m := range g.members {
		if m.join.token != 0 {
			g.leader = m.id
			return true
		}
	}
	return false
}

// empty reports whether g has no members.
func (g *group) empty() bool {
	if g.modern != nil {
		return len(g.modern.members) == 0
	}
	return g.state == stateEmpty
}

// stateName returns the name of the state of g.
func (g *group) stateName() string {
	if g.modern != nil {
		return g.modern.stateName()
	}
	return g.state.String()
}

// validate checks that member id exists and, if it is static, that it was not
// replaced by another process with the same instance id.
func (g *group) validate(id string, instance *string) int16 {
	if instance != nil {
		switch current, ok := g.statics[*instance]; {
		case !ok:
			return errUnknownMemberID
		case current != id:
			return errFencedInstanceID
		}
	}
	if g.byID[id] == nil {
		return errUnknownMemberID
	}
	return errNone
}

// transition moves g to state s.
func (g *group) transition(c *core, s groupState) {
	g.previous, g.state = g.state, s
	g.since = c.nowMs()
}
