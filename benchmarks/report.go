// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A report is what a run has found.
type report struct {
	begin     time.Time
	took      time.Duration
	kind      string // what a run with fewer records says of itself
	machine   []string
	cpus      string
	left      []string // what was left out for lack of time
	starts    []start
	rows      []row
	engine    []engineRow
	goBench   string // what the Go benchmarks printed
	restored  []restored
	latencies []latency
	loads     []brokerLoad
}

// A row is one side of a workload.
type row struct {
	workload, side, on string
	cold               float64 // us of processor time a record, the first repetition
	app, broker        float64 // of the median warm one
	least, total, most float64 // of the warm ones
	rate               float64 // records a second, median
	appPeak            int64
	brokerPeak         int64
	times              float64 // total against Millrace on its own broker
}

// add adds the rows of a workload; the first contender is what the others are
// compared with.
func (r *report) add(w workload, all []*contender) {
	var first float64
	for i, c := range all {
		warm := slices.Clone(c.samples[1:])
		if len(warm) == 0 {
			warm = c.samples
		}
		total := func(s sample) float64 { return s.perRecord(s.app + s.broker) }
		slices.SortFunc(warm, func(a, b sample) int { return int(1000 * (total(a) - total(b))) })
		mid := warm[len(warm)/2]
		row := row{
			workload: w.name, side: c.side.name, on: c.side.on, cold: total(c.samples[0]),
			app: mid.perRecord(mid.app), broker: mid.perRecord(mid.broker),
			least: total(warm[0]), total: total(mid), most: total(warm[len(warm)-1]),
			rate: mid.rate, appPeak: mid.appPeak, brokerPeak: mid.brokerPeak,
		}
		if i == 0 {
			first = row.total
		}
		row.times = row.total / first
		r.rows = append(r.rows, row)
	}
}

// slowest is the lowest rate of a workload's rows, records a second; 0: it has none.
func (r *report) slowest(workload string) int {
	least := 0
	for _, x := range r.rows {
		if x.workload == workload && (least == 0 || int(x.rate) < least) {
			least = int(x.rate)
		}
	}
	return least
}

// write prints the tables, and keeps them as Markdown and as a chart if out is given,
// with what the Go benchmarks printed, for benchstat.
func (r *report) write(w io.Writer, out string) error {
	text := r.markdown()
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	if out == "" {
		return nil
	}
	files := map[string]string{out + ".md": text}
	if len(r.rows) > 0 {
		files[out+".svg"] = r.chart()
	}
	if r.goBench != "" {
		files[out+".txt"] = r.goBench
	}
	for name, content := range files {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
	}
	return nil
}

// machine is what the figures were measured on, and the versions.
func machine(ctx context.Context) []string {
	lines := []string{fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		_, rest, _ := strings.Cut(string(text), "model name\t: ")
		model, _, _ := strings.Cut(rest, "\n")
		lines[0] += ", " + model
	}
	for _, argv := range [][]string{{"java", "-version"}, {"git", "rev-parse", "--short", "HEAD"}} {
		if text, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err == nil {
			first, _, _ := strings.Cut(string(text), "\n")
			lines = append(lines, argv[0]+": "+first)
		}
	}
	return lines
}
