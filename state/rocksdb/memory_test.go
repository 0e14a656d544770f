// SPDX-License-Identifier: Apache-2.0

//go:build rocksdb

package rocksdb

import (
	"fmt"
	"testing"

	"github.com/millrace/millrace/state"
)

// What many stores take from their first write on is a small part of the write buffers,
// which are to hold writes; and buffers and blocks together keep to their sum.
func TestManyStoresShareTheMemory(t *testing.T) {
	const dbs = 16
	budget := state.NewBudget(32 << 20)
	at := At(t.TempDir())
	at.(state.Budgeted).UseBudget(budget, dbs)
	var all []state.DB
	var bases []state.Base
	for i := range dbs {
		db, err := at.Open(fmt.Sprint("task", i))
		if err != nil {
			t.Fatal(err)
		}
		base, err := db.Base("store")
		if err != nil {
			t.Fatal(err)
		}
		all, bases = append(all, db), append(bases, base)
	}
	var w state.Writes
	put := func(round int, bytes int) {
		for _, b := range bases {
			w.Reset()
			for i := range bytes / 1024 {
				w.Put(fmt.Appendf(nil, "%d-%d", round, i), make([]byte, 1024))
			}
			if err := b.Apply(&w, state.Header{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := at.(*backend).shared
	put(0, 1024)
	if n := s.buffers.MemoryUsage(); int64(n) > budget.WriteBuffers()/2 {
		t.Errorf("%d stores with a row each take %d of %d bytes of the write buffers", dbs, n, budget.WriteBuffers())
	}
	for round := range 20 {
		put(round, 256<<10)
		if n := s.buffers.MemoryUsage(); int64(n) > s.mostBuffers+1<<20 { // and what came last
			t.Errorf("round %d: %d of %d bytes are in write buffers", round, n, s.mostBuffers)
		}
	}
	for _, db := range all {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := at.Close(); err != nil {
		t.Error(err)
	}
}

func TestLimitsAreSharedOut(t *testing.T) {
	tests := []struct {
		name                    string
		limits                  limits
		memtable, arena, shards int64
	}{
		{"one DB", limits{blockCache: 64 << 20, writeBuffers: 128 << 20, dbs: 1}, 64 << 20, 256 << 10, 8},
		{"DBs that are not counted", limits{blockCache: 64 << 20, writeBuffers: 128 << 20}, 64 << 20, 256 << 10, 8},
		{"64 DBs", limits{blockCache: 48 << 20, writeBuffers: 48 << 20, dbs: 64}, 3 << 20, 192 << 10, 4},
		{"little for many", limits{blockCache: 1 << 20, writeBuffers: 1 << 20, dbs: 1000}, 1 << 20, 64 << 10, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := tt.limits
			if m, a, s := l.memtable(), l.arenaBlock(), int64(1)<<l.shardBits(); m != tt.memtable || a != tt.arena || s != tt.shards {
				t.Errorf("memtable %d, arena block %d, shards %d, want %d, %d, %d", m, a, s, tt.memtable, tt.arena, tt.shards)
			}
		})
	}
}
