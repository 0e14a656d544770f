// SPDX-License-Identifier: Apache-2.0

package perf

import (
	"fmt"
	"io"
	"time"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// A meter counts records and how long they took, since the start and since the
// last line. It is for one goroutine at a time.
type meter struct {
	start time.Time
	all   window
	last  window
	lines io.Writer // nil: none
	next  time.Time
}

type window struct {
	since          time.Time
	records, bytes int64
	latency        Histogram
}

// lineEvery is how often a meter writes a line.
const lineEvery = time.Second

func newMeter(lines io.Writer) *meter {
	now := time.Now()
	m := &meter{start: now, lines: lines, next: now.Add(lineEvery)}
	m.all.since, m.last.since = now, now
	return m
}

// count adds records of so many bytes.
func (m *meter) count(records, bytes int64) {
	for _, w := range []*window{&m.all, &m.last} {
		w.records, w.bytes = w.records+records, w.bytes+bytes
	}
}

// took adds the latency of one record.
func (m *meter) took(d time.Duration) {
	m.all.latency.Add(d)
	m.last.latency.Add(d)
}

// tick writes a line if one is due.
func (m *meter) tick(now time.Time) {
	if m.lines == nil || now.Before(m.next) {
		return
	}
	r := m.last.result(now)
	fmt.Fprintf(m.lines, "%6.1f s  %9d records  %11.0f records/s  %10s/s", now.Sub(m.start).Seconds(), m.all.records, r.RecordsPerSecond, cli.Bytes(r.BytesPerSecond))
	if l := r.Latency; l != nil {
		fmt.Fprintf(m.lines, "  p50 %s  p99 %s  max %s", ms(l.P50), ms(l.P99), ms(l.Max))
	}
	fmt.Fprintln(m.lines)
	m.last = window{since: now}
	m.next = now.Add(lineEvery)
}

// A result is what a measurement comes to.
type result struct {
	Records          int64    `json:"records"`
	Bytes            int64    `json:"bytes"`
	Errors           int64    `json:"errors"`
	Seconds          float64  `json:"seconds"`
	RecordsPerSecond float64  `json:"records_per_second"`
	BytesPerSecond   float64  `json:"bytes_per_second"`
	Latency          *latency `json:"latency_ms,omitempty"`
}

// A latency is a distribution, in ms.
type latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
	Mean float64 `json:"mean"`
}

func (w *window) result(now time.Time) result {
	s := max(now.Sub(w.since).Seconds(), 1e-9)
	return result{
		Records: w.records, Bytes: w.bytes, Seconds: s,
		RecordsPerSecond: float64(w.records) / s, BytesPerSecond: float64(w.bytes) / s, Latency: latencyOf(&w.latency),
	}
}

// latencyOf is nil of none.
func latencyOf(h *Histogram) *latency {
	if h.Count() == 0 {
		return nil
	}
	in := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return &latency{
		P50: in(h.Quantile(0.5)), P90: in(h.Quantile(0.9)), P99: in(h.Quantile(0.99)), P999: in(h.Quantile(0.999)),
		Max: in(h.Max()), Mean: in(h.Mean()),
	}
}

func ms(v float64) string { return fmt.Sprintf("%.2f ms", v) }

// write is the result for a reader. what says whose latency it is.
func (r *result) write(w io.Writer, what string) error {
	fmt.Fprintf(w, "records     %d in %.2f s\n", r.Records, r.Seconds)
	if r.Errors > 0 {
		fmt.Fprintf(w, "errors      %d\n", r.Errors)
	}
	_, err := fmt.Fprintf(w, "throughput  %.0f records/s, %s/s\n", r.RecordsPerSecond, cli.Bytes(r.BytesPerSecond))
	if err == nil && r.Latency != nil {
		err = r.Latency.write(w, what)
	}
	return err
}

func (l *latency) write(w io.Writer, what string) error {
	_, err := fmt.Fprintf(w, "%-11s p50 %s, p90 %s, p99 %s, p99.9 %s, max %s\n", what, ms(l.P50), ms(l.P90), ms(l.P99), ms(l.P999), ms(l.Max))
	return err
}
