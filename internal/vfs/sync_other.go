// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package vfs

import "os"

// syncData is fsync(2), on darwin with F_FULLFSYNC, which the runtime does.
func syncData(f *os.File) error { return f.Sync() }
