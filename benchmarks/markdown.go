// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"
)

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks of %s\n\n", r.begin.UTC().Format("2006-01-02 15:04 UTC"))
	for _, line := range r.machine {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	if r.kind != "" {
		fmt.Fprintf(&b, "- %s\n", r.kind)
	}
	if r.cpus != "" {
		fmt.Fprintf(&b, "- all programs share processors %s\n", r.cpus)
	}
	if len(r.left) > 0 {
		fmt.Fprintf(&b, "- left out, since the time was over: %s\n", strings.Join(r.left, "; "))
	}
	r.configurations(&b)
	fmt.Fprintf(&b, "- took %v\n\n", r.took.Round(time.Second))
	for _, part := range []func(*strings.Builder){r.workloads, r.engineAlone, r.restores, r.latencyTable, r.brokersAlone, r.startTable} {
		part(&b)
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// configurations says what the sides are set to.
func (r *report) configurations(b *strings.Builder) {
	fmt.Fprintf(b, "- all sides: %d partitions, %d workers or threads, commit interval %v, linger %v, batches up to %d B, no compression, acks=all; "+
		"over TCP, but for the rows with the broker in its process; both brokers leave flushing to the system\n",
		partitions, workers, commitInterval, linger, batchBytes)
	fmt.Fprintf(b, "- Millrace: MemoryLimit 512 MiB unless a row says otherwise, GOGC=400 and GOMEMLIMIT by processor.HeapLimit in the application, as README.md advises; its broker as `millrace broker` starts it\n")
	fmt.Fprintf(b, "- Kafka Streams: at-least-once, topology.optimization=all, record cache 0 with every update and %d MiB where results are folded; "+
		"RocksDB as it sets it (50 MiB block cache and 3 x 16 MiB write buffers a store), bounded by one cache where a row says how much; G1 and heap as the JVM chooses\n", cacheBytes>>20)
	fmt.Fprintf(b, "- Apache Kafka: %s, group.initial.rebalance.delay.ms=0, else its defaults\n", strings.Join(kafkaJVM, " "))
	b.WriteString("- loop by hand: franz-go, a Go map, at-least-once, no restore: the least that the job costs; GOGC=400\n")
	b.WriteString("- every first repetition's output was compared with that of the first side, record for record in the order of each key (folded: each key's last record), before a figure counted\n")
}

func heading(b *strings.Builder, title, columns, align string) {
	fmt.Fprintf(b, "## %s\n\n%s\n%s\n", title, columns, align)
}

func (r *report) workloads(b *strings.Builder) {
	if len(r.rows) == 0 {
		return
	}
	heading(b, "Processor time, microseconds a record (median of the warm repetitions)",
		"| workload | | on | application | broker | together | least - most | cold | against Millrace | records/s | peak MiB: application | broker |",
		"|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
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

func (r *report) engineAlone(b *strings.Builder) {
	if len(r.engine) == 0 {
		return
	}
	heading(b, "Engine alone: fed from memory by slices that are used again, commits every 100 ms, what comes out is encoded and thrown away",
		"| workload | ns of processor time a record | B allocated | allocations |", "|---|--:|--:|--:|")
	for _, x := range r.engine {
		fmt.Fprintf(b, "| %s | %.0f | %.1f | %.3f |\n", x.workload, x.cpu, x.bytes, x.allocs)
	}
	b.WriteString("\n")
}

func (r *report) restores(b *strings.Builder) {
	if len(r.restored) == 0 {
		return
	}
	heading(b, "Restore from the changelog, above a start with the state in place; counted on afterwards",
		"| | on | keys | ms | start ms | us of processor time a key: application | broker |", "|---|---|---|--:|--:|--:|--:|")
	for _, x := range r.restored {
		fmt.Fprintf(b, "| %s | %s | %d %s | %d | %d | %.2f | %.2f |\n",
			x.side, x.on, x.keys, x.order(), x.took.Milliseconds(), x.start.Milliseconds(), per(x.app, x.keys), per(x.broker, x.keys))
	}
	b.WriteString("\nTimes are those until all tasks process records: what of the state is in memory only by then, in memtables of Kafka Streams and in\n" +
		"layers of Millrace, goes to disk after that.\n\n")
}

func (r *report) latencyTable(b *strings.Builder) {
	if len(r.latencies) == 0 {
		return
	}
	heading(b, "Latency of the pass-through, linger 0, from the intended time of sending, the first half of the records left out",
		"| | on | records/s | p50 ms | p99 ms | p99.9 ms | worst ms |", "|---|---|--:|--:|--:|--:|--:|")
	for _, l := range r.latencies {
		fmt.Fprintf(b, "| %s | %s | %d | %s | %s | %s | %s |\n", l.side, l.on, l.rate, ms(l.p50), ms(l.p99), ms(l.p999), ms(l.worst))
	}
	b.WriteString("\n")
}

func (r *report) brokersAlone(b *strings.Builder) {
	if len(r.loads) == 0 {
		return
	}
	heading(b, "Broker alone, one client (`millrace perf`); us are the broker's processor time a record",
		"| broker | size B | acks | codec | produce records/s | us | fetch, hot records/s | us | fetch, cold records/s | us |",
		"|---|--:|---|---|--:|--:|--:|--:|--:|--:|")
	for _, l := range r.loads {
		fmt.Fprintf(b, "| %s | %d | %s | %s |", l.broker, l.size, l.acks, l.codec)
		for _, w := range []brokerWork{l.produce, l.hot, l.cold} {
			fmt.Fprintf(b, " %.0f | %.3f |", w.rate, per(w.cpu, l.records))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

func (r *report) startTable(b *strings.Builder) {
	if len(r.starts) == 0 {
		return
	}
	heading(b, "Start: brokers empty, applications (pass-through) until their tasks run",
		"| | ready after ms | MiB resident |", "|---|--:|--:|")
	for _, s := range r.starts {
		fmt.Fprintf(b, "| %s | %d | %d |\n", s.what, s.took.Milliseconds(), s.memory>>20)
	}
	b.WriteString("\n")
}

// per is a processor time in microseconds a record.
func per(d time.Duration, records int) float64 { return float64(d.Microseconds()) / float64(records) }

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }
