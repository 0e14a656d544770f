// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Mem is a disk in memory: it holds what its files hold, and no more. All
// methods are safe for concurrent use.
type Mem struct {
	mu    sync.RWMutex
	root  *node
	locks map[string]bool
	limit int64 // see Limit; 0: none

	// Of a CrashMem, see there:
	crashes bool    // remember what was not synced
	moves   []*move // changes of folders that no SyncDir has made durable, oldest first
	effects int
	hook    func(n int) // set before use, see OnEffect
}

var _ FS = (*Mem)(nil)

// A node is a file or a folder. Folders have two lists of entries: as programs
// see it, and as the disk has it.
type node struct {
	entries map[string]*node // nil for a file
	durable map[string]*node

	content content
	edits   []*edit // changes of the content that no Sync has made durable, oldest first
	mtime   time.Time
}

// A move is one atomic change of folders: creation, removal or rename.
type move struct{ parts []movePart }

// A movePart sets a name in a folder to a node; nil removes it.
type movePart struct {
	dir  *node
	name string
	to   *node
}

func newDir() *node { return &node{entries: map[string]*node{}, durable: map[string]*node{}} }

// NewMem returns an empty disk.
func NewMem() *Mem { return &Mem{root: newDir(), locks: map[string]bool{}} }

// update runs fn, which changes the disk and says how often, under the lock.
func (m *Mem) update(fn func() (effects int, err error)) error {
	m.mu.Lock()
	n, err := fn()
	first := m.effects + 1
	m.effects += n
	m.mu.Unlock()
	if m.hook != nil {
		for i := range n {
			m.hook(first + i)
		}
	}
	return err
}

// Limit makes a disk of so many bytes: files take blocks of 4 KiB of it, folders and
// names nothing, and what needs more fails with syscall.ENOSPC, a write after the
// bytes that fit. What is written over itself needs none. 0 is no limit.
func (m *Mem) Limit(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = bytes
}

// room is the length to which a file of so many bytes may grow. The caller holds mu.
func (m *Mem) room(n *node) int64 {
	if m.limit == 0 {
		return math.MaxInt64
	}
	return blocks(n.content.size) + max(0, m.limit-used(m.root))/blockSize*blockSize
}

const blockSize = 4096

func blocks(size int64) int64 { return (size + blockSize - 1) / blockSize * blockSize }

func used(n *node) int64 {
	if n.entries == nil {
		return blocks(n.content.size)
	}
	sum := int64(0)
	for _, child := range n.entries {
		sum += used(child)
	}
	return sum
}

func split(name string) []string {
	clean := filepath.ToSlash(filepath.Clean(name))
	return slices.DeleteFunc(strings.Split(clean, "/"), func(s string) bool { return s == "" || s == "." })
}

// find returns the node of name, and nil if there is none.
func (m *Mem) find(name string) *node {
	n := m.root
	for _, part := range split(name) {
		if n = n.entries[part]; n == nil {
			return nil
		}
	}
	return n
}

