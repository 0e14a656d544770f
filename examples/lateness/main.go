// SPDX-License-Identifier: Apache-2.0

// Lateness counts the rides of each city by the minute in which they began, and loses
// none: a ride that is told when its minute has been counted and closed goes to a
// topic of its own, with its key, value and time, where a nightly job, or a person, can
// take it up.
//
//	go run ./examples/lateness
//	echo 'oslo:17' | kcat -P -b 127.0.0.1:9092 -t rides -K:
//	kcat -C -b 127.0.0.1:9092 -t late-rides -f '%k %s %T\n'
//
// A minute stays open for ten seconds after its end, by the time of the rides.
package main

import (
	"fmt"
	"time"

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

// The topics: keys are cities, a ride is told by its number.
var (
	Rides     = topic.Of[string, string]("rides")
	PerMinute = topic.Of[string, string]("rides-per-minute")
	LateRides = topic.Of[string, string]("late-rides")
)

func topology() *processor.Topology {
	t := processor.NewTopology("lateness")
	counts := kstream.From(t, Rides).
		GroupByKey().
		Windowed(window.Tumbling(time.Minute).Grace(10*time.Second)).
		Late(func(late *kstream.KStream[string, string]) { late.To(LateRides) }).
		Emit(window.OnClose).
		Count("rides-per-minute", ktable.Retention(24*time.Hour))
	kstream.FromTable(counts).
		Map(func(minute window.Key[string], n opt.V[int64]) (string, string) {
			return minute.Key, fmt.Sprintf("%s %d", time.UnixMilli(minute.Start).UTC().Format("15:04"), n.Value)
		}).
		To(PerMinute)
	return t
}

func main() { millrace.Main(topology()) }
