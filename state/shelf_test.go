// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/invariant"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// A countedBase counts reads, and keeps the writes of rows.
type countedBase struct {
	state.Base
	reads, puts, deletes int
}

func (b *countedBase) AppendGet(dst, key []byte) ([]byte, bool, error) {
	b.reads++
	return b.Base.AppendGet(dst, key)
}

func (b *countedBase) Iterate(lower, upper []byte, o state.Order) (state.Iterator, error) {
	b.reads++
	return b.Base.Iterate(lower, upper, o)
}

func (b *countedBase) Apply(w *state.Writes, h state.Header) error {
	for _, c := range w.List() {
		switch {
		case c.Range, len(c.Key) == 1: // not rows
		case c.Delete:
			b.deletes++
		default:
			b.puts++
		}
	}
	return b.Base.Apply(w, h)
}

const sessionGap = 1000

// bump takes a record into the sessions of a key, as an aggregation does.
func bump(t testing.TB, s *state.SessionStore[string, int64], rows []state.Row[int64], key string, at int64) []state.Row[int64] {
	t.Helper()
	rows, err := s.AppendSessions(rows[:0], key, at-sessionGap, at+sessionGap)
	if err != nil {
		t.Fatal(err)
	}
	start, end, n := at, at, int64(1)
	for _, r := range rows {
		start, end, n = min(start, r.Start), max(end, r.End), n+r.Value
		if _, err := s.Remove(key, r.Start, r.End, r.End); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Put(key, start, end, n, end); err != nil {
		t.Fatal(err)
	}
	return rows
}

func openSessions(t testing.TB, o state.Options) (*state.SessionStore[string, int64], *countedBase) {
	t.Helper()
	b := &countedBase{Base: bases(t)}
	return state.OpenSession("s", serde.String, serde.Int64, state.SessionOptions{Gap: sessionGap, Retention: 60_000}, b, o), b
}

func TestSessionsOfRecentTimesAreFoundWithoutTheBase(t *testing.T) {
	s, b := openSessions(t, state.Options{})
	var rows []state.Row[int64]
	rows = bump(t, s, rows, "k0", 0)
	began := b.reads // of the clock
	for i := int64(1); i < 5000; i++ {
		rows = bump(t, s, rows, fmt.Sprint("k", i%100), i*10)
		if i%50 == 0 {
			commit(t, s, i)
		}
	}
	if b.reads != began {
		t.Errorf("%d reads of the base, want none", b.reads-began)
	}
	if len(rows) != 1 || rows[0].Value != 49 {
		t.Errorf("the last record met %+v, want one session of 49 records", rows)
	}
}

func TestSessionsThatNobodyCanSeeAreNotWritten(t *testing.T) {
	s, b := openSessions(t, state.Options{ApplyBytes: 1 << 40})
	for at := range int64(10) {
		bump(t, s, nil, "k", at)
	}
	l, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := l.Each(func(c state.Change) error {
		got = append(got, fmt.Sprintf("%q %v", c.Key, c.Value != nil))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{`"k\x00\x00\x00\x00\x00\x00\x00\t\x00\x00\x00\x00\x00\x00\x00\x00" true`, `"clock" true`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sealed (-want +got):\n%s", diff)
	}
	if err := s.Commit(l, state.Header{Position: 1}); err != nil {
		t.Fatal(err)
	}
	for at := range int64(10) {
		bump(t, s, nil, "k", 10+at)
		commit(t, s, 2+at)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if b.puts != 1 || b.deletes != 0 {
		t.Errorf("the base got %d rows and %d removals, want the one row there is", b.puts, b.deletes)
	}
	bump(t, s, nil, "k", 20)
	commit(t, s, 20)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if b.puts != 2 || b.deletes != 1 {
		t.Errorf("the base got %d rows and %d removals, want the new row, and the old one removed", b.puts, b.deletes)
	}
}

func TestRemovalsAfterADiscardAreWritten(t *testing.T) {
	s, _ := openSessions(t, state.Options{})
	bump(t, s, nil, "other", 0)
	commit(t, s, 1)
	bump(t, s, nil, "k", 5) // may be in the changelog when its commit fails
	if _, err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	s.Discard()
	bump(t, s, nil, "k", 5)
	bump(t, s, nil, "k", 6)
	l, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	removed := 0
	if err := l.Each(func(c state.Change) error {
		if c.Value == nil {
			removed++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if removed != 1 {
		t.Errorf("%d removals sealed, want that of the session that was put before", removed)
	}
}

func TestRowsThatAreGoneDoNotReachTheBase(t *testing.T) {
	b := &countedBase{Base: bases(t)}
	o := state.WindowOptions{Size: 10, Retention: 10, Duplicates: true}
	s := state.OpenWindow("s", serde.String, serde.Int64, o, b, state.Options{ApplyBytes: 1 << 40})
	for at := range int64(20) {
		if _, err := s.Put("k", at, at, at); err != nil {
			t.Fatal(err)
		}
		commit(t, s, at)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if b.puts != 10 {
		t.Errorf("the base got %d rows, want the 10 that are kept", b.puts)
	}
}

func TestShelfKeepsWithinItsMemory(t *testing.T) {
	const limit = 256 << 10
	o := state.WindowOptions{Size: 10, Retention: 1 << 40, Duplicates: true}
	b := &countedBase{Base: bases(t)}
	s := state.OpenWindow("s", serde.String, serde.Bytes, o, b, state.Options{CacheBytes: limit})
	for i := range int64(20_000) {
		if _, err := s.Put(fmt.Sprint("k", i%5000), i, make([]byte, 100), i); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 {
			commit(t, s, i)
		}
		if _, cached := s.Bytes(); cached > limit*3/2 {
			t.Fatalf("%d bytes cached, of %d", cached, limit)
		}
	}
	began := b.reads
	for _, key := range []string{"k1", "k4999"} { // not used for long, and just now
		rows, err := s.AppendRows(nil, key, 0, 1<<40)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != 4 {
			t.Errorf("%d rows of %s, want 4", len(rows), key)
		}
	}
	if b.reads == began {
		t.Error("what was dropped came without the base")
	}
}

func TestOneKeyDoesNotDriveAllOthersOut(t *testing.T) {
	o := state.WindowOptions{Size: 10, Retention: 1 << 40, Duplicates: true}
	b := &countedBase{Base: bases(t)}
	s := state.OpenWindow("s", serde.String, serde.Int64, o, b, state.Options{CacheBytes: 64 << 10})
	if _, err := s.Put("small", 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	for i := range int64(5000) {
		if _, err := s.Put("big", i, i, i); err != nil {
			t.Fatal(err)
		}
	}
	began := b.reads
	for key, want := range map[string]int{"small": 1, "big": 5000} {
		rows, err := s.AppendRows(nil, key, 0, 1<<40)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != want {
			t.Errorf("%d rows of %s, want %d", len(rows), key, want)
		}
	}
	if b.reads != began+1 {
		t.Errorf("%d reads of the base, want that for the big key", b.reads-began)
	}
}

func TestShelfHotPathAllocatesNothingInTheLongRun(t *testing.T) {
	if invariant.Enabled {
		t.Skip("invariants encode every value")
	}
	keys := benchKeys(200)
	sessions, _ := openSessions(t, state.Options{})
	joined := state.OpenWindow("s", serde.String, serde.Int64, state.WindowOptions{Size: 500, Retention: 500, Duplicates: true}, bases(t), state.Options{})
	var found, met []state.Row[int64]
	at := int64(0)
	for name, step := range map[string]func(key string){
		"session": func(key string) { found = bump(t, sessions, found, key, at) },
		"join": func(key string) {
			if _, err := joined.Put(key, at, at, at); err != nil {
				t.Fatal(err)
			}
			var err error
			if met, err = joined.AppendRows(met[:0], key, at-500, at+500); err != nil {
				t.Fatal(err)
			}
		},
	} {
		store := map[string]state.Store{"session": sessions, "join": joined}[name]
		const records = 5000
		got := testing.AllocsPerRun(10, func() {
			for i := range records {
				at++
				step(keys[i%len(keys)])
			}
			commit(t, store, at)
		})
		if got > records/50 { // a commit makes a layer
			t.Errorf("%s: %v allocations for %d records and a commit", name, got, records)
		}
	}
}

// BenchmarkSessionRecord is a record that makes a session longer, with a commit every
// 2500 of them.
func BenchmarkSessionRecord(b *testing.B) {
	s, _ := openSessions(b, state.Options{})
	keys := benchKeys(2500)
	var rows []state.Row[int64]
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		rows = bump(b, s, rows, keys[i%2500], i*200/2500)
		if i%2500 == 2499 {
			commit(b, s, i)
		}
	}
}

// BenchmarkJoinRecord is a record of a join: it is put, and looked for are those that
// it meets, with a commit every 2500 of them.
func BenchmarkJoinRecord(b *testing.B) {
	for _, by := range []string{"scan", "rows"} {
		b.Run("by="+by, func(b *testing.B) {
			o := state.WindowOptions{Size: 10_000, Retention: 10_000, Duplicates: true}
			s := state.OpenWindow("s", serde.String, serde.Bytes, o, bases(b), state.Options{})
			keys := benchKeys(6000)
			value := make([]byte, 100)
			var rows []state.Row[[]byte]
			b.ReportAllocs()
			for i := int64(0); b.Loop(); i++ {
				key, at := keys[i%6000], i
				if _, err := s.Put(key, at, value, at); err != nil {
					b.Fatal(err)
				}
				rows = rows[:0]
				var err error
				if by == "rows" {
					rows, err = s.AppendRows(rows, key, at-5000, at+5000)
				} else {
					sc := s.Fetch(key, at-5000, at+5000, state.Forward)
					for sc.Next() {
						rows = append(rows, state.Row[[]byte]{Start: sc.Start(), Value: sc.Value()})
					}
					err = sc.Err()
				}
				if err != nil {
					b.Fatal(err)
				}
				if i%2500 == 2499 {
					commit(b, s, i)
				}
			}
		})
	}
}
