// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// TestBudget: many stores, each of which could take all by its own limit, keep
// within what they have together, and tell when only a commit makes room.
func TestBudget(t *testing.T) {
	const limit, n = 8 << 20, 8
	b := state.NewBudget(limit)
	db, err := state.Memory().Open("task")
	if err != nil {
		t.Fatal(err)
	}
	var stores []*state.KeyValueStore[string, string]
	for i := range n {
		base, err := db.Base(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, state.OpenKeyValue("s", serde.String, serde.String, base, state.Options{Budget: b, ApplyBytes: 1}))
	}
	value := strings.Repeat("v", 200)
	for round := range 60 {
		for _, s := range stores {
			for i := range 100 {
				if err := s.Put(fmt.Sprint(round, i), value, 0); err != nil {
					t.Fatal(err)
				}
			}
			commit(t, s, int64(round+1))
		}
		if dirty, cached := b.Used(); dirty+cached > b.Layers() || dirty != 0 {
			t.Fatalf("round %d: %d dirty, %d cached of %d", round, dirty, cached, b.Layers())
		}
	}
	if _, cached := b.Used(); cached < b.Layers()/4 {
		t.Errorf("only %d of %d are used", cached, b.Layers())
	}
	if b.CommitSoon() || b.Full() {
		t.Error("a commit is asked for where nothing is open")
	}
	soon := 0
	for i := 0; !b.Full(); i++ {
		if err := stores[i%n].Put(fmt.Sprint("more", i), value, 0); err != nil {
			t.Fatal(err)
		}
		stores[i%n].Bytes()
		if b.CommitSoon() && soon == 0 {
			soon = i
		}
	}
	dirty, cached := b.Used()
	if soon == 0 || dirty > b.Layers()+1000 || dirty+cached > limit {
		t.Errorf("full with %d dirty, %d cached of %d; asked for a commit at %d", dirty, cached, limit, soon)
	}
	for _, s := range stores {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if dirty, cached := b.Used(); dirty != 0 || cached != 0 {
		t.Errorf("%d dirty, %d cached after all are closed", dirty, cached)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
