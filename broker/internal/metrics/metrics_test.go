// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/millrace/millrace/broker/internal/metrics"
)

func histogramOf(t *testing.T, h *metrics.Histogram) *dto.Histogram {
	t.Helper()
	var m dto.Metric
	if err := h.Metric(prometheus.NewDesc("h", "", nil, nil)).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetHistogram()
}

func TestHistogram(t *testing.T) {
	var h metrics.Histogram
	for _, d := range []time.Duration{-time.Second, 0, 50 * time.Microsecond, 50*time.Microsecond + 1, time.Millisecond, time.Hour} {
		h.Observe(d)
	}
	got := histogramOf(t, &h)
	if got.GetSampleCount() != 6 || h.Count() != 6 {
		t.Errorf("count = %d and %d, want 6", got.GetSampleCount(), h.Count())
	}
	want := time.Hour + time.Millisecond + 100*time.Microsecond + 1
	if sum := got.GetSampleSum(); sum != want.Seconds() {
		t.Errorf("sum = %v s, want %v", sum, want.Seconds())
	}
	at := make(map[float64]uint64)
	for _, b := range got.GetBucket() {
		at[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	for bound, n := range map[float64]uint64{50e-6: 3, 100e-6: 4, 500e-6: 4, 1e-3: 5, 30: 5} {
		if at[bound] != n {
			t.Errorf("not longer than %v s: %d, want %d", bound, at[bound], n)
		}
	}
}

func names(all []*metrics.Topic) []string {
	var ns []string
	for _, t := range all {
		ns = append(ns, t.Name())
	}
	return ns
}

func TestTopicsBeyondTheLimitShareCounters(t *testing.T) {
	topics := metrics.NewTopics(2)
	b, a := topics.Add("b"), topics.Add("a")
	c, d := topics.Add("c"), topics.Add("d")
	if diff := cmp.Diff([]string{"a", "b"}, names(topics.All())); diff != "" {
		t.Errorf("before anything is counted: %s", diff)
	}
	a.Appended(10, 1)
	c.Appended(20, 2)
	d.Fetched(5, 3)
	d.RefusedBatch()
	if diff := cmp.Diff([]string{"a", "b", metrics.Rest}, names(topics.All())); diff != "" {
		t.Errorf("topics: %s", diff)
	}
	if c != d || c.InBytes.Load() != 20 || c.OutRecords.Load() != 3 || c.Refused.Load() != 1 {
		t.Errorf("c and d do not share one set of counters")
	}
	topics.Forget(b)
	topics.Forget(c)
	if diff := cmp.Diff([]string{"a", metrics.Rest}, names(topics.All())); diff != "" {
		t.Errorf("after b and c are deleted: %s", diff)
	}
	if e := topics.Add("e"); e.Name() != "e" {
		t.Errorf("the place of b is not given to e, but it gets %q", e.Name())
	}
	var none *metrics.Topic
	none.Appended(1, 1)
	none.Fetched(1, 1)
	none.RefusedBatch()
}

func TestTiming(t *testing.T) {
	var tm metrics.Timing
	r := new(metrics.Request)
	tm.Arrive(time.Now().Add(-time.Second), 100)
	tm.Finish(1) // no handler took it
	tm.Begin(r)
	tm.Waited(time.Now().Add(-time.Minute))
	tm.End(false)
	tm.Finish(200)
	tm.Finish(200) // once is enough
	if r.Count.Load() != 1 || r.InBytes.Load() != 100 || r.OutBytes.Load() != 200 {
		t.Errorf("counted %d requests, %d bytes in, %d out", r.Count.Load(), r.InBytes.Load(), r.OutBytes.Load())
	}
	sum := func(s metrics.Stage) float64 { return histogramOf(t, r.Took(s)).GetSampleSum() }
	if q := sum(metrics.Queue); q < 1 || q > 30 {
		t.Errorf("queue took %v s, want a bit more than 1", q)
	}
	if w := sum(metrics.Wait); w < 60 || w > 90 {
		t.Errorf("wait took %v s, want a bit more than 60", w)
	}
	if h := sum(metrics.Handle); h != 0 {
		t.Errorf("handle took %v s, want none: more was waited than the handler took", h)
	}
	if !slices.Contains(metrics.Stages(), metrics.Total) || metrics.Total.String() != "total" {
		t.Errorf("stages %v", metrics.Stages())
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	topic, r := metrics.NewTopics(1).Add("t"), new(metrics.Request)
	var tm metrics.Timing
	n := testing.AllocsPerRun(100, func() {
		tm.Arrive(time.Now(), 100)
		tm.Begin(r)
		topic.Appended(1000, 10)
		topic.Fetched(1000, 10)
		tm.Waited(time.Now())
		tm.End(false)
		tm.Finish(100)
	})
	if n != 0 {
		t.Errorf("a request allocates %v times to be counted", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	topic, r := metrics.NewTopics(1).Add("t"), new(metrics.Request)
	var tm metrics.Timing
	b.ReportAllocs()
	for b.Loop() {
		tm.Arrive(time.Now(), 100)
		tm.Begin(r)
		topic.Appended(1000, 10)
		tm.Waited(time.Now())
		tm.End(false)
		tm.Finish(100)
	}
}
