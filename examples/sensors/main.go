// SPDX-License-Identifier: Apache-2.0

// Sensors gives a moving average of each sensor's readings: over its last 20 readings,
// after every 5, however fast or slowly they come. The first comes with the 20th
// reading. A sensor that falls silent is not forgotten with what it said last: a minute
// after the first reading of an average it is told over what has come.
//
//	go run ./examples/sensors
//	seq 1 60 | sed 's/^/boiler:/' | kcat -P -b 127.0.0.1:9092 -t readings -K:
//	kcat -C -b 127.0.0.1:9092 -t averages -f '%k %s\n'
//
// The minute is one of the readings' time, of any sensor of the same partition.
package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/agg"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

// The topics: keys are sensors, readings are numbers as text.
var (
	Readings = topic.Of[string, string]("readings")
	Averages = topic.Of[string, string]("averages")
	Garbled  = "garbled-readings" // those that are no numbers, as they came
)

// A Sum is a number of readings and their sum.
type Sum struct {
	Count int64
	Total float64
}

// sums can be merged, so that a reading is added to one sum and not to each of the four
// windows that it is in.
var sums = agg.Of(
	func() Sum { return Sum{} },
	func(s Sum, reading float64) Sum { return Sum{s.Count + 1, s.Total + reading} },
).Merge(func(a, b Sum) Sum { return Sum{a.Count + b.Count, a.Total + b.Total} })

func topology() *processor.Topology {
	t := processor.NewTopology("sensors")
	averages := kstream.From(t, Readings).
		TryMapValues(func(text string) (float64, error) { return strconv.ParseFloat(text, 64) }).
		OnError(processor.DeadLetter(Garbled)).
		GroupByKey().
		CountWindows(window.Count(20).Every(5).OrAfter(time.Minute)).
		Aggregate("sums", sums)
	kstream.FromTable(averages).
		Map(func(w window.CountKey[string], s opt.V[Sum]) (string, string) {
			return w.Key, fmt.Sprintf("%.2f over %d", s.Value.Total/float64(s.Value.Count), s.Value.Count)
		}).
		To(Averages)
	return t
}

func main() { millrace.Main(topology()) }
