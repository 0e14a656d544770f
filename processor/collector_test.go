// SPDX-License-Identifier: Apache-2.0

package processor_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMetricsTellWhatTheAppHasDone(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	top := processor.NewTopology("metrics")
	kstream.From(top, topic.Of[string, string]("in")).
		Filter(func(_, v string) bool {
			if v == "bad" {
				panic("bad")
			}
			return true
		}).
		GroupByKey().Count("n").To(topic.Of[string, int64]("out"))
	i, err := millrace.Start(ctx, top, millrace.Config{Partitions: 2, Engine: processor.Config{
		CommitInterval: 20 * time.Millisecond, OnProcessError: processor.Skip(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := i.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	cl, err := i.NewClient(kgo.DefaultProduceTopic("in"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, v := range []string{"a", "bad", "b"} {
		r := &kgo.Record{Key: []byte("k"), Value: []byte(v), Timestamp: time.UnixMilli(5000)}
		if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(i.App.Collector())
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		got := gathered(t, reg)
		if got["millrace_app_task_records_total"] == 3 && got["millrace_app_commits_total"] > 0 &&
			got["millrace_app_input_uncommitted_records"] == 0 {
			for name, want := range map[string]float64{
				"millrace_app_state": 1, "millrace_app_tasks": 2, "millrace_app_input_lag_records": 0,
				"millrace_app_task_dropped_records_total": 1, "millrace_app_task_stream_time_ms": 5000,
				"millrace_app_task_restore_remaining_records": 0, "millrace_app_restarts_total": 0,
				"millrace_app_memory_limit_bytes": 512 << 20, "millrace_app_memory_stops_total": 0,
				"millrace_app_task_restore_left_seconds": 0,
				"millrace_app_commit_seconds":            got["millrace_app_commits_total"],
			} {
				if got[name] != want {
					t.Errorf("%s is %v, want %v", name, got[name], want)
				}
			}
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("metrics: %v", got)
		}
	}
}

// gathered sums each metric over its labels.
func gathered(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			sums[f.GetName()] += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetSummary().GetSampleCount())
		}
		if f.GetHelp() == "" || !strings.HasPrefix(f.GetName(), "millrace_app_") {
			t.Errorf("metric %q has no help, or another prefix", f.GetName())
		}
	}
	return sums
}

func TestPreflightTellsWhatIsMissing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	first := processor.NewTopology("first")
	kstream.From(first, topic.Of[string, string]("in")).To(topic.Of[string, string]("out"))
	i, err := millrace.Start(ctx, first, millrace.Config{Listen: "127.0.0.1:0", Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := i.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	second := processor.NewTopology("second")
	kstream.From(second, topic.Of[string, string]("in")).GroupByKey().Count("n").To(topic.Of[string, int64]("out"))
	cfg := processor.Config{Brokers: []string{i.BrokerAddr()}}
	findings, err := second.Preflight(ctx, cfg)
	if err != nil || len(findings) != 1 || findings[0].Fatal || findings[0].Topic != "second-n-changelog" {
		t.Errorf("found %v, %v; want the changelog that will be made", findings, err)
	}
	kstream.From(second, topic.Of[string, string]("elsewhere")).To(topic.Of[string, string]("out"))
	findings, err = second.Preflight(ctx, cfg)
	if err != nil || len(findings) != 1 || !findings[0].Fatal || findings[0].Topic != "elsewhere" {
		t.Errorf("found %v, %v; want the source that is missing", findings, err)
	}
}
