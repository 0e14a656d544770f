// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/invariant"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// open makes a store in memory.
func open[K, V any](t testing.TB, h state.KV[K, V], o state.Options) (*state.KeyValueStore[K, V], state.Base) {
	t.Helper()
	db, err := state.Memory().Open("task")
	if err != nil {
		t.Fatal(err)
	}
	base, err := db.Base(h.Name())
	if err != nil {
		t.Fatal(err)
	}
	s, err := h.Open(base, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return s, base
}

// commit seals the open layer and commits it.
func commit(t testing.TB, s state.Store, position int64) {
	t.Helper()
	l, err := s.Seal()
	if err == nil {
		err = s.Commit(l, state.Header{Position: position})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestHandleFindsSerdes(t *testing.T) {
	s, _ := open(t, state.KeyValue[string, int64]("counts"), state.Options{})
	if s.Name() != "counts" || s.Kind() != "keyvalue" || s.Serdes() != "string,int64" {
		t.Errorf("Name, Kind, Serdes = %q, %q, %q", s.Name(), s.Kind(), s.Serdes())
	}
	_, err := state.KeyValue[string, func()]("bad").Open(nil, state.Options{})
	if !errors.Is(err, serde.ErrNone) {
		t.Errorf("Open of a store of functions: %v, want ErrNone", err)
	}
	other := serde.String
	other.Name = "other"
	s2, _ := open(t, state.KeyValue[string, string]("s").Keys(other).Values(other), state.Options{})
	if s2.Serdes() != "other,other" {
		t.Errorf("Serdes = %q", s2.Serdes())
	}
}

func TestNullValueDeletes(t *testing.T) {
	s, base := open(t, state.KeyValue[string, opt.V[int64]]("s"), state.Options{ApplyBytes: 1})
	if err := s.Put("a", opt.Some(int64(1)), 10); err != nil {
		t.Fatal(err)
	}
	commit(t, s, 1)
	if err := s.Put("a", opt.None[int64](), 20); err != nil {
		t.Fatal(err)
	}
	l, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Each(func(c state.Change) error {
		if string(c.Key) != "a" || c.Value != nil || c.Timestamp != 20 {
			t.Errorf("change = %q %v at %d, want a tombstone of a at 20", c.Key, c.Value, c.Timestamp)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(l, state.Header{Position: 2}); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := base.AppendGet(nil, []byte("a")); ok || err != nil {
		t.Errorf("base still has it: %v, %v", ok, err)
	}
}

func TestNullKeyIsRefused(t *testing.T) {
	s, _ := open(t, state.KeyValue[opt.V[string], int64]("s"), state.Options{})
	if err := s.Put(opt.None[string](), 1, 0); !errors.Is(err, serde.ErrNull) {
		t.Errorf("Put under null: %v, want ErrNull", err)
	}
	if err := s.Put(opt.Some(""), 1, 0); err != nil {
		t.Errorf("Put under the empty key: %v", err)
	}
}

func TestBaseFormatIsTimestampAndValue(t *testing.T) {
	s, base := open(t, state.KeyValue[string, string]("s"), state.Options{})
	if err := s.Put("k", "v", 0x0102030405060708); err != nil {
		t.Fatal(err)
	}
	commit(t, s, 1)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	got, ok, err := base.AppendGet(nil, []byte("k"))
	if want := "\x01\x02\x03\x04\x05\x06\x07\x08v"; string(got) != want || !ok || err != nil {
		t.Errorf("base holds %q, %v, %v; want %q", got, ok, err, want)
	}
}

func TestDamagedValueIsAnError(t *testing.T) {
	s, base := open(t, state.KeyValue[string, int64]("s"), state.Options{})
	var w state.Writes
	w.Put([]byte("short"), []byte{1, 2, 3})
	w.Put([]byte("wrong"), make([]byte, 8+3))
	if err := base.Apply(&w, state.Header{}); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.Get("short"); !errors.Is(err, state.ErrDamaged) {
		t.Errorf("short: %v, want ErrDamaged", err)
	}
	if _, _, _, err := s.Get("wrong"); err == nil {
		t.Error("wrong length was decoded")
	}
	if sc := s.All(state.Forward); sc.Next() || !errors.Is(sc.Err(), state.ErrDamaged) {
		t.Errorf("scan: %v, want ErrDamaged", sc.Err())
	}
	if v, _, ok, err := s.Get("fine"); v != 0 || ok || err != nil {
		t.Errorf("another key: %v, %v, %v", v, ok, err)
	}
}

func TestEncodeErrorKeepsTheOpenLayer(t *testing.T) {
	bad := errors.New("no encoding for 13")
	values := serde.Int64
	values.Append = func(dst []byte, v int64) ([]byte, error) {
		if v == 13 {
			return dst, bad
		}
		return serde.Int64.Append(dst, v)
	}
	s, _ := open(t, state.KeyValue[string, int64]("s").Values(values), state.Options{})
	for i, key := range []string{"a", "b", "c"} {
		if err := s.Put(key, int64(12+i), 0); err != nil {
			t.Fatal(err)
		}
	}
	if l, err := s.Seal(); l != nil || !errors.Is(err, bad) {
		t.Fatalf("Seal = %v, %v; want the serde's error", l, err)
	}
	if err := s.Put("b", 1, 0); err != nil {
		t.Fatal(err)
	}
	if l, err := s.Seal(); err != nil || l.Len() != 3 {
		t.Errorf("second Seal: %v", err)
	}
}

func TestUseBeforeRestoredIsRefused(t *testing.T) {
	s, _ := open(t, state.KeyValue[string, int64]("s"), state.Options{})
	if err := s.Restore(nil, state.Header{Position: 3}); err != nil {
		t.Fatal(err)
	}
	_, _, _, get := s.Get("a")
	for what, err := range map[string]error{
		"Get": get, "Put": s.Put("a", 1, 0), "Delete": s.Delete("a", 0),
		"Prefetch": s.Prefetch([]string{"a"}), "All": s.All(state.Forward).Err(),
	} {
		if !errors.Is(err, state.ErrRestoring) {
			t.Errorf("%s: %v, want ErrRestoring", what, err)
		}
	}
	if err := s.Restored(); err != nil {
		t.Fatal(err)
	}
	if err := s.Put("a", 1, 0); err != nil {
		t.Error(err)
	}
}

func TestDiscardWithTwoSealedLayers(t *testing.T) {
	s, _ := open(t, state.KeyValue[string, int64]("s"), state.Options{})
	put := func(v int64) {
		t.Helper()
		if err := s.Put("k", v, v); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	commit(t, s, 1)
	for v := int64(2); v < 4; v++ {
		put(v)
		if _, err := s.Seal(); err != nil {
			t.Fatal(err)
		}
	}
	put(4)
	s.Discard()
	if v, ts, ok, err := s.Get("k"); v != 1 || ts != 1 || !ok || err != nil {
		t.Errorf("after Discard k = %d at %d, %v, %v; want 1", v, ts, ok, err)
	}
	if l, err := s.Seal(); l != nil || err != nil {
		t.Errorf("Seal after Discard = %v, %v; want nothing", l, err)
	}
	if err := s.Commit(nil, state.Header{Position: 2}); err != nil {
		t.Error(err)
	}
}

func TestCommittedLayersReachTheBaseInLumps(t *testing.T) {
	s, base := open(t, state.KeyValue[string, int64]("s"), state.Options{})
	var applies []int64
	for i := int64(1); i <= 20; i++ {
		if err := s.Put("hot", i, i); err != nil {
			t.Fatal(err)
		}
		commit(t, s, i)
		if h, ok, _ := base.Header(); ok && !slices.Contains(applies, h.Position) {
			applies = append(applies, h.Position)
		}
		if v, _, _, err := s.Committed().Get("hot"); v != i || err != nil {
			t.Fatalf("committed view has %d, %v after commit %d", v, err, i)
		}
	}
	if diff := cmp.Diff([]int64{8, 16}, applies); diff != "" {
		t.Errorf("positions at which the base was written (-want +got):\n%s", diff)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if h, _, _ := base.Header(); h.Position != 20 {
		t.Errorf("after Flush the base is at %d, want 20", h.Position)
	}
}

func TestBytesAndEviction(t *testing.T) {
	const limit = 64 << 10
	s, _ := open(t, state.KeyValue[string, string]("s"), state.Options{CacheBytes: limit, ApplyBytes: 1})
	for round := range 20 {
		for i := range 100 {
			if err := s.Put(fmt.Sprintf("key-%d-%d", round, i), "some value of some length", 1); err != nil {
				t.Fatal(err)
			}
		}
		if dirty, _ := s.Bytes(); dirty < 100*100 {
			t.Errorf("round %d: 100 dirty entries weigh %d", round, dirty)
		}
		commit(t, s, int64(round))
		if dirty, _ := s.Bytes(); dirty != 0 {
			t.Errorf("round %d: %d dirty bytes after the base has all", round, dirty)
		}
	}
	if _, cached := s.Bytes(); cached > 2*limit {
		t.Errorf("%d bytes cached with a limit of %d", cached, limit)
	}
	s.Shrink(1000)
	if _, cached := s.Bytes(); cached > 1000 {
		t.Errorf("%d bytes cached after Shrink(1000)", cached)
	}
}

// TestCommittedViewBesideTheWorker: each commit gives all keys the same value, so a
// scan that sees two values mixes two commits.
func TestCommittedViewBesideTheWorker(t *testing.T) {
	const keys, commits, readers = 20, 400, 3
	s, _ := open(t, state.KeyValue[int64, int64]("s"), state.Options{ApplyBytes: 600, CacheBytes: 1})
	view := s.Committed()
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			last := int64(0)
			for {
				select {
				case <-done:
					return
				default:
				}
				last = max(last, readAll(t, view, keys))
				if v, _, _, err := view.Get(1); err != nil || v < last {
					t.Errorf("get 1 = %d, %v after a scan of %d", v, err, last)
				}
			}
		})
	}
	for n := int64(1); n <= commits; n++ {
		for key := range int64(keys) {
			if err := s.Put(key, n, n); err != nil {
				t.Fatal(err)
			}
		}
		commit(t, s, n)
	}
	close(done)
	wg.Wait()
	if n := readAll(t, view, keys); n != commits {
		t.Errorf("at last all are %d, want %d", n, commits)
	}
}

// hookBase calls a function before each Iterate.
type hookBase struct {
	state.Base
	hook func()
}

func (b *hookBase) Iterate(lower, upper []byte, o state.Order) (state.Iterator, error) {
	b.hook()
	return b.Base.Iterate(lower, upper, o)
}

// TestCommittedScanAsTheBaseMovesOn: the scan has looked at the committed layers;
// before it looks at the base, the worker commits and the base takes all.
func TestCommittedScanAsTheBaseMovesOn(t *testing.T) {
	_, base := open(t, state.KeyValue[string, int64]("s"), state.Options{})
	hooked := &hookBase{Base: base, hook: func() {}}
	s := state.OpenKeyValue("s", serde.String, serde.Int64, hooked, state.Options{})
	put := func(v int64, keys ...string) {
		t.Helper()
		for _, key := range keys {
			if err := s.Put(key, v, 0); err != nil {
				t.Fatal(err)
			}
		}
		commit(t, s, v)
	}
	put(1, "a", "b")
	hooked.hook = func() {
		hooked.hook = func() {}
		put(2, "b", "c")
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	sc := s.Committed().All(state.Forward)
	got := maps.Collect(sc.Seq())
	want := map[string]int64{"a": 1, "b": 2, "c": 2}
	if diff := cmp.Diff(want, got); diff != "" || sc.Err() != nil {
		t.Errorf("scan mixes two commits, %v (-want +got):\n%s", sc.Err(), diff)
	}
}

// readAll scans the view and gives the one value of all keys.
func readAll(t *testing.T, view state.View[int64, int64], keys int) int64 {
	seen, n := map[int64]bool{}, 0
	sc := view.All(state.Forward)
	for _, v := range sc.Seq() {
		seen[v] = true
		n++
	}
	if sc.Err() != nil {
		t.Errorf("scan: %v", sc.Err())
	}
	if n == 0 {
		return 0
	}
	if n != keys || len(seen) != 1 {
		t.Errorf("a scan saw %d keys with values %v; want %d of one commit", n, seen, keys)
	}
	for v := range seen {
		return v
	}
	return 0
}

func TestScanClosesAndStops(t *testing.T) {
	s, _ := open(t, state.KeyValue[string, int64]("s"), state.Options{})
	for i, key := range []string{"a", "b", "c"} {
		if err := s.Put(key, int64(i), 0); err != nil {
			t.Fatal(err)
		}
	}
	sc := s.Range(opt.Some("b"), opt.Some("c"), state.Backward)
	var keys []string
	for key := range sc.Seq() {
		keys = append(keys, key)
		if key == "c" {
			break
		}
	}
	if sc.Err() != nil || !slices.Equal(keys, []string{"c"}) {
		t.Errorf("keys = %v, %v", keys, sc.Err())
	}
	if sc.Next() {
		t.Error("a closed scan goes on")
	}
	if err := sc.Close(); err != nil {
		t.Error(err)
	}
}

func TestChangedBehindItsBack(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("found under -tags invariants only")
	}
	s, _ := open(t, state.KeyValue[string, []byte]("s"), state.Options{})
	v := []byte("value")
	if err := s.Put("fine", []byte("value"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Put("k", v, 0); err != nil {
		t.Fatal(err)
	}
	v[0] = 'V'
	if _, err := s.Seal(); !errors.Is(err, state.ErrNotFrozen) {
		t.Errorf("Seal: %v, want ErrNotFrozen", err)
	}
	if err := s.Put("k", v, 0); err != nil { // given anew it is fine
		t.Fatal(err)
	}
	if _, err := s.Seal(); err != nil {
		t.Errorf("Seal: %v", err)
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	if invariant.Enabled {
		t.Skip("invariants encode every value")
	}
	s, _ := open(t, state.KeyValue[string, int64]("s"), state.Options{})
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%d", i)
	}
	update := func() {
		for i, key := range keys {
			c, err := s.Cell(key)
			if err != nil {
				t.Fatal(err)
			}
			s.Set(c, c.Value+1, int64(i))
		}
	}
	update()
	commit(t, s, 1)
	update() // grows the list of dirty entries
	if n := testing.AllocsPerRun(10, update); n != 0 {
		t.Errorf("%v allocations for %d updates of keys in the cache, want none", n, len(keys))
	}
}

func BenchmarkHotUpdate(b *testing.B) {
	for _, n := range []int{1000, 10_000, 64_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			s, _ := open(b, state.KeyValue[string, int64]("s"), state.Options{CacheBytes: 1 << 30})
			keys := benchKeys(n)
			for _, key := range keys {
				if err := s.Put(key, 0, 0); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c, err := s.Cell(keys[i])
				if err != nil {
					b.Fatal(err)
				}
				s.Set(c, c.Value+1, 1)
				if i++; i == len(keys) {
					i = 0
				}
			}
		})
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			s, _ := open(b, state.KeyValue[string, int64]("s"), state.Options{CacheBytes: 1 << 30})
			keys := benchKeys(n)
			b.ReportAllocs()
			for b.Loop() {
				for _, key := range keys {
					c, err := s.Cell(key)
					if err != nil {
						b.Fatal(err)
					}
					s.Set(c, c.Value+1, 1)
				}
				commit(b, s, 1)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/key")
		})
	}
}

// benchKeys makes words of about 8 bytes in an order that no cache likes.
func benchKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("w%x", uint32(i)*2654435761)
	}
	return keys
}
