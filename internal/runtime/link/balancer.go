// SPDX-License-Identifier: Apache-2.0

package link

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/runtime/assign"
	core "github.com/millrace/millrace/internal/runtime/link/member"
)

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

// balancer is the core of a member as the client wants it: a [kgo.GroupBalancer] of
// the "consumer" protocol type, so that Kafka's own tools can read its groups.
type balancer struct {
	cfg      Balancing
	instance string // the member's fixed id, "" if it has none
	log      *slog.Logger
	client   atomic.Pointer[kgo.Client]

	mu      sync.Mutex
	core    *core.Core
	address string // what the member has said last of where it is
}

func newBalancer(cfg *MemberConfig, log *slog.Logger) *balancer {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := &cfg.Balancing
	return &balancer{cfg: *b, instance: cfg.Instance, log: log, core: core.New(b.Subs, cfg.Topics, b.Config)}
}

// own notes what the member has from now on, or has no more.
func (b *balancer) own(parts []Partition, owned bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range parts {
		if owned {
			b.core.Assigned(assign.Partition(p))
		} else {
			b.core.Released(assign.Partition(p))
		}
	}
}

func (b *balancer) commit(offsets map[Partition]Position) *core.Commit {
	b.mu.Lock()
	defer b.mu.Unlock()
	parts := make([]assign.Partition, 0, len(offsets))
	for p := range offsets {
		parts = append(parts, assign.Partition(p))
	}
	return b.core.Commit(parts...)
}

func (b *balancer) subscribe(subs []assign.Sub, gone []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.core.Subscribe(subs, gone)
}

// OnNewClient implements [kgo.HookNewClient].
func (b *balancer) OnNewClient(cl *kgo.Client) { b.client.Store(cl) }

// ProtocolName implements [kgo.GroupBalancer].
func (b *balancer) ProtocolName() string { return core.ProtocolName }

// IsCooperative implements [kgo.GroupBalancer].
func (b *balancer) IsCooperative() bool { return true }

// JoinGroupMetadata implements [kgo.GroupBalancer].
func (b *balancer) JoinGroupMetadata(topics []string, owned map[string][]int32, generation int32) []byte {
	var d assign.Data
	if b.cfg.Data != nil {
		d = b.cfg.Data()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.address = d.Address
	return b.core.Join(topics, owned, generation, d)
}

// ParseSyncAssignment implements [kgo.GroupBalancer].
func (b *balancer) ParseSyncAssignment(bytes []byte) (map[string][]int32, error) {
	b.mu.Lock()
	a, err := b.core.Read(bytes)
	elsewhere := err == nil && b.elsewhere(a.Told.View)
	b.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case a.Skipped != nil:
		b.log.Warn("what the group's leader says beside the partitions is left aside", "err", a.Skipped)
		return a.Partitions, nil
	}
	if b.cfg.Told != nil {
		b.cfg.Told(a.Told)
	}
	if a.Again || elsewhere {
		b.again()
	}
	return a.Partitions, nil
}

// elsewhere says whether the group knows the member at an address that it had before. One
// that comes back under its fixed id gets what was dealt to the one before it, and begins
// no round (KIP-345), so that nobody would be told of the new address.
func (b *balancer) elsewhere(v assign.View) bool {
	return b.instance != "" && slices.ContainsFunc(v.Hosts, func(h assign.Host) bool {
		return h.Instance == b.instance && h.Address != b.address
	})
}

// again has the member join the group once more.
func (b *balancer) again() {
	if cl := b.client.Load(); cl != nil {
		cl.ForceRebalance()
	}
}

// MemberBalancer implements [kgo.GroupBalancer].
func (b *balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	joined := make([]core.Joined, len(members))
	for i, m := range members {
		joined[i] = core.Joined{ID: m.MemberID, Metadata: m.ProtocolMetadata}
		if m.InstanceID != nil {
			joined[i].Instance = *m.InstanceID
		}
	}
	b.mu.Lock()
	r := b.core.Gather(joined)
	b.mu.Unlock()
	for _, e := range r.Refused {
		b.log.Warn("a member of the group does not say what it can do: it gets no tasks", "member", e.ID, "err", e)
	}
	topics := make(map[string]struct{}, len(r.Topics))
	for _, t := range r.Topics {
		topics[t] = struct{}{}
	}
	return &round{b, r}, topics, nil
}

// round is one generation of the group, at its leader.
type round struct {
	b *balancer
	r *core.Round
}

// Balance implements [kgo.GroupMemberBalancer].
func (r *round) Balance(topics map[string]int32) kgo.IntoSyncAssignment {
	b := r.b
	b.mu.Lock()
	d := r.r.Deal(topics)
	b.mu.Unlock()
	b.log.Debug("the group is balanced", "members", len(d.Plan.Shares), "again", d.Plan.FollowUp, "warming", d.Plan.Warming)
	if len(d.News) > 0 {
		b.log.Warn("topics are not read for now: members run versions of the program that differ in what reads them", "topics", d.News)
	}
	return dealt{&d}
}

// dealt is a plan for the wire.
type dealt struct{ d *core.Dealt }

// IntoSyncAssignment implements [kgo.IntoSyncAssignment].
func (d dealt) IntoSyncAssignment() []kmsg.SyncGroupRequestGroupAssignment {
	data := d.d.Encode()
	out := make([]kmsg.SyncGroupRequestGroupAssignment, len(data))
	for i, s := range d.d.Plan.Shares {
		out[i] = kmsg.NewSyncGroupRequestGroupAssignment()
		out[i].MemberID, out[i].MemberAssignment = s.ID, data[i]
	}
	return out
}
