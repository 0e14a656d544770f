// SPDX-License-Identifier: Apache-2.0

// Package statetest is the contract of package state as tests: what every base must
// hold to, and what a store on top of it must. Each backend runs all of it.
package statetest

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/millrace/millrace/state"
)

// A Rig makes the backend under test, with its root at dir.
type Rig struct {
	At      func(dir string) state.Backend
	Durable bool // what is flushed survives Close and a crash
}

// runs is how often a random test is run: each crash of a DB on disk takes its time.
func (r Rig) runs() int {
	if r.Durable {
		return 1
	}
	return 4
}

// steps is how long one is, of n on bases in memory.
func (r Rig) steps(n int) int {
	if r.Durable {
		return n / 2
	}
	return n
}

const path = "cluster/app/0_0"

// seeded gives a random source whose seed is printed if the test fails, and which
// SEED in the environment sets.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("SEED=%d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// task is an opened DB under a backend of its own.
type task struct {
	backend state.Backend
	db      state.DB
	dir     string
}

func (r Rig) open(t *testing.T, dir string) task {
	t.Helper()
	b := r.At(dir)
	db, err := b.Open(path)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return task{b, db, dir}
}

func (k task) base(t *testing.T, name string) state.Base {
	t.Helper()
	b, err := k.db.Base(name)
	if err != nil {
		t.Fatalf("base %s: %v", name, err)
	}
	return b
}

func (k task) close(t *testing.T) {
	t.Helper()
	if err := errors.Join(k.db.Close(), k.backend.Close()); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// crash gives a task on what a kill -9 at this moment would leave. The old one is
// closed afterwards.
func (r Rig) crash(t *testing.T, k task) task {
	t.Helper()
	dir := t.TempDir()
	if r.Durable {
		image(t, filepath.Join(k.dir, path), filepath.Join(dir, path))
	}
	k.close(t)
	return r.open(t, dir)
}

// image copies the files of an open DB as they are at one moment, as far as that
// matters: if the background work of the DB added or removed a file meanwhile it
// begins again.
func image(t *testing.T, from, to string) {
	t.Helper()
	for range 100 {
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		err := tryImage(from, to)
		if err == nil {
			return
		}
		if !errors.Is(err, errChanged) && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	t.Fatal("the folder never came to rest")
}

var errChanged = errors.New("folder changed")

func tryImage(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	names, err := list(from)
	if err != nil {
		return err
	}
	// The lists of files first: what they name is there, or the image is void.
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	for _, name := range names {
		if err := copyFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	slices.Sort(names)
	if again, err := list(from); err != nil || !slices.Equal(names, again) {
		return errors.Join(err, errChanged)
	}
	return nil
}

func rank(name string) int {
	switch {
	case name == "CURRENT", len(name) > 6 && name[:6] == "marker":
		return 0
	case len(name) > 8 && name[:8] == "MANIFEST":
		return 1
	default:
		return 2
	}
}

func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name() != "LOCK" {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, err
}

func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	_, err = io.Copy(dst, src)
	return err
}

// randomKey makes keys that often meet, are often prefixes of each other, and hold
// the bytes at the edges; the empty one too.
func randomKey(r *rand.Rand) string {
	b := make([]byte, r.IntN(4))
	for i := range b {
		b[i] = []byte{0, 1, 'a', 'b', 0xfe, 0xff}[r.IntN(6)]
	}
	return string(b)
}

func header(position int64) state.Header {
	return state.Header{
		Cluster: "cluster", ChangelogID: [16]byte{1, 2}, Changelog: "app-s-changelog", Partition: 3,
		Position: position, LeaderEpoch: state.NoEpoch, AppliedAt: 1000 + position,
		Kind: "keyvalue", Serdes: "string,string", Format: state.Format,
	}
}
