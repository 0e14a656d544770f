// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/vfs"
)

// A scraped metric by its name.
type scrape map[string][]*dto.Metric

func scrapeOf(t testing.TB, reg *prometheus.Registry) scrape {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatalf("scrape: %v", err)
	}
	all := make(scrape)
	for _, f := range families {
		all[f.GetName()] = f.GetMetric()
	}
	return all
}

// find returns the metric with these labels, in pairs, or nil.
func (s scrape) find(name string, labels ...string) *dto.Metric {
	for _, m := range s["millrace_broker_"+name] {
		match := true
		for i := 0; i < len(labels); i += 2 {
			match = match && slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool {
				return l.GetName() == labels[i] && l.GetValue() == labels[i+1]
			})
		}
		if match {
			return m
		}
	}
	return nil
}

// value is -1 if there is no such metric.
func (s scrape) value(name string, labels ...string) float64 {
	switch m := s.find(name, labels...); {
	case m == nil:
		return -1
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Histogram != nil:
		return float64(m.Histogram.GetSampleCount())
	default:
		return m.Gauge.GetValue()
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	b := open(t, broker.Config{Metrics: reg, Flush: broker.FlushPolicy{Mode: broker.FlushBatch}})
	c := dial(t, b)
	mustCreate(c, "t", 2)
	data := batch("a", "b", "c")
	size := float64(len(data))
	if p := produce(c, -1, "t", 0, data); p.ErrorCode != 0 {
		t.Fatalf("produce: code %d", p.ErrorCode)
	}
	if p := produce(c, -1, "t", 0, []byte("no batch")); p.ErrorCode == 0 {
		t.Fatal("nonsense was accepted")
	}
	_ = readAll(c, "t")
	commitAt(c, "g", "t", 0)
	_ = do[*kmsg.HeartbeatResponse](c, heartbeat()) // the commit's counters are written before its successor's answer

	s := scrapeOf(t, reg)
	for _, want := range []struct {
		name   string
		labels []string
		value  float64
	}{
		{"connections", nil, 1},
		{"connections_accepted_total", nil, 1},
		{"topic_in_bytes_total", []string{"topic", "t"}, size},
		{"topic_in_records_total", []string{"topic", "t"}, 3},
		{"topic_out_bytes_total", []string{"topic", "t"}, size},
		{"topic_out_records_total", []string{"topic", "t"}, 3},
		{"topic_refused_batches_total", []string{"topic", "t"}, 1},
		{"topic_log_bytes", []string{"topic", "t"}, size},
		{"topic_partitions", []string{"topic", "t"}, 2},
		{"log_bytes", []string{"topic", "t", "partition", "0"}, size},
		{"log_end_offset", []string{"topic", "t", "partition", "0"}, 3},
		{"high_watermark", []string{"topic", "t", "partition", "0"}, 3},
		{"log_end_offset", []string{"topic", "t", "partition", "1"}, 0},
		{"topics", nil, 2},
		{"partitions", nil, 10},
		{"offline_partitions", nil, 0},
		{"under_replicated_partitions", nil, 0},
		{"under_min_isr_partitions", nil, 0},
		{"groups", []string{"state", "Empty", "type", "classic"}, 1},
		{"group_lag", []string{"group", "g", "topic", "t"}, 3}, // committed is 0 of partition 0
		{"requests_total", []string{"api", "Produce"}, 2},
		{"request_seconds", []string{"api", "Produce", "stage", "total"}, 2},
		{"request_seconds", []string{"api", "OffsetCommit", "stage", "wait"}, 1},
		{"requests_total", []string{"api", "DeleteTopics"}, -1}, // nobody has used it
	} {
		if got := s.value(want.name, want.labels...); got != want.value {
			t.Errorf("%s%v = %v, want %v", want.name, want.labels, got, want.value)
		}
	}
	if n := s.value("flush_seconds"); n < 2 { // the batch, the commit
		t.Errorf("flush_seconds has %v fsyncs, want 2 or more", n)
	}
	commit := s.find("request_seconds", "api", "OffsetCommit", "stage", "handle")
	if sum := commit.GetHistogram().GetSampleSum(); sum != 0 {
		t.Errorf("a request that the coordinator answers took its handler %v s, want all of it in stage wait", sum)
	}
}

// commitAt commits an offset of partition 0 for a group without members.
func commitAt(c *client, group, topic string, offset int64) {
	c.t.Helper()
	awaitGroups(c)
	req := withVersion(kmsg.NewPtrOffsetCommitRequest(), 8)
	req.Group, req.Generation = group, -1
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewOffsetCommitRequestTopicPartition()
	rp.Offset = offset
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	if p := do[*kmsg.OffsetCommitResponse](c, req).Topics[0].Partitions[0]; p.ErrorCode != 0 {
		c.t.Fatalf("commit: code %d", p.ErrorCode)
	}
}

func heartbeat() *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group = 4, "g"
	return req
}

