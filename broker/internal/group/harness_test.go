// SPDX-License-Identifier: Apache-2.0

package group

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// image is what of a group must come back from the log.
type image struct {
	State                          string
	Generation                     int32
	ProtocolType, Protocol, Leader string
	Since                          int64
	Persisted                      bool
	Modern                         string // what dump says
	Members                        []memberImage
	Offsets                        map[topicPartition]committed
}

type memberImage struct {
	ID, Instance, Client, Host string
	Session, Rebalance         time.Duration
	Metadata, Assignment       string
}

func imageOf(g *group) image {
	im := image{
		State: g.state.String(), Generation: g.generation,
		ProtocolType: g.protocolType, Protocol: g.protocol, Leader: g.leader,
		Since: g.since, Persisted: g.persisted,
		Offsets: make(map[topicPartition]committed),
	}
	if g.modern != nil {
		im.State, im.Since, im.Modern = "", 0, g.modern.dump()
	}
	for _, m := range g.members {
		mi := memberImage{
			ID: m.id, Client: m.client.ID, Host: m.client.Host,
			Session: m.sessionTimeout, Rebalance: m.rebalanceTimeout,
			Metadata: string(m.metadata(g.protocol)), Assignment: string(m.assignment),
		}
		if m.instance != nil {
			mi.Instance = *m.instance
		}
		im.Members = append(im.Members, mi)
	}
	maps.Copy(im.Offsets, g.offsets)
	return im
}

var compareUnexported = cmp.AllowUnexported(topicPartition{}, committed{})

// settledImages brings last up to date: it has the last state of each group
// that was at rest. While a group rebalances, that is what the log tells.
func settledImages(c *core, last map[string]image) map[string]image {
	now := make(map[string]image)
	for id, g := range c.groups {
		if g.modern != nil || g.state == stateEmpty || g.state == stateStable {
			now[id] = imageOf(g)
			continue
		}
		im, ok := last[id]
		if strings.Contains(im.Modern, "\nmember ") { // it has just become a classic group, which rebalances
			im = imageOf(g)
			im.State = stateStable.String()
			if g.state == stateCompleting {
				im.Generation-- // all have joined already
			}
		}
		if !ok || !im.Persisted { // put into the log for a member that joined at once
			im = image{State: "Empty", Persisted: true, Since: g.since}
		}
		im.Offsets = imageOf(g).Offsets
		now[id] = im
	}
	return now
}

// dump returns all of mod that must come back from the log.
func (mod *modern) dump() string {
	var b strings.Builder
	fmt.Fprintf(&b, "epoch %d hash %x assigned %d at %d old %v\n", mod.epoch, mod.hash, mod.assignmentEpoch, mod.assignmentTime, mod.oldMeta)
	for _, id := range mod.ids() {
		m := mod.members[id]
		fmt.Fprintf(&b, "member %s: %s\n", id, memberText(m))
	}
	for _, id := range slices.Sorted(maps.Keys(mod.targets)) {
		fmt.Fprintf(&b, "target %s: %s\n", id, partitionsText(mod.targets[id]))
	}
	for _, expr := range slices.Sorted(maps.Keys(mod.regexes)) {
		fmt.Fprintf(&b, "regex %q: %v\n", expr, mod.regexes[expr])
	}
	for _, instance := range slices.Sorted(maps.Keys(mod.statics)) {
		fmt.Fprintf(&b, "static %s: %s\n", instance, mod.statics[instance])
	}
	for _, m := range mod.members {
		for _, o := range []owned{m.assigned, m.revoking} {
			o.each(func(topic [16]byte, p, _ int32) {
				if _, ok := mod.owners[partitionID{topic, p}]; !ok {
					fmt.Fprintf(&b, "%v has no owner\n", partitionID{topic, p})
				}
			})
		}
	}
	fmt.Fprintf(&b, "%d partitions have an owner\n", len(mod.owners))
	return b.String()
}

func memberText(m *consumer) string {
	str := func(s *string) string {
		if s == nil {
			return "-"
		}
		return *s
	}
	classic := "consumer"
	if m.classic != nil {
		classic = fmt.Sprintf("classic %v %v", m.classic.sessionTimeout, m.classic.protocols)
	}
	return fmt.Sprintf("%s instance %s rack %s client %s %s rebalance %v topics %v regex %q assignor %s %s epoch %d after %d has %s revokes %s",
		[]string{"stable", "unrevoked", "unreleased"}[m.state], str(m.instance), str(m.rack), m.client.ID, m.client.Host, m.rebalanceTimeout,
		m.topics, m.regex, str(m.assignor), classic, m.epoch, m.previousEpoch, ownedText(m.assigned), ownedText(m.revoking))
}

// ownedText writes partitions as topic/partition@epoch.
func ownedText(o owned) string {
	var s []string
	o.each(func(topic [16]byte, p, epoch int32) { s = append(s, fmt.Sprintf("%s/%d@%d", idText(topic), p, epoch)) })
	return "[" + strings.Join(s, " ") + "]"
}

