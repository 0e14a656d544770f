// SPDX-License-Identifier: Apache-2.0

package assign_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/internal/runtime/assign"
)

// stateful is a group with one stateful sub-topology of n tasks.
func stateful(n int32, cfg assign.Config, members ...string) *world {
	w := &world{
		subs:   []assign.Sub{{Name: "s", Topics: []string{"s"}, Stateful: true}},
		counts: map[string]int32{"s": n}, cfg: cfg,
	}
	for _, m := range members {
		w.add(m, 1)
	}
	return w
}

func task(n int32) assign.TaskID { return assign.TaskID{Sub: "s", Partition: n} }

// at says which copies a member has: of tasks from 0 on, at these positions.
func (w *world) at(member string, role assign.Role, positions ...int64) {
	for i := range w.members {
		if w.members[i].ID != member {
			continue
		}
		d := &w.members[i].Data
		d.Copies = nil
		for n, p := range positions {
			d.Copies = append(d.Copies, assign.Copy{Task: task(int32(n)), Role: role, Position: p})
		}
	}
}

func TestATaskMovesWhenItsStateIsCopied(t *testing.T) {
	w := stateful(2, assign.Config{Warmups: 1, AcceptableLag: 100}, "a")
	w.settle(t)
	w.at("a", assign.Active, 5000, 5000)
	w.add("b", 1)
	check := func(what string, active, warm []assign.TaskID, again, warming bool) {
		t.Helper()
		p := assign.Balance(w.input())
		a, b := shareOf(p, "a"), shareOf(p, "b")
		if d := cmp.Diff(active, a.Active) + cmp.Diff(warm, b.Warmup); d != "" || p.FollowUp != again || p.Warming != warming {
			t.Fatalf("%s: follow-up %v, warming %v (-want +got):\n%s", what, p.FollowUp, p.Warming, d)
		}
		w.members[0].Owned, w.members[1].Owned = a.Partitions, b.Partitions
	}
	both := []assign.TaskID{task(0), task(1)}
	check("nothing is copied", both, both[1:], false, true)
	w.members[1].Data.Copies = []assign.Copy{{Task: task(1), Role: assign.Standby, Position: 4899}}
	check("101 records are missing", both, both[1:], false, true)
	w.members[1].Data.Copies[0].Position = 4900
	check("100 records are missing", both[:1], both[1:], true, false)
	w.members[0].Data.Copies[1].Role = assign.Dormant
	check("it is released", both[:1], nil, false, false)
	if p := assign.Balance(w.input()); p.FollowUp || !cmp.Equal(shareOf(p, "b").Active, both[1:]) {
		t.Errorf("at the end b has %v, want %v", shareOf(p, "b").Active, both[1:])
	}
}

func TestATaskWithoutAnOwnerGoesToTheBestCopy(t *testing.T) {
	w := stateful(3, assign.Config{}, "a", "b", "c")
	w.at("a", assign.Dormant, 10, 900, -1)
	w.at("b", assign.Standby, 500, 20, 30)
	w.at("c", assign.Standby, 400, 899, 7)
	p := assign.Balance(w.input())
	got := owners(p)
	want := map[assign.TaskID]string{task(0): "b", task(1): "a", task(2): "c"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestStandbysAreSpreadOverOthersAndOverRacks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		racks := []string{"x", "y"}
		w := stateful(int32(rapid.IntRange(1, 20).Draw(t, "tasks")), assign.Config{Replicas: 1}, "a", "b", "c", "d")
		for i := range w.members {
			w.members[i].Data.Rack = racks[i%2]
		}
		rack := func(id string) string {
			return w.members[slices.IndexFunc(w.members, func(m assign.Member) bool { return m.ID == id })].Data.Rack
		}
		p := w.settle(t)
		active := owners(p)
		n := 0
		for _, s := range p.Shares {
			n += len(s.Standby)
			if most := (int(w.counts["s"]) + 3) / 4; len(s.Standby) > most {
				t.Fatalf("%s keeps %d copies, %d are its part", s.ID, len(s.Standby), most)
			}
			for _, id := range s.Standby {
				if active[id] == s.ID {
					t.Fatalf("the copy of %v is where it runs", id)
				}
				if w.counts["s"]%4 == 0 && rack(active[id]) == rack(s.ID) {
					t.Fatalf("the copy of %v is in the rack where it runs", id)
				}
			}
		}
		if n != int(w.counts["s"]) {
			t.Fatalf("%d copies of %d tasks", n, w.counts["s"])
		}
	})
}

func TestAStandbyTakesOverWhenAMemberIsGone(t *testing.T) {
	w := stateful(12, assign.Config{Replicas: 1, Warmups: 2}, "a", "b", "c")
	before := w.settle(t)
	w.members = w.members[1:]
	p := assign.Balance(w.input())
	at := owners(p)
	for _, s := range before.Shares[1:] {
		for _, id := range s.Standby {
			if owners(before)[id] == "a" && at[id] != s.ID {
				t.Errorf("%v, whose copy is at %s, goes to %s", id, s.ID, at[id])
			}
		}
	}
	if p.FollowUp || p.Warming {
		t.Errorf("follow-up %v, warming %v, want neither", p.FollowUp, p.Warming)
	}
}

func TestAStaticMemberFindsItsTasksAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t, 4, 10, 5)
		w.settle(t)
		w.add("a", drawCapacity(t, false)) // so that tasks are not where they would first be
		for i := range w.members {
			w.members[i].Instance = "i" + w.members[i].ID
		}
		p := w.settle(t)
		restarted := map[string]string{}
		for i := range w.members {
			if m := &w.members[i]; rapid.Bool().Draw(t, "restarted") {
				restarted[m.ID] = "z" + m.ID
				m.ID, m.Owned, m.Generation, m.Data.Copies = "z"+m.ID, nil, -1, nil
			}
		}
		in := w.input()
		in.Last = p.View
		again := assign.Balance(in)
		for was, is := range restarted {
			if d := cmp.Diff(shareOf(p, was).Active, shareOf(again, is).Active); d != "" || again.FollowUp {
				t.Fatalf("%s after a restart, follow-up %v (-before +after):\n%s", was, again.FollowUp, d)
			}
		}
	})
}

func TestATaskThatIsBeingCopiedKeepsItsAim(t *testing.T) {
	for _, sub := range []string{"s", "t"} {
		w := stateful(1, assign.Config{Warmups: 1}, "a")
		w.subs = append(w.subs, assign.Sub{Name: "t", Topics: []string{"t"}, Stateful: true})
		w.counts["t"] = 1
		w.members = nil
		w.add("a", 1)
		w.settle(t)
		w.add("b", 1)
		begun := assign.TaskID{Sub: sub}
		w.members[0].Data.Copies = []assign.Copy{
			{Task: task(0), Role: assign.Active, Position: 1 << 20}, {Task: assign.TaskID{Sub: "t"}, Role: assign.Active, Position: 1 << 20},
		}
		w.members[1].Data.Copies = []assign.Copy{{Task: begun, Role: assign.Standby}}
		if got := shareOf(assign.Balance(w.input()), "b").Warmup; !cmp.Equal(got, []assign.TaskID{begun}) {
			t.Errorf("%v is being copied to b, then %v is", begun, got)
		}
	}
}

func TestMembersOfTwoVersions(t *testing.T) {
	owned := func(topic string, nums ...int32) (ps []assign.Partition) {
		for _, n := range nums {
			ps = append(ps, assign.Partition{Topic: topic, Num: n})
		}
		return ps
	}
	v1 := []assign.Sub{{Name: "a", Topics: []string{"a"}}}
	v2 := append(v1, assign.Sub{Name: "new", Topics: []string{"new"}})
	v3 := []assign.Sub{{Name: "a", Topics: []string{"a", "new"}}}
	counts := map[string]int32{"a": 2, "new": 2}
	member := func(id string, subs []assign.Sub, has ...assign.Partition) assign.Member {
		m := assign.Member{ID: id, Data: assign.Data{Subs: subs}, Owned: has}
		for _, s := range subs {
			m.Topics = append(m.Topics, s.Topics...)
		}
		return m
	}
	tests := []struct {
		name     string
		members  []assign.Member
		want     map[assign.TaskID]string
		unserved []string
	}{
		{
			"a sub-topology that is new goes to who knows it",
			[]assign.Member{member("m1", v1), member("m2", v2)},
			map[assign.TaskID]string{{"a", 0}: "m1", {"a", 1}: "m2", {"new", 0}: "m2", {"new", 1}: "m2"},
			nil,
		},
		{
			"one that differs is that of the majority",
			[]assign.Member{member("m1", v1), member("m2", v3), member("m3", v1)},
			map[assign.TaskID]string{{"a", 0}: "m1", {"a", 1}: "m3"},
			[]string{"new"},
		},
		{
			"of two that are level the one that runs counts",
			[]assign.Member{member("m1", v1), member("m2", v3, append(owned("a", 0, 1), owned("new", 0, 1)...)...)},
			map[assign.TaskID]string{{"a", 0}: "m2", {"a", 1}: "m2"},
			nil,
		},
		{
			"a member that says nothing gets nothing",
			[]assign.Member{member("m1", v1), {ID: "m2", Topics: []string{"a"}}},
			map[assign.TaskID]string{{"a", 0}: "m1", {"a", 1}: "m1"},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := assign.Balance(assign.Input{Members: tt.members, Partitions: counts})
			if d := cmp.Diff(tt.want, owners(p)) + cmp.Diff(tt.unserved, p.Unserved); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestClaimsOfEarlierGenerationsDoNotCount(t *testing.T) {
	w := stateful(2, assign.Config{}, "a", "b")
	p0, p1 := assign.Partition{Topic: "s"}, assign.Partition{Topic: "s", Num: 1}
	w.members[0].Generation, w.members[0].Owned = 3, []assign.Partition{p0, p1}
	w.members[1].Generation, w.members[1].Owned = 4, []assign.Partition{p1}
	p := assign.Balance(w.input())
	if d := cmp.Diff(map[assign.TaskID]string{task(0): "a", task(1): "b"}, owners(p)); d != "" || p.FollowUp {
		t.Errorf("an old claim: follow-up %v (-want +got):\n%s", p.FollowUp, d)
	}
	w.members[0].Generation = 4
	p = assign.Balance(w.input())
	if !p.FollowUp || len(shareOf(p, "a").Partitions) != 1 || len(shareOf(p, "b").Partitions) != 0 {
		t.Errorf("two claims of one generation: %+v, want that both release it", p.Shares)
	}
}

func TestATopicThatTheLeaderDoesNotKnowForTheMomentStays(t *testing.T) {
	w := stateful(4, assign.Config{}, "a", "b")
	before := w.settle(t)
	in := w.input()
	in.Partitions = nil
	if d := cmp.Diff(owners(before), owners(assign.Balance(in))); d != "" {
		t.Errorf("-before +after:\n%s", d)
	}
}
