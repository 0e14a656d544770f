// SPDX-License-Identifier: Apache-2.0

// Package member is a process's part in its group as a core: it says what the process
// tells the group, deals the tasks out when it leads, reads what was dealt, knows
// which partitions are owned, and judges the answers to commits. It starts no
// goroutine, reads no clock and does no I/O; link drives it from a client of the
// Kafka protocol, the simulation from a queue of events.
//
//	Join -> (Gather -> Deal, at the leader) -> Read -> Revoked, Assigned -> Join ...
package member

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/runtime/assign"
)

// ProtocolName is what members of a group must have in common. Its number changes
// when members of two versions could not share a group; what they can skip is in the
// user data, which has a version of its own.
const ProtocolName = "millrace-1"

// A Core is one member. It belongs to one goroutine at a time.
type Core struct {
	subs []assign.Sub
	cfg  assign.Config

	claimed  map[string][]int32       // what the last join said to own
	said     uint64                   // and the hash of the topics that match patterns
	owned    map[assign.Partition]int // since which of the member's terms
	terms    int                      // counts calls of Assigned
	last     assign.View
	unserved []string
}

// New makes a member that runs subs, or, if there are none, each topic by itself. cfg
// is what it deals out by when it leads the group.
func New(subs []assign.Sub, topics []string, cfg assign.Config) *Core {
	if len(subs) == 0 {
		for _, t := range topics {
			subs = append(subs, assign.Sub{Name: t, Topics: []string{t}})
		}
	}
	return &Core{subs: subs, cfg: cfg, owned: map[assign.Partition]int{}}
}

// Subscribe changes the sub-topologies that the member runs, from the next Join on: what
// matches their patterns. It releases what is owned of topics that are gone.
func (c *Core) Subscribe(subs []assign.Sub, gone []string) {
	c.subs = subs
	for p := range c.owned {
		if slices.Contains(gone, p.Topic) {
			delete(c.owned, p)
		}
	}
}

// Join gives the metadata of a subscription: what the member owned in generation, -1
// for none, and what it says of itself. The Subs of d are filled in. owned is kept.
func (c *Core) Join(topics []string, owned map[string][]int32, generation int32, d assign.Data) []byte {
	d.Subs = c.subs
	c.claimed, c.said = owned, assign.MatchedHash(c.subs)
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version = 3
	meta.Topics = topics
	meta.Generation = generation
	for _, t := range slices.Sorted(maps.Keys(owned)) {
		part := kmsg.NewConsumerMemberMetadataOwnedPartition()
		part.Topic, part.Partitions = t, owned[t]
		meta.OwnedPartitions = append(meta.OwnedPartitions, part)
	}
	if d.Rack != "" {
		meta.Rack = &d.Rack
	}
	meta.UserData = assign.AppendData(nil, d, topics)
	return meta.AppendTo(nil)
}

// An Assignment is what one round gave to the member.
type Assignment struct {
	Partitions map[string][]int32
	Told       assign.Assignment // what the leader says beside them
	// Skipped says why Told could not be read: the partitions hold all the same.
	Skipped error
	// Again says that the member must join again though it loses nothing, since the share
	// is that of the process before this one, of the same instance id: others wait for
	// partitions that it had to release, of which this one owns none, or it did not know of
	// topics that this one knows.
	Again bool
}

// Read takes what the leader dealt. What it gives is owned when Assigned says so.
func (c *Core) Read(data []byte) (Assignment, error) {
	var msg kmsg.ConsumerMemberAssignment
	if err := msg.ReadFrom(data); err != nil {
		return Assignment{}, fmt.Errorf("read the assignment: %w", err)
	}
	a := Assignment{Partitions: make(map[string][]int32, len(msg.Topics))}
	for _, t := range msg.Topics {
		a.Partitions[t.Topic] = append(a.Partitions[t.Topic], t.Partitions...)
	}
	told, err := assign.DecodeAssignment(msg.UserData)
	if err != nil {
		a.Skipped = err
		return a, nil
	}
	a.Told = told
	a.Again = told.Release && !loses(c.claimed, a.Partitions) || told.Heard != 0 && told.Heard != c.said
	c.last = told.View
	return a, nil
}

// View is what the leader last said of all members.
func (c *Core) View() assign.View { return c.last }

// Assigned notes partitions that the member owns from now on.
func (c *Core) Assigned(parts ...assign.Partition) {
	c.terms++
	for _, p := range parts {
		c.owned[p] = c.terms
	}
}

// Released notes partitions that it has given back or lost.
func (c *Core) Released(parts ...assign.Partition) {
	for _, p := range parts {
		delete(c.owned, p)
	}
}

// loses says whether any partition is in before and not in after.
func loses(before, after map[string][]int32) bool {
	for t, nums := range before {
		left := make(map[int32]bool, len(after[t]))
		for _, n := range after[t] {
			left[n] = true
		}
		for _, n := range nums {
			if !left[n] {
				return true
			}
		}
	}
	return false
}
