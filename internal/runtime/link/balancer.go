// SPDX-License-Identifier: Apache-2.0

package link

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/runtime/assign"
)

// protocolName is what members of a group must have in common. Its number changes
// when members of two versions could not share a group; what they can skip is in the
// user data, which has a version of its own.
const protocolName = "millrace-1"

// Balancing says how a member takes part in dealing tasks out. Its handlers are
// called on a goroutine of the client's, one at a time, and must not block.
type Balancing struct {
	// Subs are the sub-topologies of this program. None: each topic is one by itself.
	Subs []assign.Sub
	// Data gives what the member says of itself in the next round: capacity, copies of
	// state and so on. Its Subs are filled in. Nil: nothing.
	Data func() assign.Data
	// Told is called with what the leader says beside the partitions, before Assigned
	// and Revoked are. Nil: it is not asked for.
	Told func(assign.Assignment)
	// Config is what the member deals out by when it leads the group.
	Config assign.Config
}

// balancer is package assign as the client wants it: a [kgo.GroupBalancer] of the
// "consumer" protocol type, so that Kafka's own tools can read its groups.
type balancer struct {
	cfg    Balancing
	log    *slog.Logger
	client atomic.Pointer[kgo.Client]

	mu       sync.Mutex
	claimed  map[string][]int32 // what the last join said to own
	last     assign.View
	unserved []string
}

func newBalancer(cfg Balancing, topics []string, log *slog.Logger) *balancer {
	if len(cfg.Subs) == 0 {
		for _, t := range topics {
			cfg.Subs = append(cfg.Subs, assign.Sub{Name: t, Topics: []string{t}})
		}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &balancer{cfg: cfg, log: log}
}

// OnNewClient implements [kgo.HookNewClient].
func (b *balancer) OnNewClient(cl *kgo.Client) { b.client.Store(cl) }

// ProtocolName implements [kgo.GroupBalancer].
func (b *balancer) ProtocolName() string { return protocolName }

// IsCooperative implements [kgo.GroupBalancer].
func (b *balancer) IsCooperative() bool { return true }

// JoinGroupMetadata implements [kgo.GroupBalancer].
func (b *balancer) JoinGroupMetadata(topics []string, owned map[string][]int32, generation int32) []byte {
	var d assign.Data
	if b.cfg.Data != nil {
		d = b.cfg.Data()
	}
	d.Subs = b.cfg.Subs
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
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claimed = owned
	return meta.AppendTo(nil)
}

// ParseSyncAssignment implements [kgo.GroupBalancer].
func (b *balancer) ParseSyncAssignment(bytes []byte) (map[string][]int32, error) {
	var msg kmsg.ConsumerMemberAssignment
	if err := msg.ReadFrom(bytes); err != nil {
		return nil, fmt.Errorf("read the assignment: %w", err)
	}
	parts := make(map[string][]int32, len(msg.Topics))
	for _, t := range msg.Topics {
		parts[t.Topic] = append(parts[t.Topic], t.Partitions...)
	}
	told, err := assign.DecodeAssignment(msg.UserData)
	if err != nil { // the partitions hold all the same
		b.log.Warn("what the group's leader says beside the partitions is left aside", "err", err)
		return parts, nil
	}
	b.mu.Lock()
	b.last = told.View
	stuck := told.Release && !loses(b.claimed, parts)
	b.mu.Unlock()
	if b.cfg.Told != nil {
		b.cfg.Told(told)
	}
	if cl := b.client.Load(); stuck && cl != nil {
		// Others wait for partitions that the process before this one, of the same
		// instance id, had to release. It owns none of them, so the client sees no
		// reason to join again; but the group waits for it.
		cl.ForceRebalance()
	}
	return parts, nil
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

// MemberBalancer implements [kgo.GroupBalancer]. A member whose metadata cannot be
// read gets nothing, and the others go on.
func (b *balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	r := &round{b: b}
	topics := map[string]struct{}{}
	seen := map[string]bool{}
	for i := range members {
		if seen[members[i].MemberID] {
			continue
		}
		seen[members[i].MemberID] = true
		m, err := parseMember(&members[i])
		if err != nil {
			b.log.Warn("a member of the group does not say what it can do: it gets no tasks", "member", m.ID, "err", err)
		}
		for _, t := range m.Topics {
			topics[t] = struct{}{}
		}
		r.members = append(r.members, m)
	}
	return r, topics, nil
}

func parseMember(jm *kmsg.JoinGroupResponseMember) (assign.Member, error) {
	m := assign.Member{ID: jm.MemberID, Generation: -1}
	if jm.InstanceID != nil {
		m.Instance = *jm.InstanceID
	}
	meta := kmsg.NewConsumerMemberMetadata()
	if err := meta.ReadFrom(jm.ProtocolMetadata); err != nil {
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

// round is one generation of the group, at its leader.
type round struct {
	b       *balancer
	members []assign.Member
}

// Balance implements [kgo.GroupMemberBalancer].
func (r *round) Balance(topics map[string]int32) kgo.IntoSyncAssignment {
	b := r.b
	b.mu.Lock()
	last := b.last
	b.mu.Unlock()
	plan := assign.Balance(assign.Input{Members: r.members, Partitions: topics, Last: last, Config: b.cfg.Config})
	b.mu.Lock()
	news := !slices.Equal(b.unserved, plan.Unserved)
	b.unserved = plan.Unserved
	b.mu.Unlock()
	b.log.Debug("the group is balanced", "members", len(plan.Shares), "again", plan.FollowUp, "warming", plan.Warming)
	if news && len(plan.Unserved) > 0 {
		b.log.Warn("topics are not read for now: members run versions of the program that differ in what reads them", "topics", plan.Unserved)
	}
	return dealt{&plan}
}

// dealt is a plan for the wire.
type dealt struct{ plan *assign.Plan }

// IntoSyncAssignment implements [kgo.IntoSyncAssignment].
func (d dealt) IntoSyncAssignment() []kmsg.SyncGroupRequestGroupAssignment {
	data := d.plan.Encode()
	out := make([]kmsg.SyncGroupRequestGroupAssignment, len(d.plan.Shares))
	for i, s := range d.plan.Shares {
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
		out[i] = kmsg.NewSyncGroupRequestGroupAssignment()
		out[i].MemberID, out[i].MemberAssignment = s.ID, msg.AppendTo(nil)
	}
	return out
}
