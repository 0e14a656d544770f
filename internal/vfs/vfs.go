// SPDX-License-Identifier: Apache-2.0

// Package vfs is the seam between the broker's log and the disk: the few file
// operations that it needs, as an interface. [OS] is the real disk and [Mem]
// one in memory. [CrashMem], for tests, can crash: what was not synced is then
// lost, kept or torn, in any subset.
package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// FS is a file system. Paths are those of package path/filepath. Errors about
// a missing file satisfy errors.Is(err, fs.ErrNotExist). Safe for concurrent use.
type FS interface {
	// OpenFile opens name with the flags of package os (O_RDONLY, O_RDWR,
	// O_CREATE, O_EXCL, O_TRUNC).
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// MkdirAll makes a folder and its parents.
	MkdirAll(name string, perm fs.FileMode) error
	// ReadDir lists a folder's entries, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Remove removes a file or an empty folder.
	Remove(name string) error
	// RemoveAll removes a folder and all that is in it.
	RemoveAll(name string) error
	// Rename moves a file or a folder, over an existing file if there is one. The
	// move survives a crash only after SyncDir of the folders concerned.
	Rename(from, to string) error
	// SyncDir makes the creations, renames and removals in a folder durable.
	SyncDir(name string) error
	// Stat describes a file.
	Stat(name string) (fs.FileInfo, error)
	// Lock takes an exclusive lock on the file name, creating it if missing, and
	// holds it until Close. A second Lock, also from another process, fails with
	// an error that satisfies errors.Is(err, ErrLocked).
	Lock(name string) (io.Closer, error)
}

// File is an open file. ReadAt may run beside WriteAt.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Truncate sets the length in bytes.
	Truncate(size int64) error
	// Sync makes all that was written durable (fdatasync). After an error the
	// unsynced bytes must be taken as lost: a second Sync that succeeds says
	// nothing of them.
	Sync() error
	// Size is the length in bytes.
	Size() (int64, error)
}

// Spacer is what FS is too where it knows the room on its disk.
type Spacer interface {
	// Space is how many bytes the disk of a folder has, and how many of them can
	// be written to yet. The error is errors.ErrUnsupported where nobody knows.
	Space(name string) (total, usable int64, err error)
}

// IsFull reports whether an operation failed for want of room: on the disk, or in
// what one user may have of it.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// OSFile is what File gives where it lies on the real disk: for sendfile.
type OSFile interface {
	File
	OS() *os.File
}
