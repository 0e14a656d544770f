// SPDX-License-Identifier: Apache-2.0

package perf

import (
	"math"
	"math/bits"
	"time"
)

// A Histogram counts durations, each to within 0.8 %. The zero value is empty.
// It is for one goroutine at a time.
//
// Buckets are linear within powers of two: a duration of b bits is told apart by
// its first 8.
type Histogram struct {
	counts   [(64 - precision) << precision]uint64
	n        uint64
	sum      float64
	longest  time.Duration
	shortest time.Duration
}

const precision = 7 // bits, without the first

// Add counts d; a negative one counts as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	if h.n == 0 || d < h.shortest {
		h.shortest = d
	}
	h.n++
	h.sum += float64(d)
	h.longest = max(h.longest, d)
}

func bucket(v uint64) int {
	shift := max(bits.Len64(v)-precision-1, 0)
	return shift<<precision + int(v>>shift)
}

// upper is the longest duration of a bucket.
func upper(i int) time.Duration {
	shift := max(i>>precision-1, 0)
	return time.Duration((uint64(i-shift<<precision)+1)<<shift - 1)
}

// Count is how many durations were added.
func (h *Histogram) Count() uint64 { return h.n }

// Quantile is a duration that q of all are not longer than; 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := max(uint64(math.Ceil(q*float64(h.n))), 1)
	seen := uint64(0)
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return min(max(upper(i), h.shortest), h.longest)
		}
	}
	return h.longest
}

// Mean is 0 if there are none.
func (h *Histogram) Mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.n))
}

// Max is the longest, exactly.
func (h *Histogram) Max() time.Duration { return h.longest }
