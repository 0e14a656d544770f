// SPDX-License-Identifier: Apache-2.0

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package vfs

import (
	"errors"
	"os"
)

// lockFile refuses: without a lock two processes could share a folder unseen.
func lockFile(*os.File) error { return errors.ErrUnsupported }
