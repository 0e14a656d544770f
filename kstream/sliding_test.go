// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

// Without late records, and through crashes, the sliding windows are those of the
// definition, whatever the order of the records.
func TestSlidingWindowsAreThoseOfTheDefinitionThroughCrashes(t *testing.T) {
	for backend, at := range backends() {
		runs, length := 30, 100
		if backend != "memory" { // each crash takes its time
			runs, length = 2, 60
		}
		t.Run(backend, func(t *testing.T) {
			rnd := seeded(t)
			for range runs {
				slidingRun(t, rnd, at, 1+rnd.Int64N(30), length)
			}
		})
	}
}

func slidingRun(t *testing.T, rnd *rand.Rand, at func(string) state.Backend, difference int64, length int) {
	t.Helper()
	top := processor.NewTopology("app")
	keys := window.TimeKey(serde.String, ms(difference))
	kstream.From(top, words).GroupByKey().Windowed(window.Sliding(ms(difference)).Grace(time.Hour)).
		Reduce("st", func(a, b string) string { return a + b }).
		To(topic.Of[window.Key[string], string]("out").Keys(keys))
	var input []plan.Raw
	for i := range length {
		input = append(input, plan.Raw{
			Key: fmt.Appendf(nil, "k%d", rnd.IntN(2)), Value: fmt.Appendf(nil, "%d.", i), Timestamp: rnd.Int64N(200),
		})
	}
	got := map[window.Key[string]]string{}
	for _, o := range newLives(t, rnd, at, top, input).run() {
		k, err := keys.Decode(o.Key)
		if err != nil {
			t.Fatal(err)
		}
		got[k] = string(o.Value)
	}
	if diff := gocmp.Diff(slidingModel(input, difference), got); diff != "" {
		t.Fatalf("difference %d (-definition +got):\n%s", difference, diff)
	}
}

// slidingModel gives every window that ends with a record or begins just after one, and
// holds any.
func slidingModel(input []plan.Raw, difference int64) map[window.Key[string]]string {
	windows := map[window.Key[string]]string{}
	for _, of := range input {
		for _, start := range []int64{max(0, of.Timestamp-difference), of.Timestamp + 1} {
			k := window.Key[string]{Key: string(of.Key), Start: start, End: start + difference}
			all := ""
			for _, r := range input {
				if string(r.Key) == k.Key && r.Timestamp >= k.Start && r.Timestamp <= k.End {
					all += string(r.Value)
				}
			}
			if all != "" {
				windows[k] = all
			}
		}
	}
	return windows
}
