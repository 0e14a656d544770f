// SPDX-License-Identifier: Apache-2.0

package statetest

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// List runs what a list store must hold to, on the bases of r.
func List(t *testing.T, r Rig) {
	for range r.runs() {
		listModel(t, r)
	}
}

// lists is a model of a list store. Lists in it are never changed in place.
type lists map[string][]stamped[string]

type listRun struct {
	life[lists]
	s *state.ListStore[string, string]
}

func listModel(t *testing.T, r Rig) {
	s := &listRun{}
	s.rig, s.rnd, s.clone = r, seeded(t), maps.Clone[lists]
	s.life.open = func(base state.Base, o state.Options) state.Store {
		s.s = state.OpenList("s", serde.String, serde.String, base, o)
		return s.s
	}
	s.check = func(t *testing.T, _ []state.Change) {
		t.Helper()
		if n := s.s.Dirty(); n > 0 {
			t.Fatalf("%d rows are open after Seal", n)
		}
	}
	s.resume = func(t *testing.T, _ []state.Change) { s.now = listsOf(t, s.changelog[:s.end]) }
	s.begin(t, lists{})
	for range r.steps(1000) {
		switch op := s.rnd.IntN(100); {
		case op < 75:
			s.operate(t)
		case op < 78:
			s.all(t)
		default:
			s.step(t)
		}
	}
	s.finish(t)
}

// listsOf reads the lists that a changelog holds, as docs/format/store.md tells. It may
// end in the middle of a commit.
func listsOf(t *testing.T, log []state.Change) lists {
	t.Helper()
	rows := map[string]stamped[string]{}
	for _, c := range log {
		delete(rows, string(c.Key))
		if c.Value != nil {
			rows[string(c.Key)] = stamped[string]{string(c.Value), c.Timestamp}
		}
	}
	m := lists{}
	for k, v := range rows {
		head, ok := strings.CutSuffix(k, "\xff\xff\xff\xff\xff\xff\xff\xff")
		if !ok {
			continue
		}
		key := strings.ReplaceAll(strings.TrimSuffix(head, "\x00\x01"), "\x00\xff", "\x00")
		ends := []byte(v.V)
		if ends[0] != 2 || len(ends) != 17 {
			t.Fatalf("ends of %q: % x", key, ends)
		}
		for at := binary.BigEndian.Uint64(ends[1:]); at < binary.BigEndian.Uint64(ends[9:]); at++ {
			v, ok := rows[string(binary.BigEndian.AppendUint64([]byte(head), at))]
			if !ok || v.V[0] != 0 {
				t.Fatalf("value %d of %q: %q, %v", at, key, v.V, ok)
			}
			m[key] = append(m[key], stamped[string]{v.V[1:], v.T})
		}
	}
	return m
}

func (s *listRun) operate(t *testing.T) {
	t.Helper()
	key := randomKey(s.rnd)
	if s.rnd.IntN(2) == 0 {
		key = fmt.Sprintf("k%d", s.rnd.IntN(4))
	}
	list := s.now[key]
	switch op := s.rnd.IntN(20); {
	case op < 10:
		v := stamped[string]{strings.Repeat("v", s.rnd.IntN(40)), s.rnd.Int64N(1e6)}
		must(t, s.s.Append(key, v.V, v.T))
		s.now[key] = append(slices.Clip(list), v)
	case op < 12:
		n := s.rnd.IntN(4)
		must(t, s.s.DropFront(key, n))
		if s.now[key] = list[min(n, len(list)):]; len(s.now[key]) == 0 {
			delete(s.now, key)
		}
	case op == 12:
		must(t, s.s.Clear(key))
		delete(s.now, key)
	case op < 15:
		n, err := s.s.Len(key)
		must(t, err)
		if n != len(list) {
			t.Fatalf("%q has %d values, want %d", key, n, len(list))
		}
	case op < 17:
		i := s.rnd.IntN(5) - 1
		v, ts, ok, err := s.s.At(key, i)
		must(t, err)
		if want := i >= 0 && i < len(list); ok != want || (ok && list[i] != stamped[string]{v, ts}) {
			t.Fatalf("%q at %d = %q at %d, %v; want %v", key, i, v, ts, ok, list)
		}
	default:
		s.each(t, key)
	}
}

func (s *listRun) each(t *testing.T, key string) {
	t.Helper()
	var got []stamped[string]
	must(t, s.s.Each(key, func(v string, ts int64) error {
		got = append(got, stamped[string]{v, ts})
		return nil
	}))
	if !slices.Equal(got, s.now[key]) {
		t.Fatalf("list of %q (-want +got):\n%s", key, cmp.Diff(s.now[key], got))
	}
}

func (s *listRun) all(t *testing.T) {
	t.Helper()
	var keys []string
	must(t, s.s.EachKey(func(key string, n int) error {
		keys = append(keys, key)
		if n != len(s.now[key]) {
			t.Fatalf("%q has %d values, want %d", key, n, len(s.now[key]))
		}
		return nil
	}))
	if diff := cmp.Diff(slices.Sorted(maps.Keys(s.now)), keys); diff != "" {
		t.Fatalf("keys (-want +got):\n%s", diff)
	}
	for _, key := range keys {
		s.each(t, key)
	}
}
