// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// listing is counting with a store n of another kind, which it does not use.
func listing(t *testing.T) *plan.Plan {
	t.Helper()
	g := plan.NewGraph("app")
	n := g.AddStore(&plan.Store{Name: "n", Site: "test:9", Open: func(b state.Base, o state.Options) state.Store {
		return state.OpenList("n", serde.String, serde.String, b, o)
	}})
	g.Add(operator("look", func(_ plan.Env, next entry) entry { return next }, n), g.Add(source("in")))
	return build(t, g)
}

func TestAStoreThatHasChangedIsRefused(t *testing.T) {
	tests := []struct {
		name   string
		lost   bool // the base is gone: what is committed tells
		policy runtime.OnStoreChange
		says   []string // nil: it is taken
	}{
		{"with its base", false, runtime.RefuseStore, []string{
			`store "n"`, "keyvalue store of", "list store of", "app-n-changelog", "another name", "millrace app reset app", "RebuildStore", "in-0",
		}},
		{"without its base", true, runtime.RefuseStore, []string{
			`store "n"`, "in another form", "list store of", "millrace app reset app",
		}},
		{"taken with its base", false, runtime.RebuildStore, nil},
		{"taken without its base", true, runtime.RebuildStore, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, d := cluster(1), newDisk("")
			fill(c, 100)
			a := app(t, c, counting(t, "n"), onDisk(d))
			committed(t, c)
			if err := closeApp(a); err != nil {
				t.Fatal(err)
			}
			log := link.Partition{Topic: "app-n-changelog"}
			before := c.Records(log)
			if tt.policy == runtime.RebuildStore { // it may be of any kind then: with nothing in it
				c.Create(log.Topic, 1, nil)
			}
			if tt.lost {
				d = newDisk("")
			}
			b := app(t, c, listing(t), onDisk(d), func(cfg *runtime.Config) { cfg.OnStoreChange = tt.policy })
			if tt.says == nil {
				until(t, "it runs", func() bool { return b.State() == runtime.Running })
				return
			}
			<-b.Done()
			e, ok := errors.AsType[*runtime.StoreChangedError](b.Err())
			if !ok || e.Store != "n" || e.App != "app" {
				t.Fatalf("error %v, want one about store n", b.Err())
			}
			for _, s := range tt.says {
				if !strings.Contains(e.Error(), s) {
					t.Errorf("%q does not say %q", e, s)
				}
			}
			if diff := cmp.Diff(before, c.Records(log)); diff != "" || len(d.causes) > 0 {
				t.Errorf("the changelog was written (-was +is), state set aside for %v:\n%s", d.causes, diff)
			}
			again := app(t, c, counting(t, "n"), onDisk(d)) // nothing is lost by it
			want := fill(c, 10)
			committed(t, c)
			if err := closeApp(again); err != nil {
				t.Fatal(err)
			}
			if got := folded(c, log.Topic); len(got) != len(want) || slices.Max([]int64{got["k0"], got["k9"]}) != 11 {
				t.Errorf("the first topology goes on to %v, want 11 each", got)
			}
		})
	}
}
