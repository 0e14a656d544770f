// SPDX-License-Identifier: Apache-2.0

// Package folder keeps the folders of the bases on disk:
//
//	<root>/LOCK                      held while the backend is open
//	<root>/<path>/BACKEND            the kind that wrote the DB: "rocksdb", "pebble"
//	<root>/<path>/...                the DB's own files
//	<root>/<path>.aside/             the newest DB that was set aside
//	<root>/<path>.aside/CAUSE        and why
package folder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/millrace/millrace/internal/vfs"
	"github.com/millrace/millrace/state"
)

const (
	lockFile  = "LOCK"
	kindFile  = "BACKEND"
	causeFile = "CAUSE"
	aside     = ".aside"
)

// A Root is a backend's root folder. Safe for concurrent use.
type Root struct {
	dir, kind string

	mu   sync.Mutex
	lock io.Closer       // not nil once a DB has been opened
	open map[string]bool // paths in use
	shut bool
}

// At gives the root dir for a backend of a kind. It does not touch the disk.
func At(dir, kind string) *Root {
	return &Root{dir: dir, kind: kind, open: map[string]bool{}}
}

// Dir is the root folder.
func (r *Root) Dir() string { return r.dir }

// Take makes the folder of the DB at path and gives its full name. It is the
// caller's until Leave. The errors are those of state.Backend.Open.
func (r *Root) Take(path string) (string, error) {
	full, err := r.join(path)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut {
		return "", state.ErrClosed
	}
	if r.open[path] {
		return "", fmt.Errorf("%s: %w", full, state.ErrLocked)
	}
	if err := r.takeRoot(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(full, 0o755); err != nil {
		return "", err
	}
	if err := r.mark(full); err != nil {
		return "", err
	}
	r.open[path] = true
	return full, nil
}

// Leave gives the folder of path back.
func (r *Root) Leave(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, path)
}

// Close gives the root back. A second call does nothing.
func (r *Root) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut {
		return nil
	}
	r.shut = true
	if r.lock == nil {
		return nil
	}
	return r.lock.Close()
}

// SetAside is state.Backend.SetAside.
func (r *Root) SetAside(path, cause string) error {
	full, err := r.join(path)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open[path] {
		return fmt.Errorf("set %s aside: %w", full, state.ErrLocked)
	}
	if _, err := os.Stat(full); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := r.takeRoot(); err != nil {
		return err
	}
	if err := os.RemoveAll(full + aside); err != nil {
		return err
	}
	if err := os.Rename(full, full+aside); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(full+aside, causeFile), []byte(cause+"\n"), 0o644)
}

func (r *Root) join(path string) (string, error) {
	if !filepath.IsLocal(path) || filepath.Clean(path) == "." {
		return "", fmt.Errorf("path %q leads out of the root", path)
	}
	return filepath.Join(r.dir, path), nil
}

// takeRoot keeps other processes out of the root.
func (r *Root) takeRoot() error {
	if r.lock != nil {
		return nil
	}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	l, err := vfs.OS{}.Lock(filepath.Join(r.dir, lockFile))
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("%s: %w", r.dir, state.ErrLocked)
	}
	if err != nil {
		return err
	}
	r.lock = l
	return nil
}

// mark notes the kind of backend in a new folder and compares it in an old one: the
// file names of one kind mean something else to another.
func (r *Root) mark(full string) error {
	name := filepath.Join(full, kindFile)
	was, err := os.ReadFile(name)
	if err == nil && len(was) > 0 {
		if was := string(bytes.TrimSpace(was)); was != r.kind {
			return fmt.Errorf("%s was written by %q: %w", full, was, state.ErrUnusable)
		}
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(name, []byte(r.kind+"\n"), 0o644)
}
