// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

var rewrite = flag.Bool("rewrite", false, "write the files of testdata/describe anew")

// shop has a node of each kind, two sub-topologies and a topic that records choose.
func shop() *processor.Topology {
	t := processor.NewTopology("shop")
	seen := processor.AddStore(t, state.KeyValue[string, int64]("seen"))
	customers := ktable.From(t, "customers", topic.Of[string, string]("customers"))
	s := kstream.From(t, orders)
	enriched := s.
		ProcessValues("dedupe", func(pc *processor.Context[string, order], r processor.Record[string, order]) error {
			return pc.Forward(r)
		}, seen).
		LeftJoinTable(customers, func(o order, _ opt.V[string]) order { return o })
	large, small := enriched.Branch(func(_ string, o order) bool { return o.Amount > 100 })
	large.Merge(small).ToChosen(func(processor.Record[string, order]) string { return "all" })
	s.GroupBy("by-customer", func(_ string, o order) string { return o.Customer }).
		CountWindows(window.Count(10)).Count("tens").
		To(topic.Of[window.CountKey[string], int64]("tens").Keys(window.CountKeys(serde.String)))
	return t
}

func TestDescribe(t *testing.T) {
	d, err := shop().Describe()
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"text", "mermaid", "dot", "json"} {
		t.Run(format, func(t *testing.T) {
			got, err := d.Format(format)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "describe", "shop."+format)
			if *rewrite {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-%s +got; -rewrite takes it over):\n%s", path, diff)
			}
			again, err := shop().Describe()
			if err != nil {
				t.Fatal(err)
			}
			if text, _ := again.Format(format); text != got {
				t.Error("a second build of the same program is described otherwise")
			}
		})
	}
}

func TestDescribeTellsWhatIsWrong(t *testing.T) {
	top := processor.NewTopology("app")
	kstream.From(top, orders).GroupByKey().Count("")
	if _, err := top.Describe(); err == nil || !strings.Contains(err.Error(), "describe_test.go:") {
		t.Errorf("got %v, want the place of what is wrong", err)
	}
	d, err := shop().Describe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Format("png"); err == nil || !strings.Contains(err.Error(), "text, mermaid, dot, json") {
		t.Errorf("got %v, want the formats that there are", err)
	}
}
