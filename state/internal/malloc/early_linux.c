// SPDX-License-Identifier: Apache-2.0

//go:build cgo

#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>

// A thread stays with the arena that it has first, and Go has threads before any of its code
// runs: so this has to be said before.
__attribute__((constructor)) static void one_arena(void)
{
	const char *tunables = getenv("GLIBC_TUNABLES");
	if (getenv("MALLOC_ARENA_MAX") == NULL && (tunables == NULL || strstr(tunables, "glibc.malloc.") == NULL))
		mallopt(M_ARENA_MAX, 1);
}
#endif
