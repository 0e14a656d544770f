// SPDX-License-Identifier: Apache-2.0

package assign_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/internal/runtime/assign"
)

// world is a group whose members are all there and of one version.
type world struct {
	subs    []assign.Sub
	counts  map[string]int32
	members []assign.Member
	cfg     assign.Config
}

func (w *world) input() assign.Input {
	return assign.Input{Members: w.members, Partitions: w.counts, Config: w.cfg}
}

func (w *world) topics() []string {
	var all []string
	for t := range w.counts {
		all = append(all, t)
	}
	slices.Sort(all)
	return all
}

func (w *world) add(id string, capacity int32) {
	w.members = append(w.members, assign.Member{
		ID: id, Topics: w.topics(), Generation: -1,
		Data: assign.Data{Capacity: capacity, Subs: w.subs, Standbys: true},
	})
}

// adopt makes the members own what a plan gives them, with complete copies of the
// tasks that they run or keep copies of.
func (w *world) adopt(p assign.Plan) {
	stateful := map[string]bool{}
	for _, s := range w.subs {
		stateful[s.Name] = s.Stateful
	}
	for i := range w.members {
		m := &w.members[i]
		s := shareOf(p, m.ID)
		m.Generation++
		m.Owned = s.Partitions
		m.Data.Copies = nil
		for _, t := range s.Active {
			if stateful[t.Sub] {
				m.Data.Copies = append(m.Data.Copies, assign.Copy{Task: t, Role: assign.Active, Position: 1000})
			}
		}
		for _, t := range slices.Concat(s.Standby, s.Warmup) {
			m.Data.Copies = append(m.Data.Copies, assign.Copy{Task: t, Role: assign.Standby, Position: 1000})
		}
	}
}

// settle runs rounds until no other is due, and returns the last plan.
func (w *world) settle(t interface{ Fatalf(string, ...any) }) assign.Plan {
	for range 100 {
		p := assign.Balance(w.input())
		w.adopt(p)
		if !p.FollowUp && !p.Warming {
			return p
		}
	}
	t.Fatalf("after 100 rounds another one is still due")
	return assign.Plan{}
}

func shareOf(p assign.Plan, id string) assign.Share {
	for _, s := range p.Shares {
		if s.ID == id {
			return s
		}
	}
	return assign.Share{}
}

// owners gives the member of each task.
func owners(p assign.Plan) map[assign.TaskID]string {
	by := map[assign.TaskID]string{}
	for _, s := range p.Shares {
		for _, t := range s.Active {
			by[t] = s.ID
		}
	}
	return by
}

func moved(before, after map[assign.TaskID]string) int {
	n := 0
	for t, m := range before {
		if after[t] != m {
			n++
		}
	}
	return n
}

// counts gives the tasks of each sub-topology at each member.
func counts(p assign.Plan) map[string]map[string]int {
	n := map[string]map[string]int{}
	for _, s := range p.Shares {
		n[s.ID] = map[string]int{}
		for _, t := range s.Active {
			n[s.ID][t.Sub]++
			n[s.ID][""]++
		}
	}
	return n
}

// drawWorld makes up a topology of a few sub-topologies over topics of several sizes.
func drawWorld(t *rapid.T, maxSubs, maxPartitions, maxMembers int) *world {
	w := &world{counts: map[string]int32{}}
	same := rapid.Bool().Draw(t, "all alike")
	stateful := rapid.Bool().Draw(t, "stateful")
	for i := range rapid.IntRange(1, maxSubs).Draw(t, "subs") {
		s := assign.Sub{Name: fmt.Sprintf("s%d", i), Stateful: stateful}
		if !same {
			s.Stateful = rapid.Bool().Draw(t, "stateful sub")
		}
		for j := range rapid.IntRange(1, 2).Draw(t, "topics") {
			topic := fmt.Sprintf("s%d-t%d", i, j)
			s.Topics = append(s.Topics, topic)
			w.counts[topic] = int32(rapid.IntRange(1, maxPartitions).Draw(t, "partitions"))
		}
		w.subs = append(w.subs, s)
	}
	for i := range rapid.IntRange(1, maxMembers).Draw(t, "members") {
		w.add(fmt.Sprintf("m%d", i), drawCapacity(t, same))
	}
	return w
}

