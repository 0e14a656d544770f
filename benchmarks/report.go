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
	quick     bool
	machine   []string
	cpus      string
	starts    []start
	rows      []row
	restored  []restored
	latencies []latency
	loads     []brokerLoad
}

// A start is how long a broker took until it served.
type start struct {
	name string
	took time.Duration
	used usage
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

// write prints the tables, and keeps them as Markdown and as a chart if out is given.
func (r *report) write(w io.Writer, out string) error {
	text := r.markdown()
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	if out == "" {
		return nil
	}
	for name, content := range map[string]string{out + ".md": text, out + ".svg": r.chart()} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
	}
	return nil
}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks of %s\n\n", r.begin.UTC().Format("2006-01-02 15:04 UTC"))
	for _, line := range r.machine {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	if r.quick {
		b.WriteString("- quick: a fifth of the records, one warm repetition; good for a look, not for a claim\n")
	}
	fmt.Fprintf(&b, "- all sides: %d partitions, %d workers or threads, commit interval %v, linger %v, batches up to %d B, no compression, over TCP; acks=all, page cache\n",
		partitions, workers, commitInterval, linger, batchBytes)
	fmt.Fprintf(&b, "- Kafka Streams: record cache 0 with every update, %d MiB where results are folded; G1 and heap as the JVM chooses; Kafka's broker: 1 GiB heap, G1, as its scripts start it\n", cacheBytes>>20)
	b.WriteString("- outputs compared key by key between all sides: equal\n")
	fmt.Fprintf(&b, "- took %v\n\n", r.took.Round(time.Second))
	if len(r.rows) > 0 {
		r.workloads(&b)
	}
	if len(r.restored) > 0 {
		b.WriteString("## Restore\n\n| | on | keys | ms | us of processor time a key: application | broker |\n|---|---|--:|--:|--:|--:|\n")
		for _, x := range r.restored {
			per := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(x.keys) }
			fmt.Fprintf(&b, "| %s | %s | %d | %d | %.2f | %.2f |\n", x.side, x.on, x.keys, x.took.Milliseconds(), per(x.app), per(x.broker))
		}
		b.WriteString("\n")
	}
	if len(r.latencies) > 0 {
		b.WriteString("## Latency of the pass-through, linger 0, from the intended time of sending\n\n| | on | records/s | p50 ms | p99 ms | p99.9 ms | worst ms |\n|---|---|--:|--:|--:|--:|--:|\n")
		for _, l := range r.latencies {
			fmt.Fprintf(&b, "| %s | %s | %d | %s | %s | %s | %s |\n", l.side, l.on, l.rate, ms(l.p50), ms(l.p99), ms(l.p999), ms(l.worst))
		}
		b.WriteString("\n")
	}
	if len(r.loads) > 0 {
		b.WriteString("## Broker alone, one client, hot\n\n| broker | size B | acks | codec | produce records/s | us/record | fetch records/s | us/record |\n|---|--:|---|---|--:|--:|--:|--:|\n")
		for _, l := range r.loads {
			per := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(l.records) }
			fmt.Fprintf(&b, "| %s | %d | %s | %s | %.0f | %.3f | %.0f | %.3f |\n", l.broker, l.size, l.acks, l.codec,
				l.produced, per(l.produceBroker), l.fetched, per(l.fetchBroker))
		}
		b.WriteString("\n")
	}
	b.WriteString("## Start and memory of the brokers, empty\n\n| broker | ready after ms | MiB resident |\n|---|--:|--:|\n")
	for _, s := range r.starts {
		fmt.Fprintf(&b, "| %s | %d | %d |\n", s.name, s.took.Milliseconds(), s.used.peak>>20)
	}
	return b.String()
}

func (r *report) workloads(b *strings.Builder) {
	b.WriteString("## Processor time, microseconds a record (median of the warm repetitions)\n\n" +
		"| workload | | on | application | broker | together | least - most | cold | against Millrace | records/s | peak MiB: application | broker |\n" +
		"|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	last := ""
	for _, x := range r.rows {
		name := x.workload
		if name == last {
			name = ""
		}
		last = x.workload
		fmt.Fprintf(b, "| %s | %s | %s | %.2f | %.2f | %.2f | %.2f - %.2f | %.2f | %.2f | %.0f | %d | %d |\n", name, x.side, x.on,
			x.app, x.broker, x.total, x.least, x.most, x.cold, x.times, x.rate, x.appPeak>>20, x.brokerPeak>>20)
	}
	b.WriteString("\n")
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }

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
