// SPDX-License-Identifier: Apache-2.0

package topic_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topic"
)

func TestAPatternMatchesWholeNames(t *testing.T) {
	for _, tt := range []struct {
		expr, name string
		want       bool
	}{
		{"orders-.*", "orders-eu", true},
		{"orders-.*", "old-orders-eu", false},
		{"orders", "orders-eu", false},
		{"^orders-.*$", "orders-eu", true},
		{"a|b", "b", true},
		{"a|b", "ab", false},
		{"a|b", "bc", false},
		{"a\nb", "a\nb", true},
		{`(?i)orders`, "ORDERS", true},
		{"orders)(", "orders", false},
		{"", "", false},
	} {
		if got := topic.Matching[string, string](tt.expr).Matches(tt.name); got != tt.want {
			t.Errorf("Matching(%q).Matches(%q) = %v, want %v", tt.expr, tt.name, got, tt.want)
		}
	}
	var zero topic.Pattern[string, string]
	if zero.Matches("") {
		t.Error("the zero pattern matches")
	}
}

func TestAPatternTellsAllThatIsWrong(t *testing.T) {
	p := topic.Matching[map[string]int, func()]("orders-[")
	err := p.Err()
	if err == nil {
		t.Fatal("nothing is said")
	}
	for _, want := range []string{`pattern "orders-[": error parsing regexp`, "keys: ", "values: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in\n%v", want, err)
		}
	}
	if !strings.Contains(p.Site(), "pattern_test.go:") {
		t.Errorf("Site() = %q", p.Site())
	}
	// Brackets that only ours would close are not taken.
	for _, expr := range []string{"a)|(b", ""} {
		if topic.Matching[string, string](expr).Err() == nil {
			t.Errorf("nothing is said of %q", expr)
		}
	}
}

func TestATopicOfAPattern(t *testing.T) {
	p := topic.Matching[string, string]("orders-.*").Keys(serde.String).Values(serde.String)
	in := p.Topic("orders-eu")
	if err := in.Err(); err != nil || in.Name() != "orders-eu" || in.KeySerde().Name != serde.String.Name {
		t.Errorf("Topic gives %q with %s, %v", in.Name(), in.KeySerde().Name, err)
	}
	if err := p.Err(); err != nil {
		t.Error(err)
	}
}
