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

// clicks of two users; the last one lets the visits before it end.
var clicks = []record{
	{Key: "ann", Value: "/home", Timestamp: at(0)},
	{Key: "bob", Value: "/home", Timestamp: at(5 * time.Minute)},
	{Key: "ann", Value: "/pay", Timestamp: at(40 * time.Minute)},
	{Key: "ann", Value: "/cart", Timestamp: at(20 * time.Minute)}, // late: it joins two visits
	{Key: "bob", Value: "/help", Timestamp: at(45 * time.Minute)}, // more than half an hour after the first
	{Key: "eve", Value: "/home", Timestamp: at(3 * time.Hour)},
}

var visits = []record{
	{Key: "ann", Value: "3 clicks in 40m0s: /home /pay /cart", Timestamp: at(40 * time.Minute)},
	{Key: "bob", Value: "1 clicks in 0s: /home", Timestamp: at(5 * time.Minute)},
	{Key: "bob", Value: "1 clicks in 0s: /help", Timestamp: at(45 * time.Minute)},
}

func TestVisits(t *testing.T) {
	d := testdriver.New(t, topology())
	for _, c := range clicks {
		d.Pipe(Clicks, c)
	}
	if diff := cmp.Diff(visits, d.ReadAll(Visits)); diff != "" {
		t.Error(diff)
	}
}

func TestVisitsOnTheBroker(t *testing.T) {
	r := live.Start(t, topology())
	r.Send(Clicks, clicks...)
	if diff := cmp.Diff(visits, r.Read(Visits, len(visits))); diff != "" {
		t.Error(diff)
	}
}
