// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "os/exec"

// command makes a process that the tests have to end.
func command(name string, args ...string) *exec.Cmd { return exec.Command(name, args...) }
