// SPDX-License-Identifier: Apache-2.0

package app

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
)

// profile begins profiles of a run, if names is not "". The function that it
// returns ends and writes them.
func profile(names, id string) (end func() error, err error) {
	if names == "" {
		return func() error { return nil }, nil
	}
	cpu, err := os.Create(names + "-" + id + ".cpu")
	if err != nil {
		return nil, fmt.Errorf("make a profile: %w", err)
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(fmt.Errorf("begin a profile: %w", err), cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		mem, err := os.Create(names + "-" + id + ".mem")
		if err != nil {
			return errors.Join(fmt.Errorf("make a profile: %w", err), cpu.Close())
		}
		return errors.Join(pprof.Lookup("allocs").WriteTo(mem, 0), mem.Close(), cpu.Close())
	}, nil
}
