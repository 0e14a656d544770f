// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// An OpKind is a kind of operation that can be made to fail.
type OpKind uint8

// The kinds of operations that [Faults] asks about.
const (
	OpWrite OpKind = iota
	OpSync
	OpSyncDir
	OpRename
	OpCreate // OpenFile with O_CREATE
	OpRemove // Remove and RemoveAll
	OpTruncate
	OpRead
)

// An Op is an operation about to be done.
type Op struct {
	Kind   OpKind
	Path   string // of a rename: the new name
	Offset int64  // of a write or read; the size of a truncation
	N      int    // bytes of a write or read
}

// A PartialWrite lets the first N bytes of a write through before Err: for fault
// functions to return for OpWrite.
type PartialWrite struct {
	N   int
	Err error
}

func (e *PartialWrite) Error() string { return fmt.Sprintf("wrote %d bytes: %v", e.N, e.Err) }

// Unwrap is the cause.
func (e *PartialWrite) Unwrap() error { return e.Err }

// Faults returns fsys with an operation failing wherever fault answers an error.
// The operation is then not done, with two exceptions: a *PartialWrite, and a failed
// sync on a [CrashMem], which loses the unsynced bytes for good, as on Linux. fault is called
// on the goroutine of the operation and must be safe for concurrent use.
func Faults(fsys FS, fault func(Op) error) FS { return &faultFS{fsys, fault} }

type faultFS struct {
	FS
	fault func(Op) error
}

func (f *faultFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if flag&os.O_CREATE != 0 {
		if err := f.fault(Op{Kind: OpCreate, Path: name}); err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultFile{file, name, f.fault}, nil
}

func (f *faultFS) Remove(name string) error {
	if err := f.fault(Op{Kind: OpRemove, Path: name}); err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	return f.FS.Remove(name)
}

func (f *faultFS) RemoveAll(name string) error {
	if err := f.fault(Op{Kind: OpRemove, Path: name}); err != nil {
		return &fs.PathError{Op: "removeall", Path: name, Err: err}
	}
	return f.FS.RemoveAll(name)
}

func (f *faultFS) Rename(from, to string) error {
	if err := f.fault(Op{Kind: OpRename, Path: to}); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return f.FS.Rename(from, to)
}

func (f *faultFS) SyncDir(name string) error {
	if err := f.fault(Op{Kind: OpSyncDir, Path: name}); err != nil {
		return &fs.PathError{Op: "syncdir", Path: name, Err: err}
	}
	return f.FS.SyncDir(name)
}

type faultFile struct {
	File
	name  string
	fault func(Op) error
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fault(Op{OpRead, f.name, off, len(p)}); err != nil {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: err}
	}
	return f.File.ReadAt(p, off)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.fault(Op{OpWrite, f.name, off, len(p)})
	if err == nil {
		return f.File.WriteAt(p, off)
	}
	n := 0
	if pw, ok := errors.AsType[*PartialWrite](err); ok {
		var werr error
		if n, werr = f.File.WriteAt(p[:min(pw.N, len(p))], off); werr != nil {
			return n, werr
		}
		err = pw.Err
	}
	return n, &fs.PathError{Op: "write", Path: f.name, Err: err}
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.fault(Op{Kind: OpTruncate, Path: f.name, Offset: size}); err != nil {
		return &fs.PathError{Op: "truncate", Path: f.name, Err: err}
	}
	return f.File.Truncate(size)
}

func (f *faultFile) Sync() error {
	if err := f.fault(Op{Kind: OpSync, Path: f.name}); err != nil {
		if l, ok := f.File.(interface{ loseUnsynced() }); ok {
			l.loseUnsynced()
		}
		return &fs.PathError{Op: "sync", Path: f.name, Err: err}
	}
	return f.File.Sync()
}
