// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/examples/internal/live"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
)

type record = processor.Record[string, string]

func at(d time.Duration) int64 { return d.Milliseconds() }

// readings are one a second of the boiler, 1 to 27, then one of the pump, late enough
// for the boiler's averages to be told as they are.
func readings() []record {
	var all []record
	for i := 1; i <= 27; i++ {
		all = append(all, record{Key: "boiler", Value: strconv.Itoa(i), Timestamp: at(time.Duration(i) * time.Second)})
	}
	return append(all, record{Key: "pump", Value: "7", Timestamp: at(2 * time.Minute)})
}

var averages = []record{
	{Key: "boiler", Value: "10.50 over 20", Timestamp: at(20 * time.Second)}, // of 1 to 20
	{Key: "boiler", Value: "15.50 over 20", Timestamp: at(25 * time.Second)}, // of 6 to 25
	{Key: "boiler", Value: "19.00 over 17", Timestamp: at(27 * time.Second)}, // of 11 to 27, since a minute is over
	{Key: "boiler", Value: "21.50 over 12", Timestamp: at(27 * time.Second)},
	{Key: "boiler", Value: "24.00 over 7", Timestamp: at(27 * time.Second)},
	{Key: "boiler", Value: "26.50 over 2", Timestamp: at(27 * time.Second)},
}

func TestAverages(t *testing.T) {
	d := testdriver.New(t, topology())
	for _, r := range readings() {
		d.Pipe(Readings, r)
	}
	if diff := cmp.Diff(averages, d.ReadAll(Averages)); diff != "" {
		t.Error(diff)
	}
}

func TestGarbledReadingsAreSetAside(t *testing.T) {
	d := testdriver.New(t, topology())
	d.Pipe(Readings, record{Key: "boiler", Value: "hot"})
	r, ok := d.ReadBytes(Garbled)
	if !ok || string(r.Value) != "hot" {
		t.Errorf("set aside: %q, %v; want the reading as it came", r.Value, ok)
	}
}

func TestAveragesOnTheBroker(t *testing.T) {
	r := live.Start(t, topology())
	r.Send(Readings, readings()...)
	if diff := cmp.Diff(averages, r.Read(Averages, len(averages))); diff != "" {
		t.Error(diff)
	}
}
