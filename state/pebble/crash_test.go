// SPDX-License-Identifier: Apache-2.0

package pebble

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace/millrace/state"
)

// TestPowerFailure drops what was not synced, in any subset, at any moment: what
// was flushed is there, and each header speaks the truth about its store.
func TestPowerFailure(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { powerFailure(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func powerFailure(t *testing.T, rnd *rand.Rand) {
	b := &backend{cache: pebble.NewCache(1 << 20), memtableBytes: 64 << 10}
	defer b.cache.Unref()
	fs := vfs.NewCrashableMem()
	flushed := map[string]int64{}
	for range 4 {
		d, err := openDB(fs, "db", b)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"one", "two"} {
			checkStore(t, d, name, flushed[name])
		}
		for range 30 {
			name := []string{"one", "two"}[rnd.IntN(2)]
			writeStore(t, rnd, d, name, flushed)
		}
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: rnd})
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		fs = crashed
	}
}

// writeStore puts the next position under "n", and as many bytes as that takes to
// come to flushes of Pebble's own.
func writeStore(t *testing.T, rnd *rand.Rand, d *db, name string, flushed map[string]int64) {
	t.Helper()
	b, err := d.Base(name)
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := b.Header()
	if err != nil {
		t.Fatal(err)
	}
	h.Position++
	var w state.Writes
	size := 5000
	if rnd.IntN(8) == 0 {
		size = ingestBytes
	}
	w.Put([]byte("fill"), []byte(strings.Repeat("x", size)))
	w.Put([]byte("n"), fmt.Append(nil, h.Position))
	if rnd.IntN(2) == 0 {
		err = b.Apply(&w, h)
	} else {
		err = b.Load(&w, h)
	}
	if err != nil {
		t.Fatal(err)
	}
	if rnd.IntN(6) == 0 {
		if err := b.Flush(); err != nil {
			t.Fatal(err)
		}
		flushed[name] = h.Position
	}
}

func checkStore(t *testing.T, d *db, name string, flushed int64) {
	t.Helper()
	b, err := d.Base(name)
	if err != nil {
		t.Fatal(err)
	}
	h, ok, err := b.Header()
	if err != nil || h.Position < flushed {
		t.Fatalf("%s came back at %d, %v; flushed at %d", name, h.Position, err, flushed)
	}
	n, has, err := b.AppendGet(nil, []byte("n"))
	if err != nil || has != ok || (ok && string(n) != fmt.Sprint(h.Position)) {
		t.Fatalf("%s: header says %d, data %q, %v", name, h.Position, n, err)
	}
}
