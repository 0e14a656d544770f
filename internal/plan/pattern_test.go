// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/plan"
)

func pattern(expr string, matches func(string) bool) *plan.Node {
	return &plan.Node{Kind: plan.Source, Op: "source", Site: "test:" + expr, Pattern: &plan.Pattern{Expr: expr, Matches: matches}}
}

func begins(prefix string) func(string) bool {
	return func(topic string) bool { return strings.HasPrefix(topic, prefix) }
}

// shop reads orders-.* and users, which meet in a store, and all that ends so.
func shop(t *testing.T) *plan.Plan {
	t.Helper()
	g := plan.NewGraph("shop")
	orders := g.Add(pattern(`orders-\d+`, begins("orders-")))
	users := g.Add(&plan.Node{Kind: plan.Source, Op: "source", Site: "test:2", Topic: "users"})
	st := g.AddStore(&plan.Store{Name: "n", Site: "test:3"})
	join := g.Add(&plan.Node{Kind: plan.Operator, Op: "join", Site: "test:4", Stores: []*plan.Store{st}}, orders, users)
	g.Add(&plan.Node{Kind: plan.Sink, Op: "sink", Site: "test:5", Topic: "shop-by-user-repartition", Internal: true}, join)
	g.Add(&plan.Node{Kind: plan.Source, Op: "source", Site: "test:6", Topic: "shop-by-user-repartition", Internal: true})
	g.Add(pattern(".*-audit", func(topic string) bool { return strings.HasSuffix(topic, "-audit") }))
	g.Add(pattern(".*-audit", func(topic string) bool { return strings.HasSuffix(topic, "-audit") }))
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMatch(t *testing.T) {
	p := shop(t)
	m, overlaps := p.Match([]string{
		"users", "orders-2", "orders-1", "old", "x-audit", "__y-audit", "shop-n-changelog", "shop-old-audit",
	})
	want := plan.Matches{`orders-\d+`: {"orders-1", "orders-2"}, ".*-audit": {"shop-old-audit", "x-audit"}}
	if diff := cmp.Diff(want, m); diff != "" || len(overlaps) > 0 {
		t.Errorf("matches (-want +got), overlaps %v:\n%s", overlaps, diff)
	}
	if _, overlaps = p.Match([]string{"orders-audit"}); len(overlaps) != 1 || overlaps[0].Topic != "orders-audit" ||
		!strings.Contains(overlaps[0].Problem, `test:orders-\d+`) || !strings.Contains(overlaps[0].Problem, "test:.*-audit") {
		t.Errorf("overlaps are %v", overlaps)
	}
	if m, overlaps := p.Match([]string{"shop-by-user-repartition", "orders-1-changelog"}); len(overlaps) > 0 || len(m[`orders-\d+`]) != 1 {
		t.Errorf("internal topics match, or those of others do not: %v, %v", m, overlaps)
	}
}

// What hangs on the topics of a sub-topology hangs on those of its patterns as well.
func TestWhatFollowsFromMatches(t *testing.T) {
	p := shop(t)
	m := plan.Matches{`orders-\d+`: {"orders-1", "orders-2"}}
	if diff := cmp.Diff([][]string{{"orders-1", "orders-2", "users"}}, p.Copartitioned(m)); diff != "" {
		t.Errorf("topics whose records meet (-want +got):\n%s", diff)
	}
	for _, in := range p.Internals(m) {
		if diff := cmp.Diff([]string{"orders-1", "orders-2", "users"}, in.Sources); diff != "" {
			t.Errorf("%s follows (-want +got):\n%s", in.Name, diff)
		}
	}
	var names []string
	for _, s := range p.Subs {
		names = append(names, s.Name)
	}
	want := []string{`orders-_d_~`, "shop-by-user-repartition", "._-audit~"}
	for i, name := range names {
		if !strings.HasPrefix(name, want[min(i, 2)]) && name != want[min(i, 2)] {
			t.Errorf("sub-topology %d is called %q, want %q", i, name, want[min(i, 2)])
		}
		if strings.ContainsAny(name, `/\*+|?`) {
			t.Errorf("sub-topology %q has no name of a folder", name)
		}
	}
	if len(names) != 3 {
		t.Errorf("%d sub-topologies, want 3: sources of one pattern are in one", len(names))
	}
}

func TestDescribeAPattern(t *testing.T) {
	d := shop(t).Describe()
	for format, want := range map[string]string{
		"text":    "Source: source-0 (topics: orders-\\d+)\n",
		"mermaid": "[/\"topics orders-\\d+\"/]\n",
		"dot":     `[label="topics orders-\\d+", shape=cds]`,
		"json":    `"pattern": "orders-\\d+"`,
	} {
		got, err := d.Format(format)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %q:\n%s", format, want, got)
		}
	}
}
