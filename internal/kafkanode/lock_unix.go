// SPDX-License-Identifier: Apache-2.0

//go:build unix

package kafkanode

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Lock waits until no other process holds the lock file name, which is made if it is
// missing. unlock, or the end of the process, gives it up.
func Lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() { _ = f.Close() }, nil
}
