// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestInputIsTheSameEachTime(t *testing.T) {
	in := input{records: 100, keys: 10, every: 10, step: time.Millisecond}
	read := func() (all []string) {
		r := rand.New(rand.NewPCG(1, uint64(in.keys)))
		for i := range in.records {
			key, value, timestamp := in.record(i, r)
			if want := base + int64(i/10); timestamp != want {
				t.Fatalf("record %d has the timestamp %d, want %d", i, timestamp, want)
			}
			if len(value) != valueBytes || (value[0] == '0') != (i%10 == 0) {
				t.Fatalf("record %d: %d bytes, the first is %q", i, len(value), value[0])
			}
			all = append(all, string(key)+string(value))
		}
		return all
	}
	if diff := cmp.Diff(read(), read()); diff != "" {
		t.Error(diff)
	}
}

func TestOutcomesTellWhatDiffers(t *testing.T) {
	at := time.UnixMilli(base)
	one := roll(0, &kgo.Record{Value: []byte("1"), Timestamp: at})
	for name, tc := range map[string]struct {
		other  map[string]outcome
		differ bool
	}{
		"equal":            {map[string]outcome{"k": {1, one}}, false},
		"another value":    {map[string]outcome{"k": {1, roll(0, &kgo.Record{Value: []byte("2"), Timestamp: at})}}, true},
		"another time":     {map[string]outcome{"k": {1, roll(0, &kgo.Record{Value: []byte("1"), Timestamp: at.Add(time.Millisecond)})}}, true},
		"null, not empty":  {map[string]outcome{"k": {1, roll(0, &kgo.Record{Timestamp: at})}}, true},
		"more records":     {map[string]outcome{"k": {2, roll(one, &kgo.Record{Value: []byte("1"), Timestamp: at})}}, true},
		"a key is missing": {map[string]outcome{}, true},
		"a key too many":   {map[string]outcome{"k": {1, one}, "l": {1, one}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := equal(map[string]outcome{"k": {1, one}}, tc.other)
			if (got != "") != tc.differ {
				t.Errorf("equal answers %q", got)
			}
		})
	}
	if roll(0, &kgo.Record{Timestamp: at}) == roll(0, &kgo.Record{Value: []byte{}, Timestamp: at}) {
		t.Error("a null value and an empty one are the same")
	}
}

func TestOwnUsageIsMeasured(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("no /proc: benchmarks run on Linux")
	}
	u, err := used(os.Getpid())
	if err != nil || u.peak < 1<<20 || u.now < 1<<20 || u.cpu <= 0 {
		t.Errorf("used = %+v, %v", u, err)
	}
	for again := u; again.cpu <= u.cpu; { // work is seen
		if again, err = used(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReport(t *testing.T) {
	sampled := func(us ...int) (samples []sample) {
		for _, n := range us {
			samples = append(samples, sample{app: time.Duration(n) * time.Millisecond, broker: time.Millisecond, records: 1000, rate: 5})
		}
		return samples
	}
	r := &report{begin: time.UnixMilli(base)}
	r.add(workload{name: "count <hot>"}, []*contender{
		{side: side{name: "Millrace", on: ours}, samples: sampled(9, 2, 1, 3)},
		{side: side{name: "Kafka Streams", on: theirs}, samples: sampled(90, 29, 19, 39)},
	})
	want := []row{
		{workload: "count <hot>", side: "Millrace", on: ours, cold: 10, app: 2, broker: 1, least: 2, total: 3, most: 4, rate: 5, times: 1},
		{workload: "count <hot>", side: "Kafka Streams", on: theirs, cold: 91, app: 29, broker: 1, least: 20, total: 30, most: 40, rate: 5, times: 10},
	}
	if diff := cmp.Diff(want, r.rows, cmp.AllowUnexported(row{})); diff != "" {
		t.Error(diff)
	}
	var text strings.Builder
	if err := r.write(&text, ""); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "| count <hot> | Millrace | Millrace's broker | 2.00 | 1.00 | 3.00 | 2.00 - 4.00 | 10.00 | 1.00 |") {
		t.Errorf("no row of the first side in\n%s", &text)
	}
	for d := xml.NewDecoder(strings.NewReader(r.chart())); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the chart is no XML: %v\n%s", err, r.chart())
		}
	}
}

// fixed is a report with every part.
func fixed() *report {
	return &report{
		begin: time.Date(2026, 11, 22, 20, 30, 0, 0, time.UTC), took: 25 * time.Minute, machine: []string{"linux/amd64, 2 processors"}, cpus: "0,1",
		rows: []row{
			{workload: "count", side: "Millrace", on: ours, cold: 2, app: 0.5, broker: 0.25, least: 0.7, total: 0.75, most: 0.8, rate: 1e6, appPeak: 50 << 20, brokerPeak: 60 << 20, times: 1},
			{workload: "count", side: "Kafka Streams", on: theirs, cold: 60, app: 6, broker: 1.5, least: 7, total: 7.5, most: 8, rate: 1e5, appPeak: 500 << 20, brokerPeak: 1 << 30, times: 10},
		},
		engine:    []engineRow{{"map and filter", 80, 97, 0.3}},
		restored:  []restored{{"Millrace", ours, 1000, true, time.Second, time.Second, 2 * time.Millisecond, time.Millisecond}},
		latencies: []latency{{"Millrace", ours, 2000, time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 4 * time.Millisecond}},
		loads: []brokerLoad{{
			broker: ours, size: 100, acks: "all", codec: "none", records: 1000,
			produce: brokerWork{5e5, time.Millisecond}, hot: brokerWork{1e6, 500 * time.Microsecond}, cold: brokerWork{9e5, 600 * time.Microsecond},
		}},
		starts: []start{{ours, 120 * time.Millisecond, 20 << 20}},
	}
}

func TestMarkdown(t *testing.T) {
	golden(t, "report.md", fixed().markdown())
}

func TestChart(t *testing.T) {
	golden(t, "report.svg", fixed().chart())
}

var update = flag.Bool("update", false, "write the files in testdata anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestEngineRowsAreMedians(t *testing.T) {
	got, err := engineRows(printed)
	if err != nil {
		t.Fatal(err)
	}
	want := []engineRow{{"map and filter", 80, 97, 0.3}, {"count", 200, 10, 0}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(engineRow{})); diff != "" {
		t.Error(diff)
	}
	if _, err := engineRows("PASS\n"); err == nil {
		t.Error("no results are no error")
	}
}

func TestFullInputHasEachKeyFirst(t *testing.T) {
	in := input{records: 150, keys: 100, every: 10, step: time.Millisecond, full: true}
	r := rand.New(rand.NewPCG(1, 1))
	seen := map[string]bool{}
	for i := range in.keys {
		key, _, _ := in.record(i, r)
		seen[string(key)] = true
	}
	if len(seen) != in.keys {
		t.Errorf("%d keys among the first %d records", len(seen), in.keys)
	}
}
