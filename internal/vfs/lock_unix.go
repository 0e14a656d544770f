// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes flock(2) on f: it belongs to the open file, so it also keeps
// out a second Lock in this process, and closing f gives it up.
func lockFile(f *os.File) error {
	err := control(f, func(fd int) error { return syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) })
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// control calls fn with f's descriptor, again as long as a signal interrupts it.
func control(f *os.File, fn func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	err = c.Control(func(fd uintptr) {
		for ferr = fn(int(fd)); errors.Is(ferr, syscall.EINTR); {
			ferr = fn(int(fd))
		}
	})
	return errors.Join(err, ferr)
}
