// SPDX-License-Identifier: Apache-2.0

// Package malloc keeps the C library's memory small in programs whose stores are in it:
// RocksDB's, and Pebble's cache and write buffers where cgo is there.
package malloc

import (
	"sync/atomic"
	"time"
)

// Tune keeps glibc's malloc from holding on to much of what is freed. By itself it
// raises the size from which it asks the system for memory that it gives back, up to
// 32 MiB: a cache of 96 MiB was seen to take 250. It is for the whole process, and may
// be called again. That there is one arena, where glibc makes up to eight a processor,
// each with holes of its own, is said when the program is loaded: a thread keeps the one
// it has first. Other C libraries are left alone. MALLOC_ARENA_MAX,
// MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_ and GLIBC_TUNABLES in the environment win.
func Tune() { tune() }

// trimEvery is how long the holes in what is held may grow.
const trimEvery = 10 * time.Second

var trimmed atomic.Int64 // when, ns since the Unix epoch

// Trim gives back the pages between what is in use, now and then: called after each of
// many writes, it does so every 10 s, for some milliseconds in which other threads
// wait for memory. Without it holes were seen to take a third of what was held.
func Trim(now time.Time) {
	last := trimmed.Load()
	if now.UnixNano()-last >= int64(trimEvery) && trimmed.CompareAndSwap(last, now.UnixNano()) {
		trim()
	}
}
