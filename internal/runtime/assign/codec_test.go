// SPDX-License-Identifier: Apache-2.0

package assign_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/internal/runtime/assign"
)

var text = rapid.StringN(0, 12, -1)

// drawSet draws ascending partitions: dense, sparse and in between.
func drawSet(t *rapid.T, label string) []int32 {
	var set []int32
	var next int32
	for _, gap := range rapid.SliceOfN(rapid.Int32Range(0, 3), 0, 40).Draw(t, label) {
		if gap == 3 {
			gap = rapid.Int32Range(3, 5000).Draw(t, "gap")
		}
		next += gap
		set = append(set, next)
		next++
	}
	return set
}

func drawData(t *rapid.T) (assign.Data, []string) {
	topics := rapid.SliceOfNDistinct(text, 0, 5, rapid.ID[string]).Draw(t, "topics")
	d := assign.Data{
		ClientID: text.Draw(t, "client"), Address: text.Draw(t, "address"), Rack: text.Draw(t, "rack"),
		Capacity: rapid.Int32Range(0, math.MaxInt32).Draw(t, "capacity"), Standbys: rapid.Bool().Draw(t, "standbys"),
	}
	names := rapid.OneOf(text, rapid.SampledFrom(append(topics, "other")))
	for i, name := range rapid.SliceOfNDistinct(names, 0, 4, rapid.ID[string]).Draw(t, "subs") {
		d.Subs = append(d.Subs, assign.Sub{
			Name: name, Stateful: rapid.Bool().Draw(t, "stateful"),
			Topics: rapid.SliceOfN(names, 0, 3).Draw(t, "sub's topics"),
		})
		if s := &d.Subs[i]; rapid.Bool().Draw(t, "with patterns") {
			s.Patterns = rapid.SliceOfN(text, 1, 3).Draw(t, "patterns")
			s.Matched = rapid.SliceOfN(names, 0, 3).Draw(t, "what matches")
		}
		for _, role := range []assign.Role{assign.Dormant, assign.Standby, assign.Active} {
			for _, p := range drawSet(t, "copies") {
				d.Copies = append(d.Copies, assign.Copy{
					Task: assign.TaskID{Sub: name, Partition: p*3 + int32(role)}, Role: role,
					Position: rapid.OneOf(rapid.Int64Range(-1, 3), rapid.Int64Range(0, math.MaxInt64-1)).Draw(t, "position"),
				})
			}
		}
		_ = i
	}
	return d, topics
}

func TestDataSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, topics := drawData(t)
		got, err := assign.DecodeData(assign.AppendData(nil, d, topics), topics)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("-sent +got:\n%s", diff)
		}
	})
}

func drawTasks(t *rapid.T, label string) []assign.TaskID {
	var tasks []assign.TaskID
	for i := range rapid.IntRange(0, 3).Draw(t, label) {
		for _, p := range drawSet(t, label) {
			tasks = append(tasks, assign.TaskID{Sub: fmt.Sprintf("s%d", i), Partition: p})
		}
	}
	return tasks
}

func TestAssignmentsSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := assign.Plan{FollowUp: rapid.Bool().Draw(t, "follow-up"), Warming: rapid.Bool().Draw(t, "warming")}
		for i := range rapid.IntRange(1, 4).Draw(t, "members") {
			p.Shares = append(p.Shares, assign.Share{
				ID: fmt.Sprintf("m%d", i), Release: rapid.Bool().Draw(t, "release"),
				Standby: drawTasks(t, "standby"), Warmup: drawTasks(t, "warmup"),
			})
			h := assign.Host{
				Instance: text.Draw(t, "instance"), Address: text.Draw(t, "address"), Rack: text.Draw(t, "rack"),
				Active: drawTasks(t, "active"),
			}
			for _, id := range drawTasks(t, "copies") {
				h.Standby = append(h.Standby, assign.Replica{Task: id, Lag: rapid.Int64Range(-1, math.MaxInt64-1).Draw(t, "lag")})
			}
			p.View.Hosts = append(p.View.Hosts, h)
		}
		for i, b := range p.Encode() {
			s := p.Shares[i]
			want := assign.Assignment{
				FollowUp: p.FollowUp, Warming: p.Warming, Release: s.Release,
				Standby: s.Standby, Warmup: s.Warmup, View: p.View,
			}
			got, err := assign.DecodeAssignment(b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("-sent +got:\n%s", diff)
			}
		}
	})
}

