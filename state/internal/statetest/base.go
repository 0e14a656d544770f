// SPDX-License-Identifier: Apache-2.0

package statetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/state"
)

// Base runs what every base must hold to.
func Base(t *testing.T, r Rig) {
	t.Run("random operations and crashes", func(t *testing.T) {
		for range r.runs() {
			baseModel(t, r)
		}
	})
	t.Run("a fresh base has no header and no entries", func(t *testing.T) { fresh(t, r) })
	t.Run("an iterator sees the moment it was opened", func(t *testing.T) { iteratorMoment(t, r) })
	t.Run("after close every method answers ErrClosed", func(t *testing.T) { closed(t, r) })
	t.Run("a load takes no ranges", func(t *testing.T) { loadRange(t, r) })
	t.Run("a path is opened once at a time", func(t *testing.T) { twice(t, r) })
	t.Run("what is loaded hides what was loaded before", func(t *testing.T) { loadOver(t, r) })
	if r.Durable {
		t.Run("a store that was only loaded is not taken for another", func(t *testing.T) { onlyLoaded(t, r) })
		t.Run("two stores killed between their flushes", func(t *testing.T) { twoStores(t, r) })
		t.Run("a checkpoint opens with what was applied", func(t *testing.T) { checkpoint(t, r) })
		t.Run("set aside", func(t *testing.T) { setAside(t, r) })
		t.Run("a second backend on the same root is refused", func(t *testing.T) { secondRoot(t, r) })
		t.Run("a folder of another backend is unusable", func(t *testing.T) { foreign(t, r) })
		t.Run("damaged files are unusable", func(t *testing.T) { damaged(t, r) })
	}
}

// model is what a base must hold, at each position that it has ever had.
type model struct {
	base     state.Base
	now      map[string]string
	position int64                       // of the header; 0 is fresh
	flushed  int64                       // at least this one survives a crash
	at       map[int64]map[string]string // what it held
}

func newModel() *model {
	return &model{now: map[string]string{}, at: map[int64]map[string]string{0: {}}}
}

func (m *model) applied(position int64) {
	m.position, m.at[position] = position, maps.Clone(m.now)
}

// baseModel compares two bases of one task with maps.
func baseModel(t *testing.T, r Rig) {
	rnd := seeded(t)
	k := r.open(t, t.TempDir())
	models := map[string]*model{"one": newModel(), "two": newModel()}
	rebind := func() {
		for name, m := range models {
			m.base = k.base(t, name)
		}
	}
	rebind()
	position := int64(0)
	for step := range 150 {
		m := models[[]string{"one", "two"}[rnd.IntN(2)]]
		switch op := rnd.IntN(14); {
		case op < 5:
			position++
			applyRandom(t, rnd, m, position, op == 0)
		case op == 5:
			if err := m.base.Flush(); err != nil {
				t.Fatalf("step %d: flush: %v", step, err)
			}
			if n := m.base.Unflushed(); n != 0 {
				t.Fatalf("step %d: %d bytes unflushed after a flush", step, n)
			}
			m.flushed = m.position
		case op == 6:
			k = r.crash(t, k)
			rebind()
			for name, m := range models {
				m.recover(t, r, name)
			}
		case op == 7 && rnd.IntN(3) == 0:
			k.close(t)
			k = r.open(t, k.dir)
			rebind()
			for name, m := range models {
				if r.Durable {
					m.flushed = m.position
				}
				m.recover(t, r, name)
			}
		default:
			m.compare(t, rnd)
		}
	}
	k.close(t)
}

