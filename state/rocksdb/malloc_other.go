// SPDX-License-Identifier: Apache-2.0

//go:build rocksdb && !linux

package rocksdb

// tuneMalloc does nothing: it is glibc's malloc that needs it.
func tuneMalloc() {}
