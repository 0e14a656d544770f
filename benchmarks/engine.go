// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// An engineRow is the engine alone: the Go benchmark BenchmarkEngine of
// internal/runtime, which feeds the whole engine from memory and has what comes out
// encoded and thrown away. Median of its runs.
type engineRow struct {
	workload string
	cpu      float64 // ns of processor time a record
	bytes    float64 // allocated a record
	allocs   float64
}

// engine runs the Go benchmarks of the engine; what they print is kept for benchstat.
func (b *bench) engine(ctx context.Context, r *report) error {
	runs, length := "6", "1s"
	if b.quick {
		runs, length = "3", "200ms"
	}
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "bench-engine.test"), "-test.run", "^$", "-test.bench", "^BenchmarkEngine$",
		"-test.benchmem", "-test.count", runs, "-test.benchtime", length)
	text, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("run %s: %w\n%s", cmd.Path, err, text)
	}
	r.goBench = string(text)
	if r.engine, err = engineRows(r.goBench); err != nil {
		return err
	}
	for _, x := range r.engine {
		b.say("engine alone: %s: %.0f ns of processor time a record, %.2f allocations", x.workload, x.cpu, x.allocs)
	}
	return nil
}

// engineRows reads what the benchmarks print, lines as
//
//	BenchmarkEngine/workload=pass-2  100000  54.1 ns/op  98.0 cpu-ns/record  3 B/op  0 allocs/op
func engineRows(text string) ([]engineRow, error) {
	by := map[string][]map[string]float64{}
	var names []string
	for in := bufio.NewScanner(strings.NewReader(text)); in.Scan(); {
		fields := strings.Fields(in.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "BenchmarkEngine/") {
			continue
		}
		_, name, _ := strings.Cut(fields[0], "workload=")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		}
		units := map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("read %q: %w", in.Text(), err)
			}
			units[fields[i+1]] = v
		}
		if by[name] == nil {
			names = append(names, name)
		}
		by[name] = append(by[name], units)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no results in %q", text)
	}
	var rows []engineRow
	for _, name := range names {
		runs := by[name]
		slices.SortFunc(runs, func(a, b map[string]float64) int { return cmp.Compare(a["cpu-ns/record"], b["cpu-ns/record"]) })
		mid := runs[len(runs)/2]
		rows = append(rows, engineRow{strings.ReplaceAll(name, "_", " "), mid["cpu-ns/record"], mid["B/record"], mid["allocs/record"]})
	}
	return rows, nil
}
