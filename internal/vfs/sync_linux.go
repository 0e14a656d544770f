// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"os"
	"syscall"
)

// syncData is fdatasync(2): the data and the length, without the time stamps
// that fsync would write beside them.
func syncData(f *os.File) error {
	if err := control(f, syscall.Fdatasync); err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}