func drawCapacity(t *rapid.T, one bool) int32 {
	if one {
		return 1
	}
	return int32(rapid.IntRange(1, 4).Draw(t, "capacity"))
}

// checkComplete says what is wrong with a settled plan: each partition has one
// reader, and that of its task.
func (w *world) checkComplete(p assign.Plan) error {
	by := map[assign.Partition]string{}
	for _, s := range p.Shares {
		for _, part := range s.Partitions {
			if other, ok := by[part]; ok {
				return fmt.Errorf("%v is at %s and at %s", part, other, s.ID)
			}
			by[part] = s.ID
		}
	}
	at := owners(p)
	n := 0
	for _, s := range w.subs {
		for _, topic := range s.Topics {
			for num := range w.counts[topic] {
				n++
				task := assign.TaskID{Sub: s.Name, Partition: num}
				if m, ok := by[assign.Partition{Topic: topic, Num: num}]; !ok || m != at[task] {
					return fmt.Errorf("partition %d of %s is at %q, its task at %q", num, topic, m, at[task])
				}
			}
		}
	}
	if n != len(by) {
		return fmt.Errorf("%d partitions are assigned, there are %d", len(by), n)
	}
	return nil
}

// checkBalanced says which members' loads by unit of capacity differ by more than
// one, in all or of one sub-topology.
func (w *world) checkBalanced(p assign.Plan) error {
	n := counts(p)
	names := []string{""}
	for _, s := range w.subs {
		names = append(names, s.Name)
	}
	for _, sub := range names {
		for _, a := range w.members {
			for _, b := range w.members {
				x, y := n[a.ID][sub]*int(b.Data.Capacity), n[b.ID][sub]*int(a.Data.Capacity)
				if x-y > int(a.Data.Capacity*b.Data.Capacity) {
					return fmt.Errorf("%s has %d tasks of %q with capacity %d, %s has %d with %d",
						a.ID, n[a.ID][sub], sub, a.Data.Capacity, b.ID, n[b.ID][sub], b.Data.Capacity)
				}
			}
		}
	}
	return nil
}

func TestEveryTaskHasOneMemberAndLoadsAreBalanced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t, 5, 12, 6)
		p := w.settle(t)
		if err := w.checkComplete(p); err != nil {
			t.Fatal(err)
		}
		if err := w.checkBalanced(p); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNothingMovesWhenNothingChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t, 5, 12, 6)
		w.cfg = assign.Config{Replicas: rapid.IntRange(0, 2).Draw(t, "replicas"), Warmups: rapid.IntRange(0, 2).Draw(t, "warmups")}
		w.settle(t)
		w.add("late", drawCapacity(t, false))
		p := w.settle(t)
		again := assign.Balance(w.input())
		if d := cmp.Diff(p.Shares, again.Shares); d != "" || again.FollowUp || again.Warming {
			t.Fatalf("a round without a change changes the plan (-before +after):\n%s", d)
		}
	})
}

func TestThePlanDoesNotDependOnTheOrderOfMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t, 5, 12, 6)
		w.cfg = assign.Config{Replicas: 1, Warmups: 1}
		w.settle(t)
		w.add("late", 1)
		in := w.input()
		p := assign.Balance(in)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		in.Members = slices.Clone(in.Members)
		rng.Shuffle(len(in.Members), func(i, j int) { in.Members[i], in.Members[j] = in.Members[j], in.Members[i] })
		if d := cmp.Diff(p, assign.Balance(in)); d != "" {
			t.Fatalf("members in another order give another plan:\n%s", d)
		}
	})
}

