// SPDX-License-Identifier: Apache-2.0

package perf

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Quantiles are compared with those of the sorted durations themselves.
func TestHistogramQuantiles(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for _, n := range []int{1, 2, 10, 1000} {
		var h Histogram
		all := make([]time.Duration, n)
		for i := range all {
			all[i] = time.Duration(math.Exp(random.Float64() * 30)) // 1 ns to 3 h
			h.Add(all[i])
		}
		slices.Sort(all)
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
			want := all[max(int(math.Ceil(q*float64(n))), 1)-1]
			got := h.Quantile(q)
			if got < want || float64(got) > float64(want)*1.008+1 {
				t.Errorf("of %d durations, quantile %v = %d ns, want %d ns to within 0.8 %%", n, q, got, want)
			}
		}
		if h.Max() != all[n-1] || h.Count() != uint64(n) {
			t.Errorf("max %v, count %d, want %v, %d", h.Max(), h.Count(), all[n-1], n)
		}
	}
}

func TestHistogramOfExtremes(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Mean() != 0 {
		t.Errorf("an empty one has median %v, mean %v", h.Quantile(0.5), h.Mean())
	}
	h.Add(-time.Second)
	if h.Quantile(1) != 0 {
		t.Errorf("a negative duration counts as %v", h.Quantile(1))
	}
	h.Add(math.MaxInt64)
	if got := h.Quantile(1); got != math.MaxInt64 {
		t.Errorf("the longest duration comes out as %d", got)
	}
}

func FuzzBucket(f *testing.F) {
	f.Add(uint64(0))
	f.Add(uint64(255))
	f.Add(uint64(256))
	f.Add(uint64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, v uint64) {
		v &= math.MaxInt64
		i := bucket(v)
		if u := uint64(upper(i)); u < v || i > 0 && uint64(upper(i-1)) >= v {
			t.Fatalf("%d is in bucket %d, which ends at %d", v, i, u)
		}
	})
}
