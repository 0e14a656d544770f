// SPDX-License-Identifier: Apache-2.0

package statetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// Store runs what a key-value store must hold to, on the bases of r.
func Store(t *testing.T, r Rig) {
	t.Run("random operations, string values", func(t *testing.T) {
		for range r.runs() {
			storeModel(t, r, serde.String, func(rnd *rand.Rand) string {
				return fmt.Sprint(rnd.IntN(1000), strings.Repeat("v", rnd.IntN(200)))[rnd.IntN(2):]
			})
		}
	})
	t.Run("random operations, int64 values", func(t *testing.T) {
		for range r.runs() {
			storeModel(t, r, serde.Int64, func(rnd *rand.Rand) int64 { return rnd.Int64N(1000) - 500 })
		}
	})
}

// stamped is a value as the model knows it.
type stamped[V any] struct {
	V V
	T int64
}

type contentsOf[V any] map[string]stamped[V]

// sealedModel is a layer that waits, and what the store holds with it.
type sealedModel[V any] struct {
	layer *state.Layer
	held  contentsOf[V]
	end   int // of its changes in the changelog
}

// storeRun is a store beside a plain map.
type storeRun[V any] struct {
	rig    Rig
	rnd    *rand.Rand
	values serde.Serde[V]
	value  func(*rand.Rand) V
	opt    state.Options

	task  task
	base  state.Base
	store *state.KeyValueStore[string, V]

	now       contentsOf[V]    // with the open layer
	before    contentsOf[V]    // after the last Seal
	committed contentsOf[V]    // after the last Commit
	dirty     []string         // keys of the open layer, in order of first change
	removed   map[string]int64 // timestamps of tombstones of the open layer
	sealed    []sealedModel[V]
	changelog []state.Change // with those of layers that are not committed
	end       int            // of the committed part
}

func storeModel[V any](t *testing.T, r Rig, values serde.Serde[V], value func(*rand.Rand) V) {
	rnd := seeded(t)
	s := &storeRun[V]{
		rig: r, rnd: rnd, values: values, value: value,
		opt: state.Options{
			CacheBytes:   []int64{1, 2 << 10, 8 << 10, 1 << 20}[rnd.IntN(4)],
			ApplyBytes:   []int64{1, 2 << 10, 1 << 20}[rnd.IntN(3)],
			RestoreBytes: []int64{1, 4 << 10, 1 << 20}[rnd.IntN(3)],
		},
		now: contentsOf[V]{}, before: contentsOf[V]{}, committed: contentsOf[V]{}, removed: map[string]int64{},
	}
	s.task = r.open(t, t.TempDir())
	s.reopen(t)
	for step := range 750 {
		s.step(t, step)
	}
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	s.task.close(t)
}

func (s *storeRun[V]) step(t *testing.T, step int) {
	t.Helper()
	switch op := s.rnd.IntN(100); {
	case op < 50:
		s.write(t, op)
	case op < 62:
		s.read(t)
	case op < 68:
		s.scan(t)
	case op < 73:
		s.view(t)
	case op < 76:
		s.eachDirty(t)
	case op < 82:
		s.seal(t)
	case op < 88:
		s.commit(t)
	case op < 90:
		s.discard()
	case op < 92:
		must(t, s.store.Flush())
		if n := s.store.Unflushed(); n != 0 {
			t.Fatalf("step %d: %d bytes unflushed after a flush", step, n)
		}
	case op < 94:
		s.shrink(t)
	case op < 96:
		must(t, s.store.Prefetch([]string{storeKey(s.rnd), storeKey(s.rnd), storeKey(s.rnd)}))
	case op == 96:
		s.restart(t)
	default:
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// storeKey makes a few hundred keys, some short.
func storeKey(rnd *rand.Rand) string {
	if rnd.IntN(2) == 0 {
		return randomKey(rnd)
	}
	return fmt.Sprintf("key-%03d", rnd.IntN(150))
}

func (s *storeRun[V]) write(t *testing.T, op int) {
	t.Helper()
	key, ts := storeKey(s.rnd), s.rnd.Int64N(1e6)
	v := s.value(s.rnd)
	remove := s.rnd.IntN(4) == 0
	switch {
	case op < 30: // through the cell
		c, err := s.store.Cell(key)
		must(t, err)
		s.same(t, key, c.Value, c.Timestamp, c.OK)
		if remove {
			s.store.Unset(c, ts)
		} else {
			s.store.Set(c, v, ts)
		}
	case remove:
		must(t, s.store.Delete(key, ts))
	default:
		must(t, s.store.Put(key, v, ts))
	}
	if !slices.Contains(s.dirty, key) {
		s.dirty = append(s.dirty, key)
	}
	if remove {
		delete(s.now, key)
		s.removed[key] = ts
	} else {
		s.now[key] = stamped[V]{v, ts}
	}
}

func (s *storeRun[V]) same(t *testing.T, key string, v V, ts int64, ok bool) {
	t.Helper()
	want, has := s.now[key]
	if ok != has || (ok && !cmp.Equal(want, stamped[V]{v, ts})) {
		t.Fatalf("%q = %v at %d, %v; want %v, %v", key, v, ts, ok, want, has)
	}
}

func (s *storeRun[V]) read(t *testing.T) {
	t.Helper()
	key := storeKey(s.rnd)
	v, ts, ok, err := s.store.Get(key)
	must(t, err)
	s.same(t, key, v, ts, ok)
}

func (s *storeRun[V]) bounds() (from, to opt.V[string], o state.Order) {
	if s.rnd.IntN(3) > 0 {
		from = opt.Some(storeKey(s.rnd))
	}
	if s.rnd.IntN(3) > 0 {
		to = opt.Some(storeKey(s.rnd))
	}
	return from, to, state.Order(s.rnd.IntN(2) == 0)
}

func (s *storeRun[V]) scan(t *testing.T) {
	t.Helper()
	from, to, o := s.bounds()
	want := slice(s.now, from, to, o)
	sc := s.store.Range(from, to, o)
	var got []item[V]
	for sc.Next() {
		got = append(got, item[V]{sc.Key(), sc.Value(), sc.Timestamp()})
		if s.rnd.IntN(4) == 0 { // what changes meanwhile does not show
			s.write(t, s.rnd.IntN(50))
		}
		if s.rnd.IntN(40) == 0 {
			s.seal(t)
			s.commit(t)
		}
	}
	must(t, sc.Err())
	must(t, sc.Close())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("range %v to %v backward %v (-want +got):\n%s", from, to, o, diff)
	}
}

func (s *storeRun[V]) view(t *testing.T) {
	t.Helper()
	v, key := s.store.Committed(), storeKey(s.rnd)
	got, ts, ok, err := v.Get(key)
	must(t, err)
	want, has := s.committed[key]
	if ok != has || (ok && !cmp.Equal(want, stamped[V]{got, ts})) {
		t.Fatalf("committed %q = %v at %d, %v; want %v, %v", key, got, ts, ok, want, has)
	}
	from, to, o := s.bounds()
	var items []item[V]
	sc := v.Range(from, to, o)
	for sc.Next() {
		items = append(items, item[V]{sc.Key(), sc.Value(), sc.Timestamp()})
	}
	must(t, sc.Err())
	must(t, sc.Close())
	if diff := cmp.Diff(slice(s.committed, from, to, o), items); diff != "" {
		t.Fatalf("committed range %v to %v backward %v (-want +got):\n%s", from, to, o, diff)
	}
}

// eachDirty checks the changed keys, and what they were before.
func (s *storeRun[V]) eachDirty(t *testing.T) {
	t.Helper()
	var keys []string
	must(t, s.store.EachDirty(func(key string, c *state.Cell[V]) error {
		keys = append(keys, key)
		s.same(t, key, c.Value, c.Timestamp, c.OK)
		old, ts, ok, err := s.store.OldOf(c)
		must(t, err)
		want, has := s.before[key]
		if ok != has || (ok && !cmp.Equal(want, stamped[V]{old, ts})) {
			t.Fatalf("old value of %q = %v at %d, %v; want %v, %v", key, old, ts, ok, want, has)
		}
		s.same(t, key, c.Value, c.Timestamp, c.OK)
		return nil
	}))
	if diff := cmp.Diff(s.dirty, keys); diff != "" {
		t.Fatalf("dirty keys (-want +got):\n%s", diff)
	}
}

// seal checks that the layer has each changed key once, in order, with its last value.
func (s *storeRun[V]) seal(t *testing.T) {
	t.Helper()
	l, err := s.store.Seal()
	must(t, err)
	var want, got []state.Change
	for _, key := range slices.Sorted(slices.Values(s.dirty)) {
		c := state.Change{Key: []byte(key), Timestamp: s.removed[key]}
		if v, ok := s.now[key]; ok {
			c.Timestamp = v.T
			c.Value, err = s.values.Encode(v.V)
			must(t, err)
		}
		want = append(want, c)
	}
	if l != nil {
		must(t, l.Each(func(c state.Change) error {
			got = append(got, c)
			return nil
		}))
	}
	if diff := cmp.Diff(logged(want), got); diff != "" {
		t.Fatalf("sealed (-want +got):\n%s", diff)
	}
	s.dirty, s.removed, s.before = nil, map[string]int64{}, maps.Clone(s.now)
	if l == nil {
		return
	}
	if l.Len() != len(want) {
		t.Fatalf("Len = %d, want %d", l.Len(), len(want))
	}
	s.changelog = append(s.changelog, got...)
	s.sealed = append(s.sealed, sealedModel[V]{l, s.before, len(s.changelog)})
}

// logged puts changes in order of keys into the order of a changelog: first what
// sets a value, then, in reverse, what removes one.
func logged(changes []state.Change) []state.Change {
	var sets, removes []state.Change
	for _, c := range changes {
		if c.Value != nil {
			sets = append(sets, c)
		} else {
			removes = append(removes, c)
		}
	}
	slices.Reverse(removes)
	return append(sets, removes...)
}

func (s *storeRun[V]) commit(t *testing.T) {
	t.Helper()
	if len(s.sealed) == 0 {
		must(t, s.store.Commit(nil, header(int64(s.end))))
		return
	}
	if len(s.sealed) > 1 && s.rnd.IntN(5) == 0 {
		if err := s.store.Commit(s.sealed[1].layer, header(0)); err == nil {
			t.Fatal("a layer was committed before an older one")
		}
	}
	oldest := s.sealed[0]
	must(t, s.store.Commit(oldest.layer, header(int64(oldest.end))))
	s.sealed, s.committed, s.end = s.sealed[1:], oldest.held, oldest.end
}

func (s *storeRun[V]) discard() {
	s.store.Discard()
	s.back()
}

// back takes the model to the last commit.
func (s *storeRun[V]) back() {
	s.dirty, s.removed, s.sealed = nil, map[string]int64{}, nil
	s.now, s.before = maps.Clone(s.committed), maps.Clone(s.committed)
	s.changelog = s.changelog[:s.end]
}

func (s *storeRun[V]) shrink(t *testing.T) {
	t.Helper()
	s.store.Shrink(0)
	dirty, cached := s.store.Bytes()
	if cached != 0 || dirty < 0 {
		t.Fatalf("after Shrink(0) Bytes = %d, %d", dirty, cached)
	}
}

// restart loses what a crash loses, and restores from the changelog.
func (s *storeRun[V]) restart(t *testing.T) {
	t.Helper()
	if s.rnd.IntN(3) == 0 {
		must(t, s.store.Close())
		s.task.close(t)
		s.task = s.rig.open(t, s.task.dir)
	} else {
		s.task = s.rig.crash(t, s.task)
	}
	s.back()
	s.reopen(t)
}

func (s *storeRun[V]) reopen(t *testing.T) {
	t.Helper()
	s.base = s.task.base(t, "s")
	s.store = state.OpenKeyValue("s", serde.String, s.values, s.base, s.opt)
	h, _, err := s.base.Header()
	must(t, err)
	at := int(h.Position)
	if at > s.end {
		t.Fatalf("base came back at %d; committed up to %d", at, s.end)
	}
	for at < s.end {
		n := min(s.end-at, 1+s.rnd.IntN(40))
		must(t, s.store.Restore(s.changelog[at:at+n], header(int64(at+n))))
		at += n
	}
	must(t, s.store.Restored())
	if s.rnd.IntN(2) == 0 {
		return // its base may not have all yet
	}
	must(t, s.store.Flush())
	if h, _, err := s.base.Header(); err != nil || h.Position != int64(s.end) {
		t.Fatalf("restored up to %d, %v; want %d", h.Position, err, s.end)
	}
}

type item[V any] struct {
	Key   string
	Value V
	T     int64
}

// slice gives what a scan of m must give.
func slice[V any](m contentsOf[V], from, to opt.V[string], o state.Order) []item[V] {
	var items []item[V]
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if (!from.OK || key >= from.Value) && (!to.OK || key <= to.Value) {
			items = append(items, item[V]{key, m[key].V, m[key].T})
		}
	}
	if o == state.Backward {
		slices.Reverse(items)
	}
	return items
}
