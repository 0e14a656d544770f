// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"errors"
	"os"
)

// WriteFile writes a file anew, of mode 0644, and syncs it; its name is durable once
// the folder was synced. After an error it is gone.
func WriteFile(fsys FS, name string, b []byte) error {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = fsys.Remove(name)
	}
	return err
}