// applyRandom applies or loads a few writes, seldom more than a megabyte.
func applyRandom(t *testing.T, rnd *rand.Rand, m *model, position int64, load bool) {
	t.Helper()
	writes := map[string]*string{}
	for range rnd.IntN(12) {
		key := randomKey(rnd)
		if rnd.IntN(3) == 0 {
			writes[key] = nil
			continue
		}
		v := fmt.Sprint(position, strings.Repeat(".", rnd.IntN(9)))[rnd.IntN(2):]
		writes[key] = &v
	}
	if load && rnd.IntN(4) == 0 {
		for i := range 300 {
			v := fmt.Sprint(position, strings.Repeat("x", 4000))
			writes[fmt.Sprintf("big%03d", i)] = &v
		}
	}
	var w state.Writes
	if !load && rnd.IntN(3) == 0 {
		deleteRandom(rnd, m, &w) // and some of it is written anew
	}
	for _, key := range slices.Sorted(maps.Keys(writes)) {
		if v := writes[key]; v == nil {
			w.Delete([]byte(key))
			delete(m.now, key)
		} else {
			w.Put([]byte(key), []byte(*v))
			m.now[key] = *v
		}
	}
	if !load && rnd.IntN(6) == 0 {
		deleteRandom(rnd, m, &w) // some of what was just written too
	}
	var err error
	if load {
		err = m.base.Load(&w, header(position))
	} else {
		err = m.base.Apply(&w, header(position))
	}
	if err != nil {
		t.Fatalf("apply (load %v): %v", load, err)
	}
	for _, c := range w.List() { // nothing of it may have been kept
		scribble(c.Key)
		scribble(c.Value)
	}
	m.applied(position)
}

// deleteRandom adds the removal of a range, perhaps an empty one.
func deleteRandom(rnd *rand.Rand, m *model, w *state.Writes) {
	lower, upper := randomKey(rnd), randomKey(rnd)
	if lower > upper {
		lower, upper = upper, lower
	}
	w.DeleteRange([]byte(lower), []byte(upper))
	maps.DeleteFunc(m.now, func(key, _ string) bool { return key >= lower && key < upper })
}

func scribble(b []byte) {
	for i := range b {
		b[i] = '#'
	}
}

// recover finds out at which position the base came back, and that it is a fair one.
func (m *model) recover(t *testing.T, r Rig, name string) {
	t.Helper()
	h, ok, err := m.base.Header()
	if err != nil {
		t.Fatalf("%s: header: %v", name, err)
	}
	if !ok {
		h.Position = 0
	}
	if r.Durable && h.Position < m.flushed {
		t.Fatalf("%s came back at %d; flushed up to %d", name, h.Position, m.flushed)
	}
	held, known := m.at[h.Position]
	if !known {
		t.Fatalf("%s came back at %d, where it never was", name, h.Position)
	}
	if diff := cmp.Diff(held, contents(t, m.base)); diff != "" {
		t.Fatalf("%s came back at %d with other data (-want +got):\n%s", name, h.Position, diff)
	}
	maps.DeleteFunc(m.at, func(p int64, _ map[string]string) bool { return p > h.Position })
	m.now, m.position, m.flushed = maps.Clone(held), h.Position, h.Position
}

// compare looks at the base in every way there is.
func (m *model) compare(t *testing.T, rnd *rand.Rand) {
	t.Helper()
	h, ok, err := m.base.Header()
	if err != nil || ok != (m.position > 0) || (ok && h != header(m.position)) {
		t.Fatalf("header = %+v, %v, %v; want position %d", h, ok, err, m.position)
	}
	var keys [][]byte
	for range 8 {
		key := randomKey(rnd)
		keys = append(keys, []byte(key))
		got, ok, err := m.base.AppendGet([]byte("before"), []byte(key))
		want, has := m.now[key]
		if err != nil || ok != has || string(got) != "before"+want {
			t.Fatalf("get %q = %q, %v, %v; want %q, %v", key, got, ok, err, want, has)
		}
	}
	seen := 0
	err = m.base.MultiGet(keys, func(i int, value []byte, ok bool) {
		want, has := m.now[string(keys[i])]
		if i != seen || ok != has || string(value) != want {
			t.Fatalf("multi-get %d (%q) = %q, %v; want call %d, %q, %v", i, keys[i], value, ok, seen, want, has)
		}
		seen++
	})
	if err != nil || seen != len(keys) {
		t.Fatalf("multi-get: %d of %d, %v", seen, len(keys), err)
	}
	var lower, upper []byte
	if rnd.IntN(3) > 0 {
		lower = []byte(randomKey(rnd))
	}
	if rnd.IntN(3) > 0 {
		upper = []byte(randomKey(rnd))
	}
	for _, o := range []state.Order{state.Forward, state.Backward} {
		var want []string
		for _, key := range slices.Sorted(maps.Keys(m.now)) {
			if (lower == nil || key >= string(lower)) && (upper == nil || key < string(upper)) {
				want = append(want, key+"="+m.now[key])
			}
		}
		if o == state.Backward {
			slices.Reverse(want)
		}
		if diff := cmp.Diff(want, entries(t, m.base, lower, upper, o)); diff != "" {
			t.Fatalf("iterate [%q, %q) backward %v (-want +got):\n%s", lower, upper, o, diff)
		}
	}
}

func entries(t *testing.T, b state.Base, lower, upper []byte, o state.Order) []string {
	t.Helper()
	it, err := b.Iterate(lower, upper, o)
	if err != nil {
		t.Fatalf("iterate: %v", err)
	}
	defer it.Close()
	var got []string
	for it.Next() {
		got = append(got, string(it.Key())+"="+string(it.Value()))
	}
	if it.Next() || it.Err() != nil {
		t.Fatalf("iterate goes on after its end, or fails: %v", it.Err())
	}
	return got
}

func contents(t *testing.T, b state.Base) map[string]string {
	t.Helper()
	m := map[string]string{}
	it, err := b.Iterate(nil, nil, state.Forward)
	if err != nil {
		t.Fatalf("iterate: %v", err)
	}
	defer it.Close()
	for it.Next() {
		m[string(it.Key())] = string(it.Value())
	}
	if it.Err() != nil {
		t.Fatalf("iterate: %v", it.Err())
	}
	return m
}

func fresh(t *testing.T, r Rig) {
	k := r.open(t, t.TempDir())
	defer k.close(t)
	b := k.base(t, "s")
	if h, ok, err := b.Header(); ok || err != nil {
		t.Errorf("header = %+v, %v, %v; want none", h, ok, err)
	}
	if got := contents(t, b); len(got) != 0 {
		t.Errorf("holds %v", got)
	}
	if again := k.base(t, "s"); again != b {
		t.Error("the same name gives another base")
	}
}

// put applies one entry.
func put(t *testing.T, b state.Base, key, value string, position int64) {
	t.Helper()
	var w state.Writes
	w.Put([]byte(key), []byte(value))
	if err := b.Apply(&w, header(position)); err != nil {
		t.Fatalf("apply: %v", err)
	}
}

func iteratorMoment(t *testing.T, r Rig) {
	k := r.open(t, t.TempDir())
	defer k.close(t)
	b := k.base(t, "s")
	put(t, b, "a", "1", 1)
	it, err := b.Iterate(nil, nil, state.Forward)
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "a", "2", 2)
	put(t, b, "b", "2", 3)
	if !it.Next() || string(it.Key()) != "a" || string(it.Value()) != "1" {
		t.Errorf("first entry = %q %q, want a 1", it.Key(), it.Value())
	}
	if it.Next() {
		t.Errorf("sees %q, which was added later", it.Key())
	}
	if err := errors.Join(it.Err(), it.Close(), it.Close()); err != nil {
		t.Error(err)
	}
}

