// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// A place is where a session is.
type place struct {
	key        string
	start, end int64
}

// A looseRun is a session store beside a map, of few sessions that come and go often.
type looseRun struct {
	t           *testing.T
	rnd         *rand.Rand
	s           *state.SessionStore[string, int64]
	now, before map[place]int64
	log         map[place]int64 // what the changelog makes
	dirty       map[place]bool
	brief       bool
	from        int64 // sessions end there or a little later
}

func TestSessionsThatComeAndGoAreThoseOfAMap(t *testing.T) {
	for seed := range uint64(60) {
		brief := seed%2 == 0
		o := state.SessionOptions{Gap: 1, Retention: 1 << 40, Brief: brief}
		opt := state.Options{CacheBytes: []int64{0, 4 << 10, 64 << 10}[seed%3]}
		r := &looseRun{
			t: t, rnd: rand.New(rand.NewPCG(seed, 1)), brief: brief,
			s:   state.OpenSession("s", serde.String, serde.Int64, o, bases(t), opt),
			now: map[place]int64{}, before: map[place]int64{}, log: map[place]int64{}, dirty: map[place]bool{},
		}
		for step := range int64(1500) {
			r.step(step)
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
	}
}

func (r *looseRun) step(step int64) {
	p := place{key: []string{"a", "b", "longer"}[r.rnd.IntN(3)], end: r.from + r.rnd.Int64N(4)}
	p.start = p.end - r.rnd.Int64N(2)
	var err error
	switch op := r.rnd.IntN(100); {
	case op < 40:
		_, err = r.s.Put(p.key, p.start, p.end, step, step)
		r.now[p], r.dirty[p] = step, true
	case op < 70:
		_, err = r.s.Remove(p.key, p.start, p.end, step)
		delete(r.now, p)
		r.dirty[p] = true
	case op < 76:
		r.get(p)
	case op < 80:
		var c *state.Cell[int64]
		if c, err = r.s.Cell(p.key, p.start, p.end); err == nil {
			r.s.Set(c, step, step)
			r.now[p], r.dirty[p] = step, true
		}
	case op < 87:
		r.list(p.key)
	case op < 90:
		r.scan()
	case op < 92:
		r.changed()
	case op < 93:
		r.s.Shrink(0)
		r.from += 10 // what was put before is not known to the shelf
	case op < 95:
		r.s.Discard()
		r.from += 10
		r.now, r.dirty = maps.Clone(r.before), map[place]bool{}
	default:
		r.commit(step)
	}
	if err != nil {
		r.t.Error(err)
	}
}

func (r *looseRun) get(p place) {
	v, _, ok, err := r.s.Get(p.key, p.start, p.end)
	if want, has := r.now[p]; err != nil || ok != has || v != want {
		r.t.Errorf("%+v = %d, %v, %v; want %d, %v", p, v, ok, err, want, has)
	}
}

func (r *looseRun) list(key string) {
	rows, err := r.s.AppendSessions(nil, key, -10, 1<<30)
	if err != nil {
		r.t.Error(err)
	}
	got, want := map[place]int64{}, maps.Clone(r.now)
	for _, row := range rows {
		got[place{key, row.Start, row.End}] = row.Value
	}
	maps.DeleteFunc(want, func(p place, _ int64) bool { return p.key != key })
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(place{})); diff != "" || len(rows) != len(got) {
		r.t.Errorf("%d sessions of %s (-want +got):\n%s", len(rows), key, diff)
	}
}

func (r *looseRun) scan() {
	got := map[place]int64{}
	sc := r.s.All(state.Forward)
	for sc.Next() {
		got[place{sc.Key(), sc.Start(), sc.End()}] = sc.Value()
	}
	if diff := cmp.Diff(r.now, got, cmp.AllowUnexported(place{})); diff != "" || sc.Err() != nil {
		r.t.Errorf("all sessions, %v (-want +got):\n%s", sc.Err(), diff)
	}
}

// changed checks that those are told of that have changed, each once, but perhaps for
// brief ones.
func (r *looseRun) changed() {
	told := map[place]bool{}
	err := r.s.EachDirty(func(key string, start, end int64, c *state.Cell[int64]) error {
		p := place{key, start, end}
		if want, has := r.now[p]; told[p] || !r.dirty[p] || c.OK != has || c.Value != want {
			r.t.Errorf("told of %+v = %d, %v; want %d, %v", p, c.Value, c.OK, want, has)
		}
		told[p] = true
		return nil
	})
	for p := range r.dirty {
		_, is := r.now[p]
		_, was := r.before[p]
		if !told[p] && (is || was || !r.brief) {
			r.t.Errorf("not told of %+v", p)
		}
	}
	if err != nil {
		r.t.Error(err)
	}
}

// commit checks that the changelog makes what the store holds.
func (r *looseRun) commit(step int64) {
	l, err := r.s.Seal()
	if err == nil && l != nil {
		err = l.Each(func(c state.Change) error {
			n := len(c.Key) - 16
			if n < 0 {
				return nil // the time
			}
			end, start := int64(binary.BigEndian.Uint64(c.Key[n:])), int64(binary.BigEndian.Uint64(c.Key[n+8:]))
			if p := (place{string(c.Key[:n]), start, end}); c.Value == nil {
				delete(r.log, p)
			} else {
				r.log[p] = int64(binary.BigEndian.Uint64(c.Value))
			}
			return nil
		})
	}
	if err == nil {
		err = r.s.Commit(l, state.Header{Position: step})
	}
	if err == nil && r.rnd.IntN(4) == 0 {
		err = r.s.Flush()
	}
	if diff := cmp.Diff(r.now, r.log, cmp.AllowUnexported(place{})); diff != "" || err != nil {
		r.t.Errorf("the changelog, %v (-want +got):\n%s", err, diff)
	}
	r.before, r.dirty = maps.Clone(r.now), map[place]bool{}
}
