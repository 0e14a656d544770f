// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/examples/internal/live"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
)

type record = processor.Record[string, string]

func at(d time.Duration) int64 { return d.Milliseconds() }

var rides = []record{
	{Key: "oslo", Value: "1", Timestamp: at(10 * time.Second)},
	{Key: "oslo", Value: "2", Timestamp: at(65 * time.Second)},
	{Key: "oslo", Value: "3", Timestamp: at(50 * time.Second)}, // within the grace period
	{Key: "bonn", Value: "4", Timestamp: at(70 * time.Second)}, // closes the first minute, of all cities
	{Key: "oslo", Value: "5", Timestamp: at(59 * time.Second)}, // too late
	{Key: "bonn", Value: "6", Timestamp: at(3 * time.Minute)},
}

var (
	perMinute = []record{
		{Key: "oslo", Value: "00:00 2", Timestamp: at(50 * time.Second)},
		{Key: "bonn", Value: "00:01 1", Timestamp: at(70 * time.Second)},
		{Key: "oslo", Value: "00:01 1", Timestamp: at(65 * time.Second)},
	}
	late = []record{{Key: "oslo", Value: "5", Timestamp: at(59 * time.Second)}}
)

func TestLateRidesAreNotLost(t *testing.T) {
	d := testdriver.New(t, topology())
	for _, r := range rides {
		d.Pipe(Rides, r)
	}
	if diff := cmp.Diff(perMinute, d.ReadAll(PerMinute)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(late, d.ReadAll(LateRides)); diff != "" {
		t.Error(diff)
	}
}

func TestLateRidesOnTheBroker(t *testing.T) {
	r := live.Start(t, topology())
	r.Send(Rides, rides...)
	if diff := cmp.Diff(late, r.Read(LateRides, len(late))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(perMinute, r.Read(PerMinute, len(perMinute))); diff != "" {
		t.Error(diff)
	}
}
