// SPDX-License-Identifier: Apache-2.0

package linktest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/assign"
	"github.com/millrace/millrace/internal/runtime/link"
)

// A group gives its members tasks as the real one does, with the balancer of the
// engine: what moves is revoked from the old owner in one round and given to the new
// one in the next, and the rest flows on.
type group struct {
	c          *Cluster
	id         string
	members    []*member
	joined     int // members ever
	generation int32
	view       assign.View
	round      bool // a rebalance runs
	again      bool // and another is due
}

// member is a process in its group. Its fields are guarded by the cluster's lock.
type member struct {
	k       *conn
	id      string
	cfg     link.MemberConfig
	g       *group
	owned   map[link.Partition]*fetching
	left    bool
	handing bool // Poll's last answer may not be handed on yet
}

type fetching struct {
	next   int64
	paused bool
}

func (k *conn) Join(cfg link.MemberConfig) (link.Member, error) {
	c := k.c
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.groups[k.cfg.Group]
	if g == nil {
		g = &group{c: c, id: k.cfg.Group}
		c.groups[k.cfg.Group] = g
	}
	for _, m := range g.members {
		if cfg.Instance != "" && m.cfg.Instance == cfg.Instance && !m.left {
			return nil, fmt.Errorf("join: %w", link.ErrFenced)
		}
	}
	m := &member{k: k, cfg: cfg, g: g, owned: map[link.Partition]*fetching{}, id: fmt.Sprintf("member-%03d", g.joined)}
	g.joined++
	g.members = append(g.members, m)
	g.rebalance()
	return m, nil
}

// rebalance starts a round, or has the one that runs followed by another. Under
// the lock.
func (g *group) rebalance() {
	if g.round {
		g.again = true
		return
	}
	g.round = true
	g.c.wg.Go(g.run)
}

func (g *group) run() {
	g.c.mu.Lock()
	defer g.c.mu.Unlock()
	for {
		g.again = false
		wanted := g.deal()
		for _, m := range slices.Clone(g.members) {
			var gone []link.Partition
			for p := range m.owned {
				if wanted[p] != m {
					gone = append(gone, p)
				}
			}
			if len(gone) > 0 {
				m.call(m.cfg.Revoked, gone)
				m.drop(gone)
			}
		}
		for _, m := range slices.Clone(g.members) {
			var added []link.Partition
			for p, owner := range wanted {
				if owner == m && m.owned[p] == nil {
					added = append(added, p)
				}
			}
			slices.SortFunc(added, compare)
			for _, p := range added {
				m.owned[p] = &fetching{next: g.c.startOf(g.id, p, m.cfg.Resets[p.Topic]), paused: true}
			}
			m.call(m.cfg.Assigned, added)
		}
		if !g.again {
			g.round = false
			return
		}
	}
}

// call runs a handler without the lock, once Poll's answer is handed on.
func (m *member) call(handler func([]link.Partition), parts []link.Partition) {
	if m.left || m.k.closed || m.k.killed {
		return
	}
	for m.handing && !m.k.closed && !m.k.killed && !m.left {
		m.g.c.cond.Wait()
	}
	m.g.c.mu.Unlock()
	defer m.g.c.mu.Lock()
	handler(parts)
}

func (m *member) drop(parts []link.Partition) {
	for _, p := range parts {
		delete(m.owned, p)
	}
}

// deal has the balancer deal the tasks out, and tells the members what the leader
// says beside their partitions. Under the lock, but for what members say of themselves.
func (g *group) deal() map[link.Partition]*member {
	wanted := map[link.Partition]*member{}
	gone := func(m *member) bool { return m.left || m.k.closed || m.k.killed }
	g.members = slices.DeleteFunc(g.members, gone)
	members := slices.Clone(g.members)
	g.c.mu.Unlock()
	said := make([]assign.Data, len(members))
	for i, m := range members {
		if m.cfg.Balancing.Data != nil {
			said[i] = m.cfg.Balancing.Data()
		}
	}
	g.c.mu.Lock()
	in := assign.Input{Partitions: map[string]int32{}, Last: g.view}
	for i, m := range members {
		in.Members = append(in.Members, m.joins(said[i], g.generation))
		in.Config = m.cfg.Balancing.Config
		for _, t := range m.cfg.Topics {
			if found := g.c.topics[t]; found != nil {
				in.Partitions[t] = found.info.Partitions
			}
		}
	}
	plan := assign.Balance(in)
	g.generation++
	g.view = plan.View
	g.again = g.again || plan.FollowUp
	data := plan.Encode()
	for i, s := range plan.Shares {
		m := members[slices.IndexFunc(members, func(m *member) bool { return m.id == s.ID })]
		for _, p := range s.Partitions {
			wanted[link.Partition(p)] = m
		}
		told, err := assign.DecodeAssignment(data[i])
		if err == nil && m.cfg.Balancing.Told != nil {
			g.c.mu.Unlock()
			m.cfg.Balancing.Told(told)
			g.c.mu.Lock()
		}
	}
	return wanted
}

// joins is what a member says to the group. Under the lock.
func (m *member) joins(d assign.Data, generation int32) assign.Member {
	d.Subs = m.cfg.Balancing.Subs
	if len(d.Subs) == 0 {
		for _, t := range m.cfg.Topics {
			d.Subs = append(d.Subs, assign.Sub{Name: t, Topics: []string{t}})
		}
	}
	j := assign.Member{ID: m.id, Instance: m.cfg.Instance, Generation: generation, Topics: m.cfg.Topics, Data: d}
	for p := range m.owned {
		j.Owned = append(j.Owned, assign.Partition(p))
	}
	return j
}