// fewest finds by trying everything how many tasks must move at least: have are the
// tasks of each sub-topology at each member now, 0 at who has just come.
func fewest(w *world, have [][]int) int {
	var capacity int
	for _, m := range w.members {
		capacity += int(m.Data.Capacity)
	}
	sizes := make([]int, len(w.subs))
	total := 0
	for s, sub := range w.subs {
		for _, topic := range sub.Topics {
			sizes[s] = max(sizes[s], int(w.counts[topic]))
		}
		total += sizes[s]
	}
	within := func(n, all, m int) bool {
		part := all * int(w.members[m].Data.Capacity)
		return n >= part/capacity && n <= (part+capacity-1)/capacity
	}
	load := make([]int, len(w.members))
	best := 1 << 30
	var try func(s, m, left, stay int)
	try = func(s, m, left, stay int) {
		switch {
		case s == len(w.subs):
			for i := range load {
				if !within(load[i], total, i) {
					return
				}
			}
			best = min(best, total-stay)
		case m == len(w.members):
			if left == 0 {
				next := 0
				if s+1 < len(sizes) {
					next = sizes[s+1]
				}
				try(s+1, 0, next, stay)
			}
		default:
			for n := range left + 1 {
				if !within(n, sizes[s], m) {
					continue
				}
				load[m] += n
				try(s, m+1, left-n, stay+min(n, have[s][m]))
				load[m] -= n
			}
		}
	}
	try(0, 0, sizes[0], 0)
	return best
}

func (w *world) have(p assign.Plan) [][]int {
	n := counts(p)
	have := make([][]int, len(w.subs))
	for s, sub := range w.subs {
		for _, m := range w.members {
			have[s] = append(have[s], n[m.ID][sub.Name])
		}
	}
	return have
}

func TestAsFewTasksMoveAsCan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t, 3, 6, 3)
		for i := range w.subs { // a task with state counts as many without
			w.subs[i].Stateful = w.subs[0].Stateful
		}
		w.settle(t)
		for i := range rapid.IntRange(1, 3).Draw(t, "changes") {
			before := assign.Balance(w.input())
			switch {
			case len(w.members) < 4 && rapid.Bool().Draw(t, "join"):
				w.add(fmt.Sprintf("%clate%d", "am"[rapid.IntRange(0, 1).Draw(t, "before others")], i), int32(rapid.IntRange(1, 3).Draw(t, "capacity")))
			case len(w.members) > 1:
				i := rapid.IntRange(0, len(w.members)-1).Draw(t, "leaves")
				w.members = slices.Delete(w.members, i, i+1)
			}
			want := fewest(w, w.have(before))
			after := w.settle(t)
			if got := moved(owners(before), owners(after)); got != want {
				t.Fatalf("%d tasks moved, %d would do", got, want)
			}
			if err := w.checkBalanced(after); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestATaskThatMovesIsReleasedFirst(t *testing.T) {
	w := &world{
		subs:   []assign.Sub{{Name: "a", Topics: []string{"a", "b"}}},
		counts: map[string]int32{"a": 4, "b": 2},
	}
	w.add("m1", 1)
	w.settle(t)
	w.add("m2", 1)
	part := func(topic string, n int32) assign.Partition { return assign.Partition{Topic: topic, Num: n} }
	first := assign.Balance(w.input())
	want := []assign.Share{
		{
			ID: "m1", Active: []assign.TaskID{{"a", 0}, {"a", 1}}, Release: true,
			Partitions: []assign.Partition{part("a", 0), part("a", 1), part("b", 0), part("b", 1)},
		},
		{ID: "m2"},
	}
	if d := cmp.Diff(want, first.Shares); d != "" || !first.FollowUp {
		t.Fatalf("first round, another due: %v (-want +got):\n%s", first.FollowUp, d)
	}
	w.adopt(first)
	second := assign.Balance(w.input())
	want[0].Release = false
	want[1].Active = []assign.TaskID{{"a", 2}, {"a", 3}}
	want[1].Partitions = []assign.Partition{part("a", 2), part("a", 3)}
	if d := cmp.Diff(want, second.Shares); d != "" || second.FollowUp {
		t.Fatalf("second round, another due: %v (-want +got):\n%s", second.FollowUp, d)
	}
}
