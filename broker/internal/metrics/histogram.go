// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// bounds are the upper ends of a histogram's buckets, each within a factor of
// 2.5 of the one before: from an append to the page cache to a parked join.
var bounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// A Histogram counts durations by size. The zero value is empty. It is safe for
// concurrent use.
type Histogram struct {
	counts [len(bounds) + 1]atomic.Uint64 // the last is of all that is longer
	sum    atomic.Int64                   // ns
}

// Observe counts one duration. A negative one, of a clock that was set back,
// counts as 0.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Count is how many durations were observed.
func (h *Histogram) Count() uint64 {
	n := uint64(0)
	for i := range h.counts {
		n += h.counts[i].Load()
	}
	return n
}

// Metric is the histogram as of now, in seconds. What is observed meanwhile may
// be in the buckets and not yet in the sum.
func (h *Histogram) Metric(desc *prometheus.Desc, labels ...string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(bounds))
	sum, n := h.sum.Load(), uint64(0)
	for i, bound := range bounds {
		n += h.counts[i].Load()
		buckets[bound.Seconds()] = n
	}
	n += h.counts[len(bounds)].Load()
	return prometheus.MustNewConstHistogram(desc, n, time.Duration(sum).Seconds(), buckets, labels...)
}
