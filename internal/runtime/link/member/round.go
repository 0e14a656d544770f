// SPDX-License-Identifier: Apache-2.0

package member

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/runtime/assign"
)

// A Joined is a member of a generation as its leader is told of it.
type Joined struct {
	ID       string
	Instance string // "" for a dynamic member
	Metadata []byte // what its Join gave
}

// A Round is one generation of the group, at its leader.
type Round struct {
	core    *Core
	members []assign.Member
	Topics  []string // of all members' subscriptions, in order
	// Refused says who cannot be read, and why: they get nothing, and the others go on.
	Refused []*RefusedError
}

// A RefusedError is a member that does not say what it can do.
type RefusedError struct {
	ID  string
	err error
}

func (e *RefusedError) Error() string { return e.err.Error() }
func (e *RefusedError) Unwrap() error { return e.err }

// Gather begins the leader's part of a round. Of a member that is listed twice the
// first counts.
func (c *Core) Gather(joined []Joined) *Round {
	r := &Round{core: c}
	seen := map[string]bool{}
	for _, j := range joined {
		if seen[j.ID] {
			continue
		}
		seen[j.ID] = true
		m, err := parse(j)
		if err != nil {
			r.Refused = append(r.Refused, &RefusedError{j.ID, err})
		}
		r.Topics = append(r.Topics, m.Topics...)
		r.members = append(r.members, m)
	}
	slices.Sort(r.Topics)
	r.Topics = slices.Compact(r.Topics)
	return r
}

func parse(j Joined) (assign.Member, error) {
	m := assign.Member{ID: j.ID, Instance: j.Instance, Generation: -1}
	meta := kmsg.NewConsumerMemberMetadata()
	if err := meta.ReadFrom(j.Metadata); err != nil {
		return m, fmt.Errorf("read its subscription: %w", err)
	}
	m.Generation, m.Topics = meta.Generation, meta.Topics
	for _, t := range meta.OwnedPartitions {
		for _, n := range t.Partitions {
			m.Owned = append(m.Owned, assign.Partition{Topic: t.Topic, Num: n})
		}
	}
	var err error
	m.Data, err = assign.DecodeData(meta.UserData, meta.Topics)
	return m, err
}

// A Dealt is what a leader gives to the group.
type Dealt struct {
	Plan assign.Plan
	// News are the topics that nobody reads from this round on, since the members'
	// programs differ in who should; nil if they are those of the last round.
	News []string
}

// Deal deals the tasks out. partitions says how many each topic has.
func (r *Round) Deal(partitions map[string]int32) Dealt {
	c := r.core
	d := Dealt{Plan: assign.Balance(assign.Input{
		Members: r.members, Partitions: partitions, Last: c.last, Config: c.cfg,
	})}
	if !slices.Equal(c.unserved, d.Plan.Unserved) {
		c.unserved = d.Plan.Unserved
		d.News = d.Plan.Unserved
	}
	return d
}

// Encode gives the assignments of all members for the wire, in the order of Plan.Shares.
func (d *Dealt) Encode() [][]byte {
	data := d.Plan.Encode()
	out := make([][]byte, len(data))
	for i, s := range d.Plan.Shares {
		msg := kmsg.NewConsumerMemberAssignment()
		for _, p := range s.Partitions { // in order of topics
			if n := len(msg.Topics); n == 0 || msg.Topics[n-1].Topic != p.Topic {
				t := kmsg.NewConsumerMemberAssignmentTopic()
				t.Topic = p.Topic
				msg.Topics = append(msg.Topics, t)
			}
			t := &msg.Topics[len(msg.Topics)-1]
			t.Partitions = append(t.Partitions, p.Num)
		}
		msg.UserData = data[i]
		out[i] = msg.AppendTo(nil)
	}
	return out
}
