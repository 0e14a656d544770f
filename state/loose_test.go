// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"fmt"
	"testing"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

func openBrief(t *testing.T, o state.Options) *state.SessionStore[string, int64] {
	t.Helper()
	brief := state.SessionOptions{Gap: sessionGap, Retention: 60_000, Brief: true}
	return state.OpenSession("s", serde.String, serde.Int64, brief, bases(t), o)
}

func TestBriefSessionsThatComeAndGoLeaveNothing(t *testing.T) {
	s := openBrief(t, state.Options{})
	var rows []state.Row[int64]
	for i := range int64(1000) {
		for _, key := range []string{"a", "b"} {
			rows = bump(t, s, rows, key, i)
		}
	}
	if n := s.Dirty(); n != 2 {
		t.Errorf("%d entries for the sessions of two keys", n)
	}
	for _, key := range []string{"a", "b"} {
		if v, ts, ok, err := s.Get(key, 0, 999); v != 1000 || ts != 999 || !ok || err != nil {
			t.Errorf("session of %s = %d at %d, %v, %v; want 1000 at 999", key, v, ts, ok, err)
		}
		if _, _, ok, err := s.Get(key, 0, 998); ok || err != nil {
			t.Errorf("a session of %s that was made longer is there still: %v, %v", key, ok, err)
		}
	}
	n := 0
	if err := s.EachDirty(func(key string, start, end int64, c *state.Cell[int64]) error {
		if n++; start != 0 || end != 999 || c.Value != 1000 {
			t.Errorf("changed is %s from %d to %d with %d", key, start, end, c.Value)
		}
		return nil
	}); err != nil || n != 2 {
		t.Errorf("%d sessions are told to have changed, %v; want 2", n, err)
	}
}

// What the shelf lets go of in the middle of a layer is found all the same.
func TestRowsAreFoundWhenTheShelfIsTooSmallForThem(t *testing.T) {
	for _, brief := range []bool{false, true} {
		o := state.SessionOptions{Gap: sessionGap, Retention: 60_000, Brief: brief}
		s := state.OpenSession("s", serde.String, serde.Int64, o, bases(t), state.Options{CacheBytes: 8 << 10})
		const keys = 500
		key := func(i int64) string { return fmt.Sprint("key", i) }
		for round := range int64(3) { // of which the layer sees each session come, go, and come again
			for i := range int64(keys) {
				if _, err := s.Put(key(i), i, i, round, i); err != nil {
					t.Fatal(err)
				}
			}
			for i := range int64(keys) {
				if v, _, ok, err := s.Get(key(i), i, i); v != round || !ok || err != nil {
					t.Fatalf("session %d = %d, %v, %v; want %d", i, v, ok, err, round)
				}
				if _, err := s.Remove(key(i), i, i, i); err != nil {
					t.Fatal(err)
				}
				if _, _, ok, err := s.Get(key(i), i, i); ok || err != nil {
					t.Fatalf("session %d after its removal: %v, %v", i, ok, err)
				}
			}
		}
		for i := range int64(keys) {
			if _, err := s.Put(key(i), i, i, 7, i); err != nil {
				t.Fatal(err)
			}
		}
		l, err := s.Seal()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		if err := l.Each(func(c state.Change) error {
			if seen[string(c.Key)]++; c.Value == nil {
				t.Errorf("key %q is removed", c.Key)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(seen) != keys+1 || l.Len() != keys+1 {
			t.Errorf("a layer of %d changes, of %d keys; want %d sessions and the time", l.Len(), len(seen), keys)
		}
	}
}