func compare(a, b link.Partition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Num, b.Num))
}

func (c *Cluster) startOf(groupID string, p link.Partition, r plan.Reset) int64 {
	l := c.log(p)
	if l == nil {
		return 0
	}
	if pos, ok := c.offsets[groupID][p]; ok {
		return max(pos.Offset, l.start)
	}
	switch r.From {
	case plan.ResetStart, plan.ResetNever:
	case plan.ResetEnd:
		return l.end
	case plan.ResetAgo:
		since := time.Now().UnixMilli() - r.AgoMs
		for _, rec := range l.recs {
			if rec.Timestamp >= since {
				return rec.Offset
			}
		}
		return l.end
	}
	return l.start
}

func (m *member) Poll(ctx context.Context) ([]link.Batch, error) {
	c := m.g.c
	c.mu.Lock()
	defer c.mu.Unlock()
	var batches []link.Batch
	err := c.wait(ctx, m.k, func() bool {
		if m.left {
			return true
		}
		batches = m.fetch()
		return len(batches) > 0
	})
	if err == nil && m.left {
		err = link.ErrClosed
	}
	m.handing = err == nil
	return batches, err
}

func (m *member) Delivered() {
	m.g.c.mu.Lock()
	defer m.g.c.mu.Unlock()
	m.handing = false
	m.g.c.cond.Broadcast()
}

func (m *member) Seek(to map[link.Partition]int64) {
	m.g.c.mu.Lock()
	defer m.g.c.mu.Unlock()
	for p, offset := range to {
		if f := m.owned[p]; f != nil {
			f.next = offset
		}
	}
	m.g.c.cond.Broadcast()
}

func (m *member) fetch() []link.Batch {
	var parts []link.Partition
	for p := range m.owned {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, compare)
	var batches []link.Batch
	for _, p := range parts {
		f, l := m.owned[p], m.g.c.log(p)
		if f.paused || l == nil {
			continue
		}
		recs, next := l.read(max(f.next, l.start), l.end)
		f.next = next
		if len(recs) > 0 {
			batches = append(batches, link.Batch{Partition: p, Records: recs, End: l.end, Bytes: size(recs)})
		}
	}
	return batches
}

func size(recs []plan.Raw) int64 {
	var n int64
	for i := range recs {
		n += int64(len(recs[i].Key) + len(recs[i].Value))
	}
	return n
}

func (m *member) Pause(parts ...link.Partition)  { m.pause(parts, true) }
func (m *member) Resume(parts ...link.Partition) { m.pause(parts, false) }

func (m *member) pause(parts []link.Partition, on bool) {
	m.g.c.mu.Lock()
	defer m.g.c.mu.Unlock()
	for _, p := range parts {
		if f := m.owned[p]; f != nil {
			f.paused = on
		}
	}
	m.g.c.cond.Broadcast()
}

// Paused lists what a group's members have paused, for tests of back-pressure.
func (c *Cluster) Paused(groupID string) []link.Partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []link.Partition
	if g := c.groups[groupID]; g != nil {
		for _, m := range g.members {
			for p, f := range m.owned {
				if f.paused {
					parts = append(parts, p)
				}
			}
		}
	}
	slices.SortFunc(parts, compare)
	return parts
}

// Fetched is the next offset that a group's owner of p will fetch, 0 if there is none.
func (c *Cluster) Fetched(groupID string, p link.Partition) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.groups[groupID]; g != nil {
		for _, m := range g.members {
			if f := m.owned[p]; f != nil {
				return f.next
			}
		}
	}
	return 0
}

func (m *member) Commit(ctx context.Context, offsets map[link.Partition]link.Position) error {
	return m.k.do(ctx, "commit", link.Partition{}, func() {
		c := m.g.c
		if c.offsets[m.g.id] == nil {
			c.offsets[m.g.id] = map[link.Partition]link.Position{}
		}
		for p, pos := range offsets {
			if m.owned[p] != nil && c.log(p) != nil {
				c.offsets[m.g.id][p] = pos
			}
		}
	})
}

func (m *member) Leave(ctx context.Context, stay bool) error {
	c := m.g.c
	c.mu.Lock()
	defer c.mu.Unlock()
	m.handing = false
	c.cond.Broadcast()
	if m.left || m.k.killed {
		return nil
	}
	if err := c.wait(ctx, m.k, func() bool { return true }); err != nil {
		return fmt.Errorf("leave the group: %w", err)
	}
	var all []link.Partition
	for p := range m.owned {
		all = append(all, p)
	}
	if len(all) > 0 {
		m.call(m.cfg.Revoked, all)
		m.drop(all)
	}
	m.left = true
	if !stay {
		m.g.rebalance()
	}
	return nil
}

// Evict takes all partitions from a group's members without asking, as the end of
// their sessions does, and has the members join again.
func (c *Cluster) Evict(groupID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.groups[groupID]
	if g == nil {
		return
	}
	for _, m := range g.members {
		var all []link.Partition
		for p := range m.owned {
			all = append(all, p)
		}
		m.drop(all)
		m.call(m.cfg.Lost, all)
	}
	g.rebalance()
}

// Subscribe implements link.Member.
func (m *member) Subscribe(_ context.Context, s link.Subscription) {
	m.g.c.mu.Lock()
	defer m.g.c.mu.Unlock()
	m.cfg.Topics, m.cfg.Resets, m.cfg.Balancing.Subs = s.Topics, s.Resets, s.Subs
	m.g.rebalance()
}

// Rebalance implements link.Member.
func (m *member) Rebalance() {
	m.g.c.mu.Lock()
	defer m.g.c.mu.Unlock()
	m.g.rebalance()
}