func TestMetricsEndWithTheirTopicAndBroker(t *testing.T) {
	reg := prometheus.NewRegistry()
	b := open(t, broker.Config{Metrics: reg})
	c := dial(t, b)
	mustCreate(c, "gone", 1)
	mustProduce(c, "gone", "a")
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TopicNames = 4, []string{"gone"}
	_ = do[*kmsg.DeleteTopicsResponse](c, req)
	s := scrapeOf(t, reg)
	if got := s.value("topic_in_bytes_total", "topic", "gone"); got != -1 {
		t.Errorf("a deleted topic still counts: %v", got)
	}
	if _, err := broker.Open(t.Context(), broker.Config{Metrics: reg, Logger: quiet}); err == nil {
		t.Error("two brokers register the same metrics")
	}
	if err := b.Health(); err != nil {
		t.Errorf("Health = %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got := scrapeOf(t, reg); len(got) > 0 {
		t.Errorf("%d metrics are left after Close", len(got))
	}
	if b.Health() == nil {
		t.Error("a closed broker is healthy")
	}
}

// Where there are many topics and partitions, a scrape stays short.
func TestMetricsAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	b := open(t, broker.Config{Metrics: reg})
	b.LimitMetrics(2, 12, 2) // topics, __consumer_offsets among them, partitions, and lags
	c := dial(t, b)
	for _, name := range []string{"a", "b", "c"} {
		mustCreate(c, name, 1)
		mustProduce(c, name, "v")
	}
	s := scrapeOf(t, reg)
	if got := s.value("topic_in_records_total", "topic", "a"); got != 1 {
		t.Errorf("a has %v records in, want 1", got)
	}
	if got := s.value("topic_in_records_total", "topic", "b"); got != -1 {
		t.Errorf("b is beyond the limit and has %v", got)
	}
	if got := s.value("topic_in_records_total", "topic", "*"); got != 2 {
		t.Errorf("all beyond the limit have %v records in, want 2", got)
	}
	if got := s.value("topic_partitions", "topic", "*"); got != 2 {
		t.Errorf("all beyond the limit have %v partitions, want 2", got)
	}
	if got := s.value("log_end_offset", "topic", "c", "partition", "0"); got != 1 {
		t.Errorf("with 11 partitions c ends at %v, want 1", got)
	}
	for _, topic := range []string{"a", "b"} {
		commitAt(c, "g", topic, 0)
	}
	if got := len(scrapeOf(t, reg)["millrace_broker_group_lag"]); got != 2 {
		t.Errorf("lags of %d topics are told, want 2", got)
	}
	commitAt(c, "g", "c", 0)
	if got := len(scrapeOf(t, reg)["millrace_broker_group_lag"]); got != 0 {
		t.Errorf("beyond the limit lags of %d topics are told", got)
	}
	mustCreate(c, "d", 2)
	if got := len(scrapeOf(t, reg)["millrace_broker_log_end_offset"]); got != 0 {
		t.Errorf("with 13 partitions %d are told one by one", got)
	}
}

func TestMetricsTellOfAFailedDisk(t *testing.T) {
	reg := prometheus.NewRegistry()
	var failing atomic.Bool
	fs := vfs.Faults(vfs.NewMem(), func(op vfs.Op) error {
		if failing.Load() && op.Kind == vfs.OpSync {
			return errors.New("disk on fire")
		}
		return nil
	})
	b, err := broker.Open(t.Context(), broker.Config{
		Dir: "/data", FS: fs, Metrics: reg, Logger: quiet, Flush: broker.FlushPolicy{Mode: broker.FlushBatch},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() }) // its logs can't be flushed
	c := dial(t, b)
	mustCreate(c, "t", 1)
	mustProduce(c, "t", "a")
	failing.Store(true)
	if p := produce(c, -1, "t", 0, batch("b")); p.ErrorCode == 0 {
		t.Fatal("acknowledged without an fsync")
	}
	s := scrapeOf(t, reg)
	if got := s.value("offline_partitions"); got != 1 {
		t.Errorf("offline_partitions = %v, want 1", got)
	}
	if got := s.value("flush_failures_total"); got != 1 {
		t.Errorf("flush_failures_total = %v, want 1", got)
	}
	if err := b.Health(); err == nil || !strings.Contains(err.Error(), "t-0") {
		t.Errorf("Health = %v, want t-0", err)
	}
}

// The guide has all metrics, and none that is not there.
func TestMetricsGuide(t *testing.T) {
	text, err := os.ReadFile("../docs/guide/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(millrace_broker_[a-z_]+)` \\| (gauge|counter|histogram) \\|").FindAllStringSubmatch(string(text), -1) {
		told = append(told, m[1])
	}
	r := new(recorder)
	open(t, broker.Config{Metrics: r})
	ch := make(chan *prometheus.Desc, 1000)
	r.c.Describe(ch)
	close(ch)
	var have []string
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	for d := range ch {
		have = append(have, name.FindStringSubmatch(d.String())[1])
	}
	slices.Sort(told)
	slices.Sort(have)
	if diff := cmp.Diff(have, told); diff != "" {
		t.Errorf("docs/guide/metrics.md (+) and the broker (-) differ:\n%s", diff)
	}
}

// recorder is a Registerer that keeps what is registered.
type recorder struct{ c prometheus.Collector }

func (r *recorder) Register(c prometheus.Collector) error { r.c = c; return nil }
func (r *recorder) MustRegister(...prometheus.Collector)  {}
func (r *recorder) Unregister(prometheus.Collector) bool  { return true }
