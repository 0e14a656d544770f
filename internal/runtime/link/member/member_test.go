// SPDX-License-Identifier: Apache-2.0

package member_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace/millrace/internal/runtime/assign"
	"github.com/millrace/millrace/internal/runtime/link/member"
)

var topics = []string{"a"}

func part(n int32) assign.Partition { return assign.Partition{Topic: "a", Num: n} }

// deal has lead deal out to the others and itself, and gives what each reads.
func deal(t *testing.T, lead *member.Core, joined ...member.Joined) map[string][]byte {
	t.Helper()
	d := lead.Gather(joined).Deal(map[string]int32{"a": 4})
	shares := map[string][]byte{}
	for i, data := range d.Encode() {
		shares[d.Plan.Shares[i].ID] = data
	}
	return shares
}

func read(t *testing.T, c *member.Core, data []byte) member.Assignment {
	t.Helper()
	a, err := c.Read(data)
	if err != nil || a.Skipped != nil {
		t.Fatal(err, a.Skipped)
	}
	return a
}

func TestACommitEndsWithTheTermOfItsPartitions(t *testing.T) {
	c := member.New(nil, topics, assign.Config{})
	c.Assigned(part(0), part(1))
	old := c.Commit(part(0), part(1), part(2))
	c.Released(part(1))
	c.Assigned(part(1), part(2))
	got := []bool{old.Holds(part(0)), old.Holds(part(1)), old.Holds(part(2))}
	if diff := cmp.Diff([]bool{true, false, false}, got); diff != "" {
		t.Errorf("the commit holds what was kept, not what came back or was new (-want +got):\n%s", diff)
	}
	if young := c.Commit(part(1)); !young.Holds(part(1)) {
		t.Error("a new commit does not hold a partition that is owned")
	}
}

func TestWhatMovesIsReleasedBeforeItIsGiven(t *testing.T) {
	a, b := member.New(nil, topics, assign.Config{}), member.New(nil, topics, assign.Config{})
	join := func(c *member.Core, id string, generation int32, owned ...int32) member.Joined {
		return member.Joined{ID: id, Metadata: c.Join(topics, map[string][]int32{"a": owned}, generation, assign.Data{Address: id})}
	}
	shares := deal(t, a, join(a, "a", 1, 0, 1, 2, 3), join(b, "b", -1))
	if diff := cmp.Diff(map[string][]int32{"a": {0, 1}}, read(t, a, shares["a"]).Partitions); diff != "" {
		t.Errorf("first round, the owner (-want +got):\n%s", diff)
	}
	if got := read(t, b, shares["b"]); len(got.Partitions) > 0 || !got.Told.FollowUp {
		t.Errorf("first round, the new one: %+v", got)
	}
	shares = deal(t, a, join(a, "a", 2, 0, 1), join(b, "b", 2))
	if diff := cmp.Diff(map[string][]int32{"a": {2, 3}}, read(t, b, shares["b"]).Partitions); diff != "" {
		t.Errorf("second round, the new one (-want +got):\n%s", diff)
	}
	if n := len(b.View().Hosts); n != 2 {
		t.Errorf("the view has %d hosts, want 2", n)
	}
}

// A process that comes back under its instance id gets what was dealt to the one
// before, which the group waited for to release something.
func TestARestartedMemberThatShouldReleaseJoinsAgain(t *testing.T) {
	a, b := member.New(nil, topics, assign.Config{}), member.New(nil, topics, assign.Config{})
	shares := deal(t, b,
		member.Joined{ID: "a", Instance: "i", Metadata: a.Join(topics, map[string][]int32{"a": {0, 1, 2, 3}}, 1, assign.Data{})},
		member.Joined{ID: "b", Metadata: b.Join(topics, nil, -1, assign.Data{})})
	if read(t, a, shares["a"]).Again {
		t.Error("a member that loses partitions joins again by itself")
	}
	restarted := member.New(nil, topics, assign.Config{})
	restarted.Join(topics, nil, -1, assign.Data{})
	if !read(t, restarted, shares["a"]).Again {
		t.Error("a restarted member does not join again, and the group waits for it")
	}
}

// A process that comes back under its instance id and knows of a topic that the one before
// it did not know joins again, once.
func TestARestartedMemberThatKnowsMoreTopicsJoinsAgain(t *testing.T) {
	reads := func(matched ...string) []assign.Sub {
		return []assign.Sub{{Name: "s", Patterns: []string{"in-.*"}, Matched: matched}}
	}
	before := member.New(reads("in-a"), nil, assign.Config{})
	meta := before.Join([]string{"in-a"}, nil, 1, assign.Data{})
	shares := deal(t, before, member.Joined{ID: "x", Instance: "i", Metadata: meta})
	if read(t, before, shares["x"]).Again {
		t.Error("a member that the leader has heard joins again")
	}
	now := member.New(reads("in-b", "in-a"), nil, assign.Config{})
	meta = now.Join([]string{"in-a", "in-b"}, nil, -1, assign.Data{})
	if !read(t, now, shares["x"]).Again {
		t.Error("a restarted member does not join again, and the new topic is not read")
	}
	shares = deal(t, now, member.Joined{ID: "x", Instance: "i", Metadata: meta})
	if read(t, now, shares["x"]).Again {
		t.Error("it joins once more")
	}
}

func TestAMemberThatCannotBeReadGetsNothing(t *testing.T) {
	a := member.New(nil, topics, assign.Config{})
	good := member.Joined{ID: "a", Metadata: a.Join(topics, nil, -1, assign.Data{})}
	r := a.Gather([]member.Joined{good, {ID: "b", Metadata: []byte{0, 1, 2}}, good})
	if len(r.Refused) != 1 || r.Refused[0].ID != "b" {
		t.Errorf("refused: %v, want b", r.Refused)
	}
	d := r.Deal(map[string]int32{"a": 4})
	if n := len(d.Plan.Shares); n != 2 {
		t.Fatalf("%d shares, want 2", n)
	}
	if n := len(d.Plan.Shares[0].Partitions); n != 4 {
		t.Errorf("the other gets %d partitions, want all 4", n)
	}
}

func TestJudge(t *testing.T) {
	for err, want := range map[error]member.Verdict{
		nil:                         member.Done,
		kerr.RebalanceInProgress:    member.Again,
		kerr.IllegalGeneration:      member.Again,
		kerr.UnknownMemberID:        member.Again,
		kerr.NotCoordinator:         member.Again,
		kerr.FencedInstanceID:       member.Fenced,
		kerr.OffsetMetadataTooLarge: member.Failed,
	} {
		if got := member.Judge(err); got != want {
			t.Errorf("Judge(%v) = %v, want %v", err, got, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	a := member.New(nil, topics, assign.Config{})
	meta := a.Join(topics, map[string][]int32{"a": {1, 2}}, 3, assign.Data{Address: "host:1"})
	d := a.Gather([]member.Joined{{ID: "a", Metadata: meta}}).Deal(map[string]int32{"a": 4})
	f.Add(d.Encode()[0])
	f.Add(meta)
	f.Fuzz(func(_ *testing.T, data []byte) {
		c := member.New(nil, topics, assign.Config{})
		_, _ = c.Read(data)
		c.Gather([]member.Joined{{ID: "x", Metadata: data}}).Deal(map[string]int32{"a": 4})
	})
}
