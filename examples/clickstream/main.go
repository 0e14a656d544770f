// SPDX-License-Identifier: Apache-2.0

// Clickstream gathers the clicks of each user into visits: clicks that are at most half
// an hour apart are one visit, whose pages are told once, when it is over.
//
//	go run ./examples/clickstream
//	printf 'ann:/home\nann:/cart\nbob:/home\n' | kcat -P -b 127.0.0.1:9092 -t clicks -K:
//	kcat -C -b 127.0.0.1:9092 -t visits -f '%k %s\n'
//
// A visit is over when the clicks, of whichever user, are half an hour further on, and a
// grace period of a quarter: time is that of the clicks, not that of the day. So the two
// users above are still reading. Clicks that come late join the visits that they belong
// to, also two into one.
package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/agg"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

// The topics: a click is a page that a user has opened, a visit what became of it.
var (
	Clicks = topic.Of[string, string]("clicks")
	Visits = topic.Of[string, string]("visits")
)

// pages gathers the pages of a visit. Of two visits that a late click joins the earlier
// comes first.
var pages = agg.Of(
	func() []string { return nil },
	func(seen []string, page string) []string { return append(slices.Clip(seen), page) },
).Merge(func(a, b []string) []string { return append(slices.Clip(a), b...) })

func topology() *processor.Topology {
	t := processor.NewTopology("clickstream")
	visits := kstream.From(t, Clicks).
		GroupByKey().
		Sessions(window.Session(30*time.Minute).Grace(15*time.Minute)).
		Emit(window.OnClose).
		// Clicks may pause for a day: visits are kept until then, to be told.
		Aggregate("visits", pages, ktable.Retention(24*time.Hour))
	kstream.FromTable(visits).
		Map(func(visit window.SessionKey[string], seen opt.V[[]string]) (string, string) {
			return visit.Key, summary(visit, seen.Value)
		}).
		To(Visits)
	return t
}

// summary tells of a visit in a line.
func summary(visit window.SessionKey[string], seen []string) string {
	length := time.Duration(visit.End-visit.Start) * time.Millisecond
	return fmt.Sprintf("%d clicks in %s: %s", len(seen), length, strings.Join(seen, " "))
}

func main() { millrace.Main(topology()) }