// TestLaterVersionsAreReadAsFarAsKnown has fields that nobody knows yet, in front,
// in between and at the ends of known ones.
func TestLaterVersionsAreReadAsFarAsKnown(t *testing.T) {
	b := []byte{
		9,           // a later version
		90, 2, 1, 2, // an unknown field
		2, 3, 'a', ':', '1', // address
		4, 3, 7, 8, 9, // capacity, and more
		6, 9, 1, 6, 1, 1, 1, 1, 0xff, 0xff, 5, // a sub-topology with more than we know
		7, 9, 8, 0, 2, 2, 0, 1, 5, 3, 77, // a copy with more
	}
	got, err := assign.DecodeData(b, []string{"t"})
	want := assign.Data{
		Address: "a:1", Capacity: 7, Subs: []assign.Sub{{Name: "t", Topics: []string{"t"}, Stateful: true}},
		Copies: []assign.Copy{{Task: assign.TaskID{Sub: "t"}, Role: assign.Active, Position: 7}},
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if _, err := assign.DecodeAssignment([]byte{9, 90, 1, 1, 1, 3, 5, 5, 5}); err != nil {
		t.Errorf("an assignment of a later version: %v", err)
	}
}

func TestMalformedUserDataIsRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":                    {},
		"version 0":                  {0},
		"a field that is cut off":    {1, 2, 5, 'a'},
		"a topic that is not there":  {1, 6, 5, 1, 3, 9, 0, 0, 0},
		"a set of 2^31 partitions":   {1, 7, 11, 10, 0, 2, 2, 0, 0xff, 0xff, 0xff, 0xff, 7, 5, 3},
		"copies of no sub-topology":  {1, 7, 8, 7, 0, 2, 2, 0, 1, 5, 3},
		"a number that does not end": {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		if d, err := assign.DecodeData(b, nil); !errors.Is(err, assign.ErrFormat) {
			t.Errorf("%s: %+v, %v, want ErrFormat", name, d, err)
		}
	}
}

func FuzzDecodeData(f *testing.F) {
	topics := []string{"a", "b"}
	d := assign.Data{
		Address: "h:1", Capacity: 3, Standbys: true, Subs: []assign.Sub{{Name: "a", Topics: topics, Stateful: true}, {Name: "x", Patterns: []string{"b.*"}, Matched: []string{"b", "bb"}}},
		Copies: []assign.Copy{{Task: assign.TaskID{Sub: "a", Partition: 3}, Role: assign.Active, Position: 77}, {Task: assign.TaskID{Sub: "a", Partition: 4}, Position: -1}},
	}
	f.Add(assign.AppendData(nil, d, topics))
	f.Add([]byte{1, 7, 11, 10, 0, 2, 2, 0, 0xff, 0xff, 0xff, 0xff, 7, 5, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := assign.DecodeData(b, topics)
		if err != nil {
			return
		}
		once := assign.AppendData(nil, d, topics)
		again, err := assign.DecodeData(once, topics)
		if err != nil {
			t.Fatalf("what was accepted is refused when it is written anew: %v", err)
		}
		if twice := assign.AppendData(nil, again, topics); string(once) != string(twice) {
			t.Fatalf("what was accepted does not survive a round trip:\n% x\n% x", once, twice)
		}
		assign.Balance(assign.Input{ // whatever it is, it can be dealt with
			Members:    []assign.Member{{ID: "m", Topics: topics, Data: d}, {ID: "n", Topics: topics, Data: d}},
			Partitions: map[string]int32{"a": 3, "b": 5}, Config: assign.Config{Replicas: 1, Warmups: 1},
		})
	})
}

func FuzzDecodeAssignment(f *testing.F) {
	p := assign.Plan{FollowUp: true, Shares: []assign.Share{{Standby: []assign.TaskID{{Sub: "a", Partition: 1}}}}}
	p.View.Hosts = []assign.Host{{Address: "h:1", Active: []assign.TaskID{{Sub: "a", Partition: 9}}, Standby: []assign.Replica{{Task: assign.TaskID{Sub: "b"}, Lag: 4}}}}
	f.Add(p.Encode()[0])
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := assign.DecodeAssignment(b)
		if err != nil {
			return
		}
		p := assign.Plan{
			FollowUp: a.FollowUp, Warming: a.Warming, View: a.View,
			Shares: []assign.Share{{Release: a.Release, Heard: a.Heard, Standby: a.Standby, Warmup: a.Warmup}},
		}
		again, err := assign.DecodeAssignment(p.Encode()[0])
		if err != nil {
			t.Fatalf("what was accepted is refused when it is written anew: %v", err)
		}
		if again.View.Cut = a.View.Cut; len(b) < 1000 && !reflect.DeepEqual(a, again) {
			t.Fatalf("what was accepted does not survive a round trip (-read +again):\n%s", cmp.Diff(a, again))
		}
	})
}
