// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// pinned is set in the environment of a run that taskset has started.
const pinned = "MILLRACE_BENCH_PINNED"

// pin has this program and all that it starts run on the same processors: it starts
// itself again under taskset. Without taskset they share those that there are.
func (b *bench) pin() error {
	switch b.cpus {
	case "two":
		b.cpus = "0,1"
	case "any":
		b.cpus = ""
	}
	if b.cpus == "" || os.Getenv(pinned) != "" {
		return nil
	}
	taskset, err := exec.LookPath("taskset")
	if err != nil || exec.Command(taskset, "-c", b.cpus, "true").Run() != nil { // no Linux, or one processor
		b.cpus = ""
		return nil
	}
	argv := append([]string{taskset, "-c", b.cpus}, os.Args...)
	if err := syscall.Exec(taskset, argv, append(os.Environ(), pinned+"=1")); err != nil {
		return fmt.Errorf("start again under taskset: %w", err)
	}
	return nil
}
