// SPDX-License-Identifier: Apache-2.0

package group

import (
	"bytes"
	"fmt"
	"reflect"
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
	for tp, o := range g.offsets {
		im.Offsets[tp] = o
	}
	return im
}

var compareUnexported = cmp.AllowUnexported(topicPartition{}, committed{})

// settledImages brings last up to date: it has the last state of each group
// that was at rest. While a group rebalances, that is what the log tells.
func settledImages(c *core, last map[string]image) map[string]image {
	now := make(map[string]image)
	for id, g := range c.groups {
		if g.state == stateEmpty || g.state == stateStable {
			now[id] = imageOf(g)
			continue
		}
		im, ok := last[id]
		if !ok || !im.Persisted { // put into the log for a member that joined at once
			im = image{State: "Empty", Persisted: true, Since: g.since}
		}
		im.Offsets = imageOf(g).Offsets
		now[id] = im
	}
	return now
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
		h.checkGroup(g)
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