func partitionsText(p partitions) string {
	var s []string
	for id, of := range p.inOrder() {
		for _, i := range of {
			s = append(s, fmt.Sprintf("%s/%d", idText(id), i))
		}
	}
	return "[" + strings.Join(s, " ") + "]"
}

// idText shortens the ids of tests, which begin with a letter or a small number.
func idText(id [16]byte) string {
	if 'a' <= id[0] && id[0] <= 'z' {
		return strings.TrimRight(string(id[:]), "\x00")
	}
	return fmt.Sprintf("%x", bytes.TrimRight(id[:], "\x00"))
}

// replayed returns a core made of recs.
func replayed(t testing.TB, cfg Config, recs []Record) *core {
	t.Helper()
	c := newCore(cfg)
	for i, r := range recs {
		if err := c.replay(bytes.Clone(r.Key), bytes.Clone(r.Value)); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	return c
}

// compacted returns the last record of each key, in order, without tombstones.
func compacted(recs []Record) []Record {
	last := make(map[string]int)
	for i, r := range recs {
		last[string(r.Key)] = i
	}
	var out []Record
	for i, r := range recs {
		if last[string(r.Key)] == i && r.Value != nil {
			out = append(out, r)
		}
	}
	return out
}

// A checkedCore is a core of which each step is done twice, by a twin that
// must have the same effects, and is compared with a replay of its records.
type checkedCore struct {
	t        testing.TB
	cfg      Config
	core     *core
	twin     *core
	now      time.Time
	log      []Record
	settled  map[string]image
	topics   *Topics                     // nil: none
	fromLog  map[string]map[string]image // by what was replayed; nil: not yet
	deadline time.Time
}

func newCheckedCore(t testing.TB, cfg Config) *checkedCore {
	h := &checkedCore{t: t, cfg: cfg, now: time.UnixMilli(1_700_000_000_000)}
	h.restart(nil)
	return h
}

// restart goes on with new cores made of log.
func (h *checkedCore) restart(log []Record) effects {
	h.t.Helper()
	h.log, h.fromLog = log, nil
	h.core, h.twin = replayed(h.t, h.cfg, log), replayed(h.t, h.cfg, log)
	if h.topics != nil {
		h.core.topics, h.twin.topics = h.topics, h.topics
	}
	h.settled = settledImages(h.core, nil)
	fx := h.core.loaded(h.now)
	h.twin.loaded(h.now)
	h.after(fx)
	return fx
}

// step steps both cores at h.now.
func (h *checkedCore) step(ev event) effects {
	h.t.Helper()
	fx := h.core.step(h.now, ev)
	again := h.twin.step(h.now, ev)
	if a, b := describeEffects(fx), describeEffects(again); a != b {
		h.t.Fatalf("the same events had different effects:\n%s", cmp.Diff(a, b))
	}
	h.after(fx)
	return fx
}

func (h *checkedCore) after(fx effects) {
	h.t.Helper()
	h.log = append(h.log, fx.records...)
	h.deadline = fx.deadline
	for _, n := range fx.notes {
		// A group may be empty in between, when members end and one joins at once.
		if g := h.core.groups[n.group]; n.text == "group is empty" && g != nil && g.modern == nil {
			h.settled[n.group] = image{
				State: "Empty", Persisted: true, Generation: g.generation, ProtocolType: g.protocolType, Since: g.since,
			}
		}
	}
	h.settled = settledImages(h.core, h.settled)
	if len(fx.records) > 0 || h.fromLog == nil {
		h.fromLog = map[string]map[string]image{
			"the log":           settledImages(replayed(h.t, h.cfg, h.log), nil),
			"the compacted log": settledImages(replayed(h.t, h.cfg, compacted(h.log)), nil),
		}
	}
	for name, got := range h.fromLog {
		if reflect.DeepEqual(h.settled, got) { // much faster than a diff
			continue
		}
		if diff := cmp.Diff(h.settled, got, compareUnexported); diff != "" {
			h.t.Fatalf("%s does not give the live groups (-live +replayed):\n%s", name, diff)
		}
	}
	for _, g := range h.core.groups {
		if g.modern != nil {
			h.checkModern(g)
			continue
		}
		h.checkGroup(g)
	}
}

// checkModern checks what holds of each consumer group between steps.
func (h *checkedCore) checkModern(g *group) {
	h.t.Helper()
	bad := func(format string, args ...any) {
		h.t.Helper()
		h.t.Fatalf("consumer group %s: %s\n%s", g.id, fmt.Sprintf(format, args...), g.modern.dump())
	}
	mod := g.modern
	if len(g.members)+len(g.byID)+len(g.pendingJoin) > 0 || g.persisted {
		bad("it has what a classic group has")
	}
	owners := make(map[partitionID]string)
	statics := 0
	for id, m := range mod.members {
		if m.id != id {
			bad("member %s is filed as %s", m.id, id)
		}
		if m.instance != nil {
			statics++
		}
		for _, o := range []owned{m.assigned, m.revoking} {
			o.each(func(topic [16]byte, p, epoch int32) {
				at := partitionID{topic, p}
				if other, ok := owners[at]; ok {
					bad("%s/%d belongs to %s and %s", idText(topic), p, other, id)
				}
				if epoch > mod.epoch {
					bad("%s/%d was assigned in epoch %d", idText(topic), p, epoch)
				}
				owners[at] = id
			})
		}
		if (len(m.revoking) > 0) != (m.state == memberUnrevoked) && m.epoch >= 0 {
			bad("member %s is in state %d", id, m.state)
		}
		if m.epoch > mod.epoch {
			bad("member %s has epoch %d", id, m.epoch)
		}
		if !h.core.timers.has(timerKey{timerSession, g.id, id}) {
			bad("member %s could stay for ever", id)
		}
		if m.state == memberUnrevoked && m.classic == nil && m.epoch >= 0 && !h.core.timers.has(timerKey{timerRevoke, g.id, id}) {
			bad("member %s could hold on for ever", id)
		}
		if m.regex != "" && mod.regexes[m.regex] == nil && mod.seen == h.core.topics && len(h.core.topics.names) > 0 {
			if re, err := compileSubscription(m.regex); err == nil && len(h.core.topics.matching(re)) > 0 {
				bad("expression %q of member %s was not resolved", m.regex, id)
			}
		}
	}
	if diff := cmp.Diff(owners, mod.owners, cmp.AllowUnexported(partitionID{})); diff != "" {
		bad("owners (-want +got): %s", diff)
	}
	if statics != len(mod.statics) {
		bad("%d static members, %d by instance id", statics, len(mod.statics))
	}
	given := make(map[partitionID]string)
	for id, target := range mod.targets {
		for topic, of := range target {
			for _, p := range of {
				if other, ok := given[partitionID{topic, p}]; ok {
					bad("%s/%d is meant for %s and %s", idText(topic), p, other, id)
				}
				given[partitionID{topic, p}] = id
			}
		}
	}
}

// checkGroup checks what holds of each group between steps.
func (h *checkedCore) checkGroup(g *group) {
	h.t.Helper()
	bad := func(format string, args ...any) {
		h.t.Helper()
		h.t.Fatalf("group %s in %s: %s", g.id, g.state, fmt.Sprintf(format, args...))
	}
	joining, statics := 0, 0
	supported := make(map[string]int)
	for _, m := range g.members {
		if g.byID[m.id] != m {
			bad("member %s is not found by its id", m.id)
		}
		if m.join.token != 0 {
			joining++
		}
		if m.instance != nil {
			statics++
			if g.statics[*m.instance] != m.id {
				bad("instance %s is %s, want %s", *m.instance, g.statics[*m.instance], m.id)
			}
		}
		for _, p := range m.protocols {
			supported[p.Name]++
		}
		if m.sync.token != 0 && g.state != stateCompleting {
			bad("member %s waits for an assignment", m.id)
		}
		if m.join.token != 0 && g.state != statePreparing {
			bad("member %s waits for the others", m.id)
		}
	}
	if len(g.byID) != len(g.members) || joining != g.joining || statics != len(g.statics) {
		bad("%d members, %d by id, %d join, counted %d, %d static, counted %d",
			len(g.members), len(g.byID), joining, g.joining, statics, len(g.statics))
	}
	if diff := cmp.Diff(supported, g.supported); diff != "" {
		bad("counts of protocols (-want +got): %s", diff)
	}
	if (len(g.members) == 0) != (g.leader == "") || g.leader != "" && g.byID[g.leader] == nil {
		bad("leader %q of %d members", g.leader, len(g.members))
	}
	for id := range g.pendingSync {
		if g.byID[id] == nil {
			bad("pending sync of %s, which is no member", id)
		}
	}
	switch {
	case g.state == stateEmpty && len(g.members) > 0,
		(g.state == stateStable || g.state == stateCompleting) && len(g.members) == 0:
		bad("%d members", len(g.members))
	}
	for _, m := range g.members {
		if _, ok := h.core.timers.byKey[timerKey{timerSession, g.id, m.id}]; !ok &&
			m.join.token == 0 && m.sync.token == 0 {
			bad("member %s could stay for ever", m.id)
		}
	}
}

// describeEffects returns all of fx as text.
func describeEffects(fx effects) string {
	var b bytes.Buffer
	for _, r := range fx.records {
		fmt.Fprintf(&b, "record %x %x\n", r.Key, r.Value)
	}
	for _, r := range fx.replies {
		fmt.Fprintf(&b, "reply %d after %d: %s\n", r.token, r.after, describe(r.body))
	}
	for _, n := range fx.notes {
		fmt.Fprintf(&b, "note %+v\n", n)
	}
	fmt.Fprintf(&b, "seq %d deadline %v\n", fx.seq, fx.deadline)
	return b.String()
}
