// SPDX-License-Identifier: Apache-2.0

//go:build rocksdb

package rocksdb

/*
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>

enum { arena_max = M_ARENA_MAX, mmap_threshold = M_MMAP_THRESHOLD, trim_threshold = M_TRIM_THRESHOLD };

static void set(int param, int value) { mallopt(param, value); }
#else
enum { arena_max, mmap_threshold, trim_threshold };

static void set(int param, int value) {}
#endif
*/
import "C"

import (
	"os"
	"strings"
)

// tuneMalloc keeps glibc's malloc from holding on to much of what RocksDB frees. By
// itself it makes up to eight arenas a processor, and raises the size from which it
// asks the system for memory of its own, which it gives back, up to 32 MiB: blocks of
// write buffers then stay in the holes of arenas. Other C libraries are left alone.
// What the environment says wins.
func tuneMalloc() {
	if strings.Contains(os.Getenv("GLIBC_TUNABLES"), "glibc.malloc.") {
		return
	}
	for _, p := range []struct {
		env          string
		param, value C.int
	}{
		{"MALLOC_ARENA_MAX", C.arena_max, 2},
		{"MALLOC_MMAP_THRESHOLD_", C.mmap_threshold, 128 << 10},
		{"MALLOC_TRIM_THRESHOLD_", C.trim_threshold, 1 << 20},
	} {
		if _, ok := os.LookupEnv(p.env); !ok {
			C.set(p.param, p.value)
		}
	}
}