// parent returns the folder that holds name, and name's last part.
func (m *Mem) parent(op, name string) (*node, string, error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	dir := m.find(strings.Join(parts[:len(parts)-1], "/"))
	if dir == nil || dir.entries == nil {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return dir, parts[len(parts)-1], nil
}

// move applies a change of folders to what programs see, and notes it.
func (m *Mem) move(parts ...movePart) {
	for _, p := range parts {
		set(p.dir.entries, p.name, p.to)
	}
	if m.crashes {
		m.moves = append(m.moves, &move{parts})
	}
}

func set(entries map[string]*node, name string, to *node) {
	if to == nil {
		delete(entries, name)
	} else {
		entries[name] = to
	}
}

// OpenFile implements [FS].
func (m *Mem) OpenFile(name string, flag int, _ fs.FileMode) (File, error) {
	f := &memFile{m: m, name: name, write: flag&(os.O_WRONLY|os.O_RDWR) != 0}
	err := m.update(func() (int, error) {
		dir, base, err := m.parent("open", name)
		if err != nil {
			return 0, err
		}
		f.n = dir.entries[base]
		switch {
		case f.n == nil && flag&os.O_CREATE == 0:
			return 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		case f.n == nil:
			f.n = &node{mtime: time.Now()}
			m.move(movePart{dir, base, f.n})
			return 1, nil
		case f.n.entries != nil:
			return 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
		case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
			return 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
		case flag&os.O_TRUNC != 0 && f.n.content.size > 0:
			f.n.truncate(0, m.crashes)
			return 1, nil
		}
		return 0, nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// MkdirAll implements [FS].
func (m *Mem) MkdirAll(name string, _ fs.FileMode) error {
	return m.update(func() (made int, err error) {
		dir := m.root
		for _, part := range split(name) {
			next := dir.entries[part]
			if next == nil {
				next = newDir()
				m.move(movePart{dir, part, next})
				made++
			}
			if next.entries == nil {
				return made, &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
			}
			dir = next
		}
		return made, nil
	})
}

// ReadDir implements [FS].
func (m *Mem) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	dir := m.find(name)
	if dir == nil || dir.entries == nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	list := make([]fs.DirEntry, 0, len(dir.entries))
	for base, n := range dir.entries {
		list = append(list, fs.FileInfoToDirEntry(n.info(base)))
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return list, nil
}

// Remove implements [FS].
func (m *Mem) Remove(name string) error {
	return m.update(func() (int, error) {
		dir, base, err := m.parent("remove", name)
		if err != nil {
			return 0, err
		}
		n := dir.entries[base]
		if n == nil {
			return 0, &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
		}
		if len(n.entries) > 0 {
			return 0, &fs.PathError{Op: "remove", Path: name, Err: fmt.Errorf("folder is not empty: %w", fs.ErrExist)}
		}
		m.move(movePart{dir, base, nil})
		return 1, nil
	})
}

// RemoveAll implements [FS]: one effect for each file and folder.
func (m *Mem) RemoveAll(name string) error {
	return m.update(func() (int, error) {
		dir, base, err := m.parent("removeall", name)
		if err != nil || dir.entries[base] == nil {
			return 0, nil //nolint:nilerr // like os.RemoveAll: what is not there is removed
		}
		return m.removeAll(dir, base), nil
	})
}

func (m *Mem) removeAll(dir *node, base string) (effects int) {
	n := dir.entries[base]
	for _, child := range sortedKeys(n.entries) {
		effects += m.removeAll(n, child)
	}
	m.move(movePart{dir, base, nil})
	return effects + 1
}

// Rename implements [FS].
func (m *Mem) Rename(from, to string) error {
	return m.update(func() (int, error) {
		fromDir, fromBase, err := m.parent("rename", from)
		if err != nil {
			return 0, err
		}
		toDir, toBase, err := m.parent("rename", to)
		if err != nil {
			return 0, err
		}
		n, over := fromDir.entries[fromBase], toDir.entries[toBase]
		switch {
		case n == nil:
			return 0, &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
		case n == over:
			return 0, nil
		case over != nil && (n.entries != nil || over.entries != nil) && (n.entries == nil || len(over.entries) > 0):
			return 0, &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
		}
		m.move(movePart{fromDir, fromBase, nil}, movePart{toDir, toBase, n})
		return 1, nil
	})
}

// SyncDir implements [FS].
func (m *Mem) SyncDir(name string) error {
	return m.update(func() (int, error) {
		dir := m.find(name)
		if dir == nil || dir.entries == nil {
			return 0, &fs.PathError{Op: "syncdir", Path: name, Err: fs.ErrNotExist}
		}
		for _, mv := range m.moves {
			mv.parts = slices.DeleteFunc(mv.parts, func(p movePart) bool {
				if p.dir != dir {
					return false
				}
				set(dir.durable, p.name, p.to)
				return true
			})
		}
		m.moves = slices.DeleteFunc(m.moves, func(mv *move) bool { return len(mv.parts) == 0 })
		return 1, nil
	})
}

// Stat implements [FS].
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n := m.find(name)
	if n == nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return n.info(filepath.Base(name)), nil
}

// Lock implements [FS]. A crash gives all locks up.
func (m *Mem) Lock(name string) (io.Closer, error) {
	f, err := m.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := strings.Join(split(name), "/")
	if m.locks[key] {
		return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
	}
	m.locks[key] = true
	return &memLock{m: m, key: key, File: f}, nil
}

type memLock struct {
	File
	m    *Mem
	key  string
	once sync.Once
}

func (l *memLock) Close() error {
	l.once.Do(func() {
		l.m.mu.Lock()
		defer l.m.mu.Unlock()
		delete(l.m.locks, l.key)
	})
	return nil
}

func sortedKeys(entries map[string]*node) []string {
	keys := make([]string, 0, len(entries))
	for k := range entries {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

type memInfo struct {
	name  string
	size  int64
	mode  fs.FileMode
	mtime time.Time
}

func (n *node) info(name string) memInfo {
	if n.entries != nil {
		return memInfo{name, 0, fs.ModeDir | 0o755, n.mtime}
	}
	return memInfo{name, n.content.size, 0o644, n.mtime}
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return i.mtime }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }
