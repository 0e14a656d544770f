// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/invariant"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// bases gives a base in memory that is closed after the test.
func bases(t testing.TB) state.Base {
	t.Helper()
	db, err := state.Memory().Open("task")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	base, err := db.Base("s")
	if err != nil {
		t.Fatal(err)
	}
	return base
}

func openWindow(t testing.TB, o state.WindowOptions) *state.WindowStore[string, string] {
	t.Helper()
	s, err := state.Window[string, string]("s", o).Open(bases(t), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *state.WindowStore[string, string], key string, start int64, want bool) {
	t.Helper()
	ok, err := s.Put(key, start, fmt.Sprint(key, start), start)
	if ok != want || err != nil {
		t.Fatalf("Put(%q, %d) = %v, %v; want %v", key, start, ok, err, want)
	}
}

func rows(t testing.TB, sc *state.WindowScan[string, string]) []string {
	t.Helper()
	var got []string
	for sc.Next() {
		got = append(got, sc.Value())
	}
	if err := errors.Join(sc.Err(), sc.Close()); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestExpiry pins the edge: a row is gone once the observed time is the retention
// or more after its start, as in Kafka Streams.
func TestExpiry(t *testing.T) {
	s := openWindow(t, state.WindowOptions{Size: 10, Retention: 100})
	put(t, s, "a", 0, true)
	put(t, s, "b", 99, true)
	if got := rows(t, s.All(state.Forward)); !cmp.Equal(got, []string{"a0", "b99"}) {
		t.Errorf("at %d there are %v", s.ObservedTime(), got)
	}
	s.Observe(100)
	s.Observe(50) // is not new
	if got := rows(t, s.All(state.Forward)); !cmp.Equal(got, []string{"b99"}) || s.ObservedTime() != 100 {
		t.Errorf("at %d there are %v", s.ObservedTime(), got)
	}
	put(t, s, "a", 0, false)
	put(t, s, "a", 1, true)
	if _, _, ok, err := s.Get("a", 0); ok || err != nil {
		t.Errorf("a row that is gone is read: %v", err)
	}
	c, err := s.Cell("a", 0)
	if err != nil || c.OK || s.Set(c, "x", 0) || s.Unset(c, 0) {
		t.Errorf("the cell of a row that is gone: %+v, %v", c, err)
	}
	if n := s.Refused(); n != 3 {
		t.Errorf("%d refused, want 3", n)
	}
}

// TestExpiredWhileOpen: a row that time has left behind is still told to who emits
// at the commit, but not written any more.
func TestExpiredWhileOpen(t *testing.T) {
	s := openWindow(t, state.WindowOptions{Size: 10, Retention: 100})
	put(t, s, "a", 0, true)
	put(t, s, "a", 1000, true)
	var dirty []string
	if err := s.EachDirty(func(_ string, _ int64, c *state.Cell[string]) error {
		dirty = append(dirty, c.Value)
		return nil
	}); err != nil || !cmp.Equal(dirty, []string{"a0", "a1000"}) {
		t.Errorf("dirty are %v, %v", dirty, err)
	}
	l, err := s.Seal()
	if err != nil || l.Len() != 2 { // a1000, and the time
		t.Fatalf("Seal: %v", err)
	}
	s.Discard()
	if s.ObservedTime() != state.NoTime {
		t.Errorf("after Discard time is %d", s.ObservedTime())
	}
	if _, _, ok, _ := s.Get("a", 0); ok {
		t.Error("after Discard a row is there")
	}
}

// TestBaseDropsSegments: what is gone leaves the base, a segment at a time.
func TestBaseDropsSegments(t *testing.T) {
	base := bases(t)
	s := state.OpenWindow("s", serde.String, serde.String, state.WindowOptions{Retention: 120_000}, base, state.Options{ApplyBytes: 1})
	count := func() int {
		t.Helper()
		it, err := base.Iterate(nil, nil, state.Forward)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for it.Next() {
			n++
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		return n - 1 // without the time
	}
	for i, c := range []struct {
		start int64
		want  int
	}{{0, 1}, {60_000, 2}, {120_000, 3}, {179_998, 4}, {179_999, 4}, {180_000, 5}, {1e9, 1}} {
		put(t, s, "k", c.start, true)
		commit(t, s, int64(i+1))
		if got := count(); got != c.want {
			t.Errorf("after %d the base has %d rows, want %d", c.start, got, c.want)
		}
	}
}

func TestFetchOrder(t *testing.T) {
	starts := []int64{0, 59_999, 60_000, 130_000}
	for _, c := range []struct {
		name string
		o    state.WindowOptions
		want []string
	}{
		{"by segment and key", state.WindowOptions{Retention: 200_000}, []string{"a0", "a59999", "a60000", "b0", "b59999", "b60000", "a130000", "b130000"}},
		{"by time", state.WindowOptions{Retention: 200_000, ByTime: true}, []string{"a0", "b0", "a59999", "b59999", "a60000", "b60000", "a130000", "b130000"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openWindow(t, c.o)
			for _, start := range starts {
				put(t, s, "b", start, true)
				put(t, s, "a", start, true)
			}
			if diff := cmp.Diff(c.want, rows(t, s.All(state.Forward))); diff != "" {
				t.Errorf("all (-want +got):\n%s", diff)
			}
			want := []string{"b130000", "b60000", "b59999"}
			if diff := cmp.Diff(want, rows(t, s.Fetch("b", 1, math.MaxInt64, state.Backward))); diff != "" {
				t.Errorf("fetch b backward (-want +got):\n%s", diff)
			}
			want = []string{"b59999", "b60000"}
			if diff := cmp.Diff(want, rows(t, s.FetchRange(opt.Some("aa"), opt.None[string](), 1, 60_000, state.Forward))); diff != "" {
				t.Errorf("fetch from aa on (-want +got):\n%s", diff)
			}
		})
	}
}

// TestManySegments: a look for one key over more segments than one looks at one by
// one.
func TestManySegments(t *testing.T) {
	s := openWindow(t, state.WindowOptions{Retention: 200_000})
	put(t, s, "b", 1e9, true)
	s.Resume(0) // as if that had not been committed
	for start := int64(0); start < 200_000; start += 50_000 {
		put(t, s, "a", start, true)
		put(t, s, "b", start, true)
	}
	want := []string{"b0", "b50000", "b100000", "b150000", "b1000000000"}
	if diff := cmp.Diff(want, rows(t, s.Fetch("b", 0, math.MaxInt64, state.Forward))); diff != "" {
		t.Errorf("fetch (-want +got):\n%s", diff)
	}
}

func TestDuplicates(t *testing.T) {
	s, err := state.Window[string, opt.V[string]]("s", state.WindowOptions{Size: 10, Duplicates: true}).Open(bases(t), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []opt.V[string]{opt.Some("z"), opt.None[string](), opt.Some("y"), opt.Some("z")} {
		if ok, err := s.Put("k", 5, v, 0); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	var got []string
	for sc := s.Fetch("k", 0, 5, state.Forward); sc.Next(); {
		got = append(got, sc.Value().Value)
	}
	if diff := cmp.Diff([]string{"z", "y", "z"}, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if _, _, _, err := s.Get("k", 5); err == nil {
		t.Error("Get of a store with duplicates gives one of them")
	}
}

// TestChangelogOfKafkaStreams: a changelog without a record of the observed time, as
// Kafka Streams leaves it.
func TestChangelogOfKafkaStreams(t *testing.T) {
	s := openWindow(t, state.WindowOptions{Retention: 100, Duplicates: true})
	var recs []state.Change
	for i, start := range []uint64{0, 500, 480} {
		key := binary.BigEndian.AppendUint64([]byte("k"), start)
		key = binary.BigEndian.AppendUint32(key, uint32(i))
		recs = append(recs, state.Change{Key: key, Value: fmt.Appendf(nil, "k%d", start), Timestamp: 7})
	}
	if err := errors.Join(s.Restore(recs, state.Header{Position: 3}), s.Restored()); err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", 500, true)
	want := []string{"k480", "k500", "k500"}
	if diff := cmp.Diff(want, rows(t, s.Fetch("k", 0, 1000, state.Forward))); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if s.ObservedTime() != 500 {
		t.Errorf("observed %d, want 500", s.ObservedTime())
	}
}

func TestBadChangelogIsAnError(t *testing.T) {
	for name, c := range map[string]state.Change{
		"short key":  {Key: []byte("short"), Value: []byte("v")},
		"short time": {Key: []byte("clock"), Value: []byte("v")},
		"no time":    {Key: []byte("clock")},
	} {
		t.Run(name, func(t *testing.T) {
			s := openWindow(t, state.WindowOptions{Retention: 100})
			if err := s.Restore([]state.Change{c}, state.Header{}); !errors.Is(err, state.ErrDamaged) {
				t.Errorf("Restore: %v, want ErrDamaged", err)
			}
		})
	}
}

func TestDamagedRowsAreErrors(t *testing.T) {
	base := bases(t)
	s := state.OpenWindow("s", serde.String, serde.String, state.WindowOptions{Retention: 1000}, base, state.Options{})
	put(t, s, "k", 5, true)
	commit(t, s, 1)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	var w state.Writes
	w.Put([]byte("\x80\x00\x00\x00\x00\x00\x00\x00damaged"), make([]byte, 9))
	if err := base.Apply(&w, state.Header{}); err != nil {
		t.Fatal(err)
	}
	sc := s.All(state.Forward)
	if sc.Next() || !errors.Is(sc.Err(), state.ErrDamaged) {
		t.Errorf("scan: %v, want ErrDamaged", sc.Err())
	}
	w.Reset()
	w.Put([]byte{0}, []byte("no time"))
	if err := base.Apply(&w, state.Header{}); err != nil {
		t.Fatal(err)
	}
	s = state.OpenWindow("s", serde.String, serde.String, state.WindowOptions{Retention: 1000}, base, state.Options{})
	s.Observe(10)
	if _, err := s.Cell("k", 5); !errors.Is(err, state.ErrDamaged) {
		t.Errorf("Cell: %v, want ErrDamaged", err)
	}
	if _, err := s.Seal(); !errors.Is(err, state.ErrDamaged) {
		t.Errorf("Seal: %v, want ErrDamaged", err)
	}
	if sc := s.Committed().Fetch("k", 0, 9, state.Forward); sc.Next() || !errors.Is(sc.Err(), state.ErrDamaged) {
		t.Errorf("committed: %v, want ErrDamaged", sc.Err())
	}
}

func TestFingerprints(t *testing.T) {
	base := bases(t)
	window := func(o state.WindowOptions) state.Store {
		return state.OpenWindow("s", serde.String, serde.Int64, o, base, state.Options{})
	}
	session := state.OpenSession("s", serde.String, serde.Int64, state.SessionOptions{Gap: 3, Retention: 1e6}, base, state.Options{})
	list := state.OpenList("s", serde.String, serde.Int64, base, state.Options{})
	for _, c := range []struct {
		s            state.Store
		kind, serdes string
	}{
		{window(state.WindowOptions{Size: 10, Retention: 20}), "window", "string,int64,size=10,segment=60000"},
		{window(state.WindowOptions{Size: 10, Retention: 1e6, Duplicates: true, ByTime: true}), "window", "string,int64,size=10,segment=500000,duplicates,bytime"},
		{session, "session", "string,int64,gap=3,segment=500000"},
		{list, "list", "string,int64"},
	} {
		if c.s.Kind() != c.kind || c.s.Serdes() != c.serdes {
			t.Errorf("Kind, Serdes = %q, %q; want %q, %q", c.s.Kind(), c.s.Serdes(), c.kind, c.serdes)
		}
	}
}

func TestTimedUseBeforeRestoredIsRefused(t *testing.T) {
	s := openWindow(t, state.WindowOptions{Retention: 100})
	if err := s.Restore(nil, state.Header{Position: 3}); err != nil {
		t.Fatal(err)
	}
	_, cell := s.Cell("a", 1)
	_, put := s.Put("a", 1, "v", 0)
	for what, err := range map[string]error{"Cell": cell, "Put": put, "All": s.All(state.Forward).Err()} {
		if !errors.Is(err, state.ErrRestoring) {
			t.Errorf("%s: %v, want ErrRestoring", what, err)
		}
	}
}

func TestListWithNulls(t *testing.T) {
	s, err := state.List[string, opt.V[string]]("s").Open(bases(t), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []opt.V[string]{opt.Some("a"), opt.None[string](), opt.Some("")}
	for _, v := range want {
		if err := s.Append("k", v, 1); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, s, 1)
	s.Shrink(0) // read it from below
	var got []opt.V[string]
	if err := s.Each("k", func(v opt.V[string], _ int64) error {
		got = append(got, v)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

func TestPrefix(t *testing.T) {
	s, _ := open(t, state.KeyValue[string, int64]("s"), state.Options{})
	for i, key := range []string{"a", "ab", "abc", "ac", "\xff", "\xffa"} {
		if err := s.Put(key, int64(i), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		prefix string
		want   []string
	}{{"ab", []string{"abc", "ab"}}, {"\xff", []string{"\xffa", "\xff"}}, {"b", nil}} {
		var got []string
		sc := s.Prefix([]byte(c.prefix), state.Backward)
		for key := range sc.Seq() {
			got = append(got, key)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || sc.Err() != nil {
			t.Errorf("prefix %q: %v (-want +got):\n%s", c.prefix, sc.Err(), diff)
		}
	}
}

func TestWindowHotPathDoesNotAllocate(t *testing.T) {
	if invariant.Enabled {
		t.Skip("invariants encode every value")
	}
	s := state.OpenWindow("s", serde.Int64, serde.Int64, state.WindowOptions{Size: 60_000, Retention: 120_000}, bases(t), state.Options{})
	update := func() {
		for i := range int64(1000) {
			c, err := s.Cell(i, 60_000)
			if err != nil {
				t.Fatal(err)
			}
			if !s.Set(c, c.Value+1, i) {
				t.Fatal("refused")
			}
		}
	}
	update()
	commit(t, s, 1)
	update() // grows the list of dirty rows
	if n := testing.AllocsPerRun(10, update); n != 0 {
		t.Errorf("%v allocations for 1000 updates of rows in the cache, want none", n)
	}
}

func BenchmarkWindowHotUpdate(b *testing.B) {
	const n = 10_000
	s := state.OpenWindow("s", serde.String, serde.Int64, state.WindowOptions{Size: 60_000, Retention: 120_000}, bases(b), state.Options{CacheBytes: 1 << 30})
	keys := benchKeys(n)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		c, err := s.Cell(keys[i], 60_000)
		if err != nil {
			b.Fatal(err)
		}
		s.Set(c, c.Value+1, 1)
		if i++; i == len(keys) {
			i = 0
		}
	}
}

// BenchmarkSessionMerge is a session made longer by way of scans; see
// BenchmarkSessionRecord.
func BenchmarkSessionMerge(b *testing.B) {
	const n = 1000
	s := state.OpenSession("s", serde.String, serde.Int64, state.SessionOptions{Gap: 1000, Retention: 100_000}, bases(b), state.Options{})
	keys := benchKeys(n)
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		key, at := keys[i%n], i
		start, end, v := at, at, int64(1)
		sc := s.FindSessions(key, at-1000, at+1000, state.Forward)
		var old [][2]int64
		for sc.Next() {
			start, end, v = min(start, sc.Start()), max(end, sc.End()), v+sc.Value()
			old = append(old, [2]int64{sc.Start(), sc.End()})
		}
		for _, o := range old {
			if _, err := s.Remove(key, o[0], o[1], at); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := s.Put(key, start, end, v, at); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkListAppend(b *testing.B) {
	s := state.OpenList("s", serde.String, serde.Int64, bases(b), state.Options{})
	keys := benchKeys(1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key := keys[i%1000]
		if err := s.Append(key, 1, 1); err != nil {
			b.Fatal(err)
		}
		if n, err := s.Len(key); err != nil {
			b.Fatal(err)
		} else if n == 10 {
			if err := s.DropFront(key, n); err != nil {
				b.Fatal(err)
			}
		}
	}
}
