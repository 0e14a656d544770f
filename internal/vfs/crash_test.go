// SPDX-License-Identifier: Apache-2.0

package vfs_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace/millrace/internal/vfs"
)

// outcomes crashes m many times and collects what show makes of the disks.
func outcomes(m *vfs.CrashMem, show func(*vfs.CrashMem) string) map[string]int {
	seen := map[string]int{}
	for seed := range uint64(1000) {
		seen[show(m.Crash(rand.New(rand.NewPCG(seed, 1))))]++
	}
	return seen
}

func TestCrashOfAFile(t *testing.T) {
	m := vfs.NewCrashMem()
	f := create(t, m, "/f")
	write(t, f, 0, "synced")
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	write(t, f, 6, "AB")
	write(t, f, 8, "CD")
	seen := outcomes(m, func(m *vfs.CrashMem) string { return read(t, m, "/f") })
	for got := range seen {
		if !strings.HasPrefix(got, "synced") {
			t.Errorf("after the crash the file is %q: synced bytes are gone", got)
		}
		if len(got) > len("syncedABCD") {
			t.Errorf("after the crash the file is %q: it has grown", got)
		}
	}
	for _, want := range []string{
		"synced", "syncedABCD", "syncedAB", "synced\x00\x00CD", "syncedA", "synced\x00\x00", "syncedABC", "synced\x00\x00\x00\x00",
	} {
		if seen[want] == 0 {
			t.Errorf("no crash left %q; there were %v", want, seen)
		}
	}
	if got := read(t, m, "/f"); got != "syncedABCD" {
		t.Errorf("the disk that goes on holds %q", got)
	}
}

func TestCrashTearsBySector(t *testing.T) {
	m := vfs.NewCrashMem()
	f := create(t, m, "/f")
	must(t, m.SyncDir("/"))
	write(t, f, 0, strings.Repeat("x", 1024))
	want := strings.Repeat("\x00", 512) + strings.Repeat("x", 512)
	if seen := outcomes(m, func(m *vfs.CrashMem) string { return read(t, m, "/f") }); seen[want] == 0 {
		t.Error("no crash kept the second sector alone")
	}
}

func TestCrashOfATruncation(t *testing.T) {
	m := vfs.NewCrashMem()
	f := create(t, m, "/f")
	write(t, f, 0, "abcdef")
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	must(t, f.Truncate(2))
	write(t, f, 2, "X")
	seen := outcomes(m, func(m *vfs.CrashMem) string { return read(t, m, "/f") })
	for _, want := range []string{"abcdef", "ab", "abX", "abXdef"} {
		if seen[want] == 0 {
			t.Errorf("no crash left %q; there were %v", want, seen)
		}
	}
	must(t, f.Sync())
	seen = outcomes(m, func(m *vfs.CrashMem) string { return read(t, m, "/f") })
	if len(seen) != 1 || seen["abX"] == 0 {
		t.Errorf("after a sync crashes left %v, want abX alone", seen)
	}
}

func TestCrashOfFolders(t *testing.T) {
	m := vfs.NewCrashMem()
	f := create(t, m, "/old")
	write(t, f, 0, "old")
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	f = create(t, m, "/new")
	write(t, f, 0, "new")
	must(t, f.Sync())
	must(t, m.Rename("/new", "/old"))
	must(t, m.MkdirAll("/d/e", 0o755))
	show := func(m *vfs.CrashMem) string { return read(t, m, "/old") + " " + strings.Join(names(t, m, "/"), ",") }
	seen := outcomes(m, show)
	for _, want := range []string{"old old", "old new,old", "new old", "new d,old"} {
		if seen[want] == 0 {
			t.Errorf("no crash left %q; there were %v", want, seen)
		}
	}
	must(t, m.SyncDir("/"))
	seen = outcomes(m, show)
	if len(seen) != 1 || seen["new d,old"] == 0 {
		t.Errorf("after SyncDir crashes left %v", seen)
	}
	must(t, m.Remove("/old"))
	if seen = outcomes(m, show); seen["new d,old"] == 0 || seen["<none> d"] == 0 {
		t.Errorf("after a removal without SyncDir crashes left %v, want both", seen)
	}
}

func TestFailedSyncLosesForGood(t *testing.T) {
	m := vfs.NewCrashMem()
	fail := false
	fsys := vfs.Faults(m, func(op vfs.Op) error {
		if fail && op.Kind == vfs.OpSync {
			return syscall.EIO
		}
		return nil
	})
	f := create(t, fsys, "/f")
	write(t, f, 0, "abc")
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	write(t, f, 3, "LOST")
	fail = true
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Sync = %v, want EIO", err)
	}
	fail = false
	write(t, f, 7, "def")
	must(t, f.Sync())
	if got := read(t, m, "/f"); got != "abcLOSTdef" {
		t.Errorf("the file reads %q before the crash", got)
	}
	seen := outcomes(m, func(m *vfs.CrashMem) string { return read(t, m, "/f") })
	if want := "abc\x00\x00\x00\x00def"; len(seen) != 1 || seen[want] == 0 {
		t.Errorf("crashes left %v, want %q alone: the second sync must not bring back what the first lost", seen, want)
	}
}

func TestFaults(t *testing.T) {
	m := vfs.NewCrashMem()
	fsys := vfs.Faults(m, func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && op.Offset > 0 {
			return &vfs.PartialWrite{N: 2, Err: syscall.ENOSPC}
		}
		return nil
	})
	f := create(t, fsys, "/f")
	write(t, f, 0, "abc")
	if n, err := f.WriteAt([]byte("defg"), 3); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("WriteAt = %d, %v, want 2, ENOSPC", n, err)
	}
	if got := read(t, m, "/f"); got != "abcde" {
		t.Errorf("content = %q, want abcde", got)
	}
}

func TestOnEffectNumbersEachChange(t *testing.T) {
	m := vfs.NewCrashMem()
	var ns []int
	var first string
	m.OnEffect(func(n int) {
		ns = append(ns, n)
		if n == 2 { // a crash right after the write may keep it
			first = read(t, m, "/f")
		}
	})
	f := create(t, m, "/f")
	write(t, f, 0, "abc")
	must(t, f.Sync())
	must(t, f.Truncate(1))
	must(t, m.Rename("/f", "/g"))
	must(t, m.SyncDir("/"))
	must(t, m.Remove("/g"))
	if len(ns) != 7 || ns[6] != 7 || first != "abc" {
		t.Errorf("effects %v, content at the second %q; want 1 to 7, abc", ns, first)
	}
}
