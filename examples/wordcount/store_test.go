// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// A stamped count is a count with the time of its last word.
type stamped struct {
	n  int64
	at int64 // ms since the Unix epoch
}

// A held is what a partition of the counts' store holds.
type held struct {
	counts   map[string]stamped
	position int64 // next offset of the changelog
}

// storesIn reads the stores that an instance has left in its data directory for
// one cluster, by partition.
func storesIn(t *testing.T, data, clusterID string) map[int32]held {
	t.Helper()
	backend := millrace.Stores(data)
	defer func() {
		if err := backend.Close(); err != nil {
			t.Error(err)
		}
	}()
	app := filepath.Join(clusterID, group)
	folders, err := os.ReadDir(filepath.Join(backend.Dir(), app))
	if err != nil {
		t.Fatal(err)
	}
	stores := map[int32]held{}
	for _, folder := range folders {
		db, err := backend.Open(filepath.Join(app, folder.Name()))
		if err != nil {
			t.Fatalf("open the state in %s: %v", folder.Name(), err)
		}
		num, h := storeIn(t, db)
		stores[num] = h
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	return stores
}

func storeIn(t *testing.T, db state.DB) (int32, held) {
	t.Helper()
	base, err := db.Base("counts")
	if err != nil {
		t.Fatal(err)
	}
	header, ok, err := base.Header()
	if !ok || err != nil {
		t.Fatalf("header of a store: %v, %v", ok, err)
	}
	h := held{counts: map[string]stamped{}, position: header.Position}
	store := state.OpenKeyValue("counts", serde.String, serde.Int64, base, state.Options{})
	scan := store.All(state.Forward)
	for scan.Next() {
		h.counts[scan.Key()] = stamped{scan.Value(), scan.Timestamp()}
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
	scan.Close()
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	return header.Partition, h
}

// fold reads the changelog from its start, by partition.
func (c *cluster) fold(t *testing.T) map[int32]held {
	t.Helper()
	folded := map[int32]held{}
	for p, end := range c.ends(t, changelog) {
		folded[p.num] = held{map[string]stamped{}, end}
	}
	c.read(t, changelog, func(r *kgo.Record) {
		if r.Value == nil {
			delete(folded[r.Partition].counts, string(r.Key))
			return
		}
		n, err := serde.Int64.Decode(r.Value)
		if err != nil {
			t.Fatalf("%s-%d, offset %d: %v", r.Topic, r.Partition, r.Offset, err)
		}
		folded[r.Partition].counts[string(r.Key)] = stamped{n, r.Timestamp.UnixMilli()}
	})
	return folded
}

// sameStores fails the test if the stores are not what the changelog folds to.
func sameStores(t *testing.T, stores, folded map[int32]held) {
	t.Helper()
	for num, want := range folded {
		got := stores[num]
		if got.position != want.position {
			t.Errorf("store of partition %d: its position is %d, and the changelog ends at %d", num, got.position, want.position)
		}
		wrong := 0
		for word, w := range want.counts {
			if got.counts[word] != w {
				wrong++
			}
		}
		if wrong > 0 || len(got.counts) != len(want.counts) {
			t.Errorf("store of partition %d: %d of its %d entries differ from the changelog's, which has %d",
				num, wrong, len(got.counts), len(want.counts))
		}
	}
	if len(stores) != len(folded) {
		t.Errorf("%d stores, and %d partitions of the changelog", len(stores), len(folded))
	}
}

// countsIn joins the partitions.
func countsIn(t *testing.T, stores map[int32]held) map[string]int64 {
	t.Helper()
	counts := map[string]int64{}
	for num, h := range stores {
		for word, c := range h.counts {
			if _, twice := counts[word]; twice {
				t.Errorf("word %q is in partition %d and another one", word, num)
			}
			counts[word] = c.n
		}
	}
	return counts
}
