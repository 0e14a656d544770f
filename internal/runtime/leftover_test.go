// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/runtime"
)

// A changelog and a repartition topic of steps that are gone are told of, by Preflight and
// at the start. Those in use are not, nor what only looks a little like them.
func TestTopicsOfStepsThatAreGoneAreTold(t *testing.T) {
	c := cluster(1)
	p := counting(t, "n")
	var log logBuffer
	first := app(t, c, p, log.into)
	until(t, "the changelog is there", func() bool {
		info, _ := c.Topic("app-n-changelog")
		return info.Partitions == 1
	})
	if err := closeApp(first); err != nil {
		t.Fatal(err)
	}
	if n := log.count("belong to nothing"); n != 0 {
		t.Errorf("%d lines tell of leftovers, and there are none", n)
	}
	for _, name := range []string{
		"app-old-changelog", "app-by-old-repartition", // ours, once
		"app-results", "application-n-changelog", "other-old-changelog",
	} {
		c.Create(name, 1, nil)
	}
	findings, err := runtime.Preflight(t.Context(), p, runtime.Config{Connect: c.Connect})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, f := range findings {
		if f.Fatal {
			t.Errorf("%v keeps the application from starting", f)
		}
		told = append(told, f.Topic)
	}
	slices.Sort(told)
	if diff := cmp.Diff([]string{"app-by-old-repartition", "app-old-changelog"}, told); diff != "" {
		t.Errorf("topics that are told of (-want +got):\n%s", diff)
	}
	fill(c, 10)
	app(t, c, p, log.into)
	committed(t, c)
	if n := log.count("[app-by-old-repartition app-old-changelog]"); n != 1 {
		t.Errorf("%d lines tell of leftovers, want one", n)
	}
}
