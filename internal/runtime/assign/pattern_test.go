// SPDX-License-Identifier: Apache-2.0

package assign_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/runtime/assign"
)

// matching is a member whose one sub-topology reads what matches, of which it knows some.
func matching(id string, owned []assign.Partition, known ...string) assign.Member {
	return assign.Member{ID: id, Generation: 1, Topics: known, Owned: owned, Data: assign.Data{
		Subs: []assign.Sub{{Name: "s", Patterns: []string{"in-.*"}, Matched: known}},
	}}
}

func owned(topic string, nums ...int32) []assign.Partition {
	var parts []assign.Partition
	for _, n := range nums {
		parts = append(parts, assign.Partition{Topic: topic, Num: n})
	}
	return parts
}

// A new topic is read when all members know it. Until then nothing moves: neither to the
// members that know it nor to those that do not.
func TestANewTopicOfAPatternMovesNothing(t *testing.T) {
	counts := map[string]int32{"in-a": 4, "in-b": 4}
	deal := func(known ...string) assign.Plan {
		return assign.Balance(assign.Input{Partitions: counts, Members: []assign.Member{
			matching("x", owned("in-a", 0, 1), known...),
			matching("y", owned("in-a", 2, 3), "in-a", "in-b"),
		}})
	}
	for _, tt := range []struct {
		name  string
		plan  assign.Plan
		parts int
	}{
		{"one member does not know it", deal("in-a"), 2},
		{"all do", deal("in-b", "in-a"), 4},
	} {
		for i, want := range [][]assign.TaskID{{{Sub: "s", Partition: 0}, {Sub: "s", Partition: 1}}, {{Sub: "s", Partition: 2}, {Sub: "s", Partition: 3}}} {
			s := tt.plan.Shares[i]
			if diff := cmp.Diff(want, s.Active); diff != "" {
				t.Errorf("%s: tasks of %s (-want +got):\n%s", tt.name, s.ID, diff)
			}
			if n := len(s.Partitions); n != tt.parts {
				t.Errorf("%s: %s gets %d partitions, want %d", tt.name, s.ID, n, tt.parts)
			}
		}
		if tt.plan.FollowUp {
			t.Errorf("%s: another round is due", tt.name)
		}
	}
}

// One member that misses a topic takes it from all: it is gone.
func TestATopicOfAPatternThatIsGone(t *testing.T) {
	both := append(owned("in-a", 0), owned("in-b", 0, 1)...)
	p := assign.Balance(assign.Input{Partitions: map[string]int32{"in-a": 1}, Members: []assign.Member{
		matching("x", both, "in-a", "in-b"), matching("y", nil, "in-a"),
	}})
	var parts []assign.Partition
	for _, s := range p.Shares {
		parts = append(parts, s.Partitions...)
	}
	if diff := cmp.Diff(owned("in-a", 0), parts); diff != "" {
		t.Errorf("partitions that are read (-want +got):\n%s", diff)
	}
}
