// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package malloc

/*
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>

enum { mmap_threshold = M_MMAP_THRESHOLD, trim_threshold = M_TRIM_THRESHOLD };

static void set(int param, int value) { mallopt(param, value); }
static void trim(void) { malloc_trim(0); }
#else
enum { mmap_threshold, trim_threshold };

static void set(int param, int value) {}
static void trim(void) {}
#endif
*/
import "C"

import (
	"os"
	"strings"
)

// tuned says that the environment leaves malloc to us.
func tuned() bool { return !strings.Contains(os.Getenv("GLIBC_TUNABLES"), "glibc.malloc.") }

func trim() {
	if tuned() {
		C.trim()
	}
}

func tune() {
	if !tuned() {
		return
	}
	for _, p := range []struct {
		env          string
		param, value C.int
	}{
		{"MALLOC_MMAP_THRESHOLD_", C.mmap_threshold, 32 << 10},
		{"MALLOC_TRIM_THRESHOLD_", C.trim_threshold, 1 << 20},
	} {
		if _, ok := os.LookupEnv(p.env); !ok {
			C.set(p.param, p.value)
		}
	}
}
