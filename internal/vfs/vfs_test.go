// SPDX-License-Identifier: Apache-2.0

package vfs_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/vfs"
)

// both runs a test on the real disk and on those in memory: they are twins.
func both(t *testing.T, test func(t *testing.T, fsys vfs.FS, dir string)) {
	t.Run("disk=os", func(t *testing.T) { test(t, vfs.OS{}, t.TempDir()) })
	for name, m := range map[string]vfs.FS{"mem": vfs.NewMem(), "crash": vfs.NewCrashMem()} {
		t.Run("disk="+name, func(t *testing.T) {
			must(t, m.MkdirAll("/data", 0o755))
			test(t, m, "/data")
		})
	}
}

// A disk for production holds its files and nothing else: a file that is written
// over and never synced must not grow, nor one that is gone stay.
func TestMemForgets(t *testing.T) {
	m := vfs.NewMem()
	chunk := strings.Repeat("x", 64<<10)
	before := heap()
	for range 2_000 { // 125 MiB, if it was remembered
		f := create(t, m, "/f")
		write(t, f, 0, chunk)
		must(t, f.Truncate(0))
		must(t, f.Close())
		must(t, m.Rename("/f", "/g"))
		must(t, m.Remove("/g"))
	}
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("the disk is empty and holds %d bytes", grown)
	}
	runtime.KeepAlive(m)
}

// heap is the memory in use.
func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, fsys vfs.FS, name string) vfs.File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	return f
}

func write(t testing.TB, f vfs.File, off int64, s string) {
	t.Helper()
	_, err := f.WriteAt([]byte(s), off)
	must(t, err)
}

// read returns the content of a file, and "<none>" if there is no such file.
func read(t testing.TB, fsys vfs.FS, name string) string {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "<none>"
	}
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) || n != len(b) {
		t.Fatalf("read %s = %d, %v, want %d bytes", name, n, err, len(b))
	}
	return string(b)
}

func names(t testing.TB, fsys vfs.FS, dir string) []string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	must(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestFile(t *testing.T) {
	both(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "f")
		f := create(t, fsys, name)
		write(t, f, 0, "hello")
		write(t, f, 8, "world") // leaves a hole
		write(t, f, 1, "E")
		if got, want := read(t, fsys, name), "hEllo\x00\x00\x00world"; got != want {
			t.Errorf("content = %q, want %q", got, want)
		}
		must(t, f.Truncate(3))
		must(t, f.Truncate(5))
		if got, want := read(t, fsys, name), "hEl\x00\x00"; got != want {
			t.Errorf("after truncation content = %q, want %q", got, want)
		}
		b := make([]byte, 4)
		if n, err := f.ReadAt(b, 3); n != 2 || !errors.Is(err, io.EOF) {
			t.Errorf("ReadAt over the end = %d, %v, want 2, EOF", n, err)
		}
		if n, err := f.ReadAt(b, 9); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("ReadAt behind the end = %d, %v, want 0, EOF", n, err)
		}
		must(t, f.Sync())
		must(t, f.Close())
		if _, err := f.WriteAt(b, 0); err == nil {
			t.Error("a closed file can be written to")
		}
	})
}

func TestLongFileCrossesChunks(t *testing.T) {
	both(t, func(t *testing.T, fsys vfs.FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "f"))
		defer f.Close()
		want := make([]byte, 300_000)
		for i := range want {
			want[i] = byte(i * 7)
		}
		for at := 0; at < len(want); at += 7001 {
			_, err := f.WriteAt(want[at:min(len(want), at+7001)], int64(at))
			must(t, err)
		}
		got := make([]byte, 200_000)
		_, err := f.ReadAt(got, 60_000)
		must(t, err)
		if !cmp.Equal(got, want[60_000:260_000]) {
			t.Error("the bytes read are not those written")
		}
	})
}

