// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"os"
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
	u, err := used(os.Getpid())
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no /proc: benchmarks run on Linux")
	}
	if err != nil || u.peak < 1<<20 {
		t.Errorf("used = %+v, %v", u, err)
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
