// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// aged is a store of rows that live ten seconds, with its changelog.
type aged struct {
	store *state.SessionStore[string, int64]
	base  *countedBase
	log   []state.Change
}

func openAged(base *countedBase) *state.SessionStore[string, int64] {
	return state.OpenSession("s", serde.String, serde.Int64,
		state.SessionOptions{Gap: sessionGap, Retention: 10 * sessionGap}, base, state.Options{ApplyBytes: 4 << 10})
}

func (a *aged) commit(t *testing.T) {
	t.Helper()
	l, err := a.store.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Each(func(c state.Change) error {
		a.log = append(a.log, c)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := a.store.Commit(l, state.Header{Position: int64(len(a.log))}); err != nil {
		t.Fatal(err)
	}
}

// at is how far the base is.
func (a *aged) at(t *testing.T) int {
	t.Helper()
	h, _, err := a.base.Header()
	if err != nil {
		t.Fatal(err)
	}
	return int(h.Position)
}

func rowsOf(t *testing.T, s *state.SessionStore[string, int64]) []string {
	t.Helper()
	var rows []string
	sc := s.All(state.Forward)
	for sc.Next() {
		rows = append(rows, fmt.Sprint(sc.Key(), sc.Start(), sc.End(), sc.Value(), sc.Timestamp()))
	}
	if err := errors.Join(sc.Err(), sc.Close()); err != nil {
		t.Fatal(err)
	}
	return rows
}

// copied is what a crash would leave of a base if all it has were durable.
func copied(t *testing.T, from state.Base) *countedBase {
	t.Helper()
	it, err := from.Iterate(nil, nil, state.Forward)
	if err != nil {
		t.Fatal(err)
	}
	var w state.Writes
	for it.Next() {
		w.Put(bytes.Clone(it.Key()), bytes.Clone(it.Value()))
	}
	h, _, err := from.Header()
	to := bases(t)
	if err := errors.Join(err, it.Err(), it.Close(), to.Load(&w, h)); err != nil {
		t.Fatal(err)
	}
	return &countedBase{Base: to}
}

// TestRowsThatLiveShortlyAreNotWritten: their layers go to the base when newer ones have
// told that they are gone.
func TestRowsThatLiveShortlyAreNotWritten(t *testing.T) {
	a := &aged{base: &countedBase{Base: bases(t)}}
	a.store = openAged(a.base)
	for at := int64(0); at < 1_000_000; at += 1000 {
		if _, err := a.store.Put("k", at, at, at, at); err != nil {
			t.Fatal(err)
		}
		a.commit(t)
	}
	if a.base.puts > 0 || a.base.deletes > 0 {
		t.Errorf("the base got %d rows and %d removals", a.base.puts, a.base.deletes)
	}
	if at := a.at(t); at < len(a.log)-100 || at == len(a.log) {
		t.Errorf("the base is at %d of %d", at, len(a.log))
	}
	if err := a.store.Flush(); err != nil {
		t.Fatal(err)
	}
	if a.base.puts != 10 || a.at(t) != len(a.log) {
		t.Errorf("after a Flush the base has %d rows and is at %d of %d", a.base.puts, a.at(t), len(a.log))
	}
}

// TestABaseIsWhatItsHeaderSays: whatever of the layers it has got, with the changelog
// from its position on it makes the same store.
func TestABaseIsWhatItsHeaderSays(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	a := &aged{base: &countedBase{Base: bases(t)}}
	a.store = openAged(a.base)
	behind := 0
	for i := range int64(3000) {
		at := i*100 + r.Int64N(5000)
		bump(t, a.store, nil, fmt.Sprint("k", r.IntN(5)), at)
		if r.IntN(3) > 0 {
			continue
		}
		a.commit(t)
		if r.IntN(10) > 0 {
			continue
		}
		from := a.at(t)
		if from < len(a.log) {
			behind++
		}
		again := openAged(copied(t, a.base))
		if err := errors.Join(again.Restore(a.log[from:], state.Header{Position: int64(len(a.log))}), again.Restored()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rowsOf(t, a.store), rowsOf(t, again)); diff != "" {
			t.Fatalf("after %d records, with the base at %d (-store +restored):\n%s", len(a.log), from, diff)
		}
	}
	if behind == 0 {
		t.Error("the base was never behind")
	}
}
