// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/millrace/millrace/internal/failpoint"
	"github.com/millrace/millrace/internal/vfs"
)

var errTooLong = errors.New("file is too long")

// readFile reads a small file whole; a longer one than limit is an error.
func readFile(fsys vfs.FS, name string, limit int64) (_ []byte, err error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d make sense", name, errTooLong, size, limit)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("read %s: %w", name, unexpected(err))
	}
	return b, nil
}

// writeFile writes a file that can be made anew if it is lost: it is not synced.
func writeFile(fsys vfs.FS, name string, b []byte) error {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = fsys.Remove(name) // half of it is worth nothing, and may be what the disk lacks
	}
	return err
}

// replaceFile puts b in the place of a file: after a crash there is the old
// content or the new one. It is durable once the folder was synced. The points
// are hit before the rename.
func replaceFile(fsys vfs.FS, name string, b []byte, points ...failpoint.Name) error {
	temp := name + tempSuffix
	if err := vfs.WriteFile(fsys, temp, b); err != nil {
		return err
	}
	for _, p := range points {
		failpoint.Hit(p)
	}
	return fsys.Rename(temp, name)
}

// readFull reads len(b) bytes at off.
func readFull(f vfs.File, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return unexpected(err)
}