func closed(t *testing.T, r Rig) {
	k := r.open(t, t.TempDir())
	b := k.base(t, "s")
	put(t, b, "a", "1", 1)
	k.close(t)
	if err := k.db.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	_, _, get := b.AppendGet(nil, []byte("a"))
	_, iterate := b.Iterate(nil, nil, state.Forward)
	_, _, head := b.Header()
	_, base := k.db.Base("t")
	for what, err := range map[string]error{
		"get": get, "iterate": iterate, "header": head, "base": base,
		"multi-get": b.MultiGet([][]byte{{1}}, func(int, []byte, bool) {}),
		"apply":     b.Apply(&state.Writes{}, header(2)),
		"load":      b.Load(&state.Writes{}, header(2)),
		"flush":     b.Flush(),
	} {
		if !errors.Is(err, state.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
}

func twice(t *testing.T, r Rig) {
	k := r.open(t, t.TempDir())
	defer k.close(t)
	if _, err := k.backend.Open(path); !errors.Is(err, state.ErrLocked) {
		t.Errorf("second open: %v, want ErrLocked", err)
	}
	other, err := k.backend.Open("cluster/app/0_1")
	if err != nil {
		t.Fatalf("another path: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

func twoStores(t *testing.T, r Rig) {
	k := r.open(t, t.TempDir())
	one, two := k.base(t, "one"), k.base(t, "two")
	for i := int64(1); i <= 20; i++ {
		put(t, one, "k", fmt.Sprint(i), i)
		put(t, two, "k", fmt.Sprint(i), i)
		if i == 10 {
			if err := one.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	k = r.crash(t, k)
	defer k.close(t)
	for name, least := range map[string]int64{"one": 10, "two": 0} {
		b := k.base(t, name)
		h, _, err := b.Header()
		if err != nil || h.Position < least {
			t.Errorf("%s came back at %d, %v; flushed at %d", name, h.Position, err, least)
		}
		want := map[string]string{}
		if h.Position > 0 {
			want["k"] = fmt.Sprint(h.Position)
		}
		if diff := cmp.Diff(want, contents(t, b)); diff != "" {
			t.Errorf("%s does not hold what its header says (-want +got):\n%s", name, diff)
		}
	}
}

// bulk is more than a megabyte of entries, sorted.
func bulk(mark string) *state.Writes {
	var w state.Writes
	for i := range 300 {
		w.Put(fmt.Appendf(nil, "big%03d", i), []byte(mark+strings.Repeat("x", 4000)))
	}
	return &w
}

func loadOver(t *testing.T, r Rig) {
	k := r.open(t, t.TempDir())
	defer k.close(t)
	b := k.base(t, "s")
	if err := b.Load(bulk("1"), header(1)); err != nil {
		t.Fatal(err)
	}
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	put(t, b, "big001", "between", 2)
	var w state.Writes
	for _, c := range bulk("3").List() {
		if string(c.Key) < "big010" {
			w.Delete(c.Key)
		} else {
			w.Put(c.Key, c.Value)
		}
	}
	if err := b.Load(&w, header(3)); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"big000", "big001", "big009"} {
		if v, ok, err := b.AppendGet(nil, []byte(key)); ok || err != nil {
			t.Errorf("%s, which was deleted, = %.10q, %v, %v", key, v, ok, err)
		}
	}
	if v, _, err := b.AppendGet(nil, []byte("big010")); err != nil || v[0] != '3' {
		t.Errorf("big010 = %.10q, %v; want that of the second load", v, err)
	}
	if n := len(contents(t, b)); n != 290 {
		t.Errorf("%d entries, want 290", n)
	}
}

func loadRange(t *testing.T, r Rig) {
	k := r.open(t, t.TempDir())
	defer k.close(t)
	var w state.Writes
	w.DeleteRange([]byte("a"), []byte("b"))
	if err := k.base(t, "s").Load(&w, header(1)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Load: %v, want ErrUnsupported", err)
	}
}

// onlyLoaded: a load may be durable at once, ahead of all that was written before
// it, also of what was noted of its store.
func onlyLoaded(t *testing.T, r Rig) {
	k := r.open(t, t.TempDir())
	if err := k.base(t, "one").Load(bulk("1"), header(1)); err != nil {
		t.Fatal(err)
	}
	k = r.crash(t, k)
	defer k.close(t)
	two := k.base(t, "two")
	if _, ok, err := two.Header(); ok || err != nil || len(contents(t, two)) > 0 {
		t.Errorf("another store has a header (%v, %v) and %d entries", ok, err, len(contents(t, two)))
	}
	one := k.base(t, "one")
	if h, _, err := one.Header(); err != nil || len(contents(t, one)) != int(h.Position)*300 {
		t.Errorf("the store is at %d, %v, with %d entries", h.Position, err, len(contents(t, one)))
	}
}

func checkpoint(t *testing.T, r Rig) {
	k := r.open(t, t.TempDir())
	b := k.base(t, "s")
	put(t, b, "a", "1", 7)
	dir := t.TempDir()
	to := filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := b.Checkpoint(to); err != nil {
		t.Fatal(err)
	}
	put(t, b, "a", "2", 8)
	k.close(t)
	k = r.open(t, dir)
	defer k.close(t)
	b = k.base(t, "s")
	h, _, err := b.Header()
	if got := contents(t, b); err != nil || h.Position != 7 || got["a"] != "1" {
		t.Errorf("checkpoint holds %v at %d, %v; want a=1 at 7", got, h.Position, err)
	}
}

func setAside(t *testing.T, r Rig) {
	k := r.open(t, t.TempDir())
	put(t, k.base(t, "s"), "a", "1", 7)
	if err := k.backend.SetAside(path, "too soon"); !errors.Is(err, state.ErrLocked) {
		t.Errorf("set aside while open: %v, want ErrLocked", err)
	}
	for _, cause := range []string{"first", "second"} {
		if err := k.db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := k.backend.SetAside(path, cause); err != nil {
			t.Fatal(err)
		}
		db, err := k.backend.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		k.db = db
		if _, ok, err := k.base(t, "s").Header(); ok || err != nil {
			t.Errorf("after %s there is a header, %v; want a fresh base", cause, err)
		}
	}
	k.close(t)
	aside := filepath.Join(k.dir, path) + ".aside"
	if got, err := os.ReadFile(filepath.Join(aside, "CAUSE")); string(got) != "second\n" {
		t.Errorf("cause = %q, %v", got, err)
	}
	if names, _ := filepath.Glob(aside + "*"); len(names) != 1 {
		t.Errorf("kept %v, want one", names)
	}
	other := r.At(t.TempDir())
	if err := other.SetAside(path, "nothing there"); err != nil {
		t.Errorf("set nothing aside: %v", err)
	}
	for _, bad := range []string{"../x", "/x", ".", ""} {
		if err := other.SetAside(bad, ""); err == nil {
			t.Errorf("path %q was accepted", bad)
		}
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

func secondRoot(t *testing.T, r Rig) {
	k := r.open(t, t.TempDir())
	second := r.At(k.dir)
	if _, err := second.Open("cluster/app/0_1"); !errors.Is(err, state.ErrLocked) {
		t.Errorf("second backend: %v, want ErrLocked", err)
	}
	k.close(t)
	db, err := second.Open(path)
	if err != nil {
		t.Fatalf("after the first was closed: %v", err)
	}
	if err := errors.Join(db.Close(), second.Close()); err != nil {
		t.Error(err)
	}
}

func foreign(t *testing.T, r Rig) {
	dir := t.TempDir()
	full := filepath.Join(dir, path)
	if err := os.MkdirAll(full, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(full, "BACKEND"), []byte("other\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := r.At(dir)
	defer b.Close()
	if _, err := b.Open(path); !errors.Is(err, state.ErrUnusable) {
		t.Errorf("open: %v, want ErrUnusable", err)
	}
	healed(t, b)
}

// healed sets the DB aside and opens a fresh one.
func healed(t *testing.T, b state.Backend) {
	t.Helper()
	if err := b.SetAside(path, "test"); err != nil {
		t.Fatal(err)
	}
	db, err := b.Open(path)
	if err != nil {
		t.Fatalf("open after setting aside: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// damaged cuts or removes one kind of file after another.
func damaged(t *testing.T, r Rig) {
	for _, c := range []struct{ name, pattern string }{
		{"no table", "*.sst"}, {"no manifest", "MANIFEST*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := r.open(t, t.TempDir())
			b := k.base(t, "s")
			put(t, b, "a", strings.Repeat("x", 5000), 1)
			if err := b.Flush(); err != nil {
				t.Fatal(err)
			}
			k.close(t)
			names, err := filepath.Glob(filepath.Join(k.dir, path, c.pattern))
			if err != nil || len(names) == 0 {
				t.Fatalf("no %s: %v", c.pattern, err)
			}
			for _, name := range names {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
			backend := r.At(k.dir)
			defer backend.Close()
			if err := firstError(backend); !errors.Is(err, state.ErrUnusable) {
				t.Errorf("got %v, want ErrUnusable", err)
			}
			healed(t, backend)
		})
	}
}

// firstError is that of opening a base or of looking into it.
func firstError(b state.Backend) error {
	db, err := b.Open(path)
	if err != nil {
		return err
	}
	defer db.Close()
	base, err := db.Base("s")
	if err != nil {
		return err
	}
	_, _, err = base.AppendGet(nil, []byte("a"))
	return err
}