func TestFolders(t *testing.T) {
	both(t, func(t *testing.T, fsys vfs.FS, dir string) {
		must(t, fsys.MkdirAll(filepath.Join(dir, "a", "b"), 0o755))
		create(t, fsys, filepath.Join(dir, "a", "y")).Close()
		f := create(t, fsys, filepath.Join(dir, "a", "x"))
		write(t, f, 0, "1")
		must(t, f.Close())
		must(t, fsys.Rename(filepath.Join(dir, "a", "x"), filepath.Join(dir, "a", "y")))
		if diff := cmp.Diff([]string{"b", "y"}, names(t, fsys, filepath.Join(dir, "a"))); diff != "" {
			t.Error(diff)
		}
		if got := read(t, fsys, filepath.Join(dir, "a", "y")); got != "1" {
			t.Errorf("renamed file = %q, want 1", got)
		}
		if err := fsys.Remove(filepath.Join(dir, "a")); err == nil {
			t.Error("a folder with files can be removed")
		}
		must(t, fsys.SyncDir(filepath.Join(dir, "a")))
		must(t, fsys.RemoveAll(filepath.Join(dir, "a")))
		must(t, fsys.RemoveAll(filepath.Join(dir, "a")))
		for what, err := range map[string]error{
			"Stat":     second(fsys.Stat(filepath.Join(dir, "a"))),
			"ReadDir":  second(fsys.ReadDir(filepath.Join(dir, "a"))),
			"OpenFile": second(fsys.OpenFile(filepath.Join(dir, "a", "y"), os.O_RDWR, 0)),
			"Remove":   fsys.Remove(filepath.Join(dir, "a")),
			"Rename":   fsys.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "c")),
			"SyncDir":  fsys.SyncDir(filepath.Join(dir, "a")),
		} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s of what is missing: %v, want ErrNotExist", what, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestOpenFlags(t *testing.T) {
	both(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "f")
		f := create(t, fsys, name)
		write(t, f, 0, "old")
		must(t, f.Close())
		if _, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644); !errors.Is(err, fs.ErrExist) {
			t.Errorf("O_EXCL on a file that is there: %v, want ErrExist", err)
		}
		f, err := fsys.OpenFile(name, os.O_RDWR|os.O_TRUNC, 0o644)
		must(t, err)
		must(t, f.Close())
		if got := read(t, fsys, name); got != "" {
			t.Errorf("after O_TRUNC content = %q, want none", got)
		}
		f, err = fsys.OpenFile(name, os.O_RDONLY, 0)
		must(t, err)
		defer f.Close()
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			t.Error("a file opened for reading can be written to")
		}
	})
}

func TestLock(t *testing.T) {
	both(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "lock")
		first, err := fsys.Lock(name)
		must(t, err)
		if _, err := fsys.Lock(name); !errors.Is(err, vfs.ErrLocked) {
			t.Fatalf("second Lock: %v, want ErrLocked", err)
		}
		must(t, first.Close())
		again, err := fsys.Lock(name)
		must(t, err)
		must(t, again.Close())
	})
}

func TestLimit(t *testing.T) {
	m := vfs.NewCrashMem()
	m.Limit(3 * 4096)
	create := func(name string) vfs.File {
		t.Helper()
		f, err := m.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	a, b := create("/a"), create("/b")
	write := func(f vfs.File, n int, off int64, want int) {
		t.Helper()
		got, err := f.WriteAt(make([]byte, n), off)
		if got != want || (err != nil) != (n != want) || err != nil && !vfs.IsFull(err) {
			t.Errorf("write of %d bytes at %d = %d, %v, want %d", n, off, got, err, want)
		}
	}
	write(a, 1, 0, 1)
	write(b, 10_000, 0, 2*4096)
	write(a, 4095, 1, 4095) // its block is its own
	write(a, 1, 4096, 0)
	write(b, 4096, 4096, 4096)
	if err := a.Truncate(5000); !vfs.IsFull(err) {
		t.Errorf("truncate = %v", err)
	}
	if err := b.Truncate(4096); err != nil {
		t.Error(err)
	}
	write(a, 4096, 4096, 4096)
	if err := m.Remove("/b"); err != nil {
		t.Error(err)
	}
	write(a, 4096, 8192, 4096)
}
