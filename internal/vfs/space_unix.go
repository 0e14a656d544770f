// SPDX-License-Identifier: Apache-2.0

//go:build darwin || linux

package vfs

import (
	"fmt"
	"math"
	"syscall"
)

// Space implements [Spacer] by statfs(2).
func (OS) Space(name string) (total, usable int64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(name, &st); err != nil {
		return 0, 0, fmt.Errorf("room on the disk of %s: %w", name, err)
	}
	bytes := func(blocks uint64) int64 {
		return int64(min(blocks, math.MaxInt64/uint64(st.Bsize)) * uint64(st.Bsize))
	}
	return bytes(st.Blocks), bytes(st.Bavail), nil
}
