// SPDX-License-Identifier: Apache-2.0

package topic_test

import (
	"errors"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topic"
)

func TestCheckName(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"a", ""},
		{"Orders_v2.eu-1", ""},
		{"...", ""},
		{"__consumer_offsets", ""},
		{strings.Repeat("x", 249), ""},
		{"", "the name is empty"},
		{".", "not allowed"},
		{"..", "not allowed"},
		{strings.Repeat("x", 250), "has 250 characters, at most 249"},
		{"a b", "the name has ' '"},
		{"a/b", "the name has '/'"},
		{"b\u00fccher", "the name has '\u00fc'"},
		{"a\x00", `the name has '\x00'`},
		{"a\xff", "the name has"},
	} {
		err := topic.CheckName(tt.name)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("CheckName(%q) = %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestOfFindsTheSerdes(t *testing.T) {
	type order struct{ Amount int64 }
	orders := topic.Of[string, order]("orders")
	if err := orders.Err(); err != nil {
		t.Fatal(err)
	}
	if got := orders.Name() + " " + orders.KeySerde().Name + " " + orders.ValueSerde().Name; got != "orders string msgpack(topic_test.order)" {
		t.Errorf("the topic is %q", got)
	}
	nulls := topic.Of[opt.V[string], opt.V[int64]]("nulls")
	if err := nulls.Err(); err != nil || !nulls.KeySerde().Nullable() || !nulls.ValueSerde().Nullable() {
		t.Errorf("a topic of opt.V does not let nulls through: %v", err)
	}
}

func TestKeysAreFoundAsKeys(t *testing.T) {
	type pair struct{ A, B int }
	pairs := topic.Of[pair, pair]("pairs")
	if k, v := pairs.KeySerde().Name, pairs.ValueSerde().Name; k != "msgpack-key({A int; B int})" || v != "msgpack(topic_test.pair)" {
		t.Errorf("keys by %q and values by %q, want the canonical encoding for the keys alone", k, v)
	}
}

func TestErrTellsAllProblems(t *testing.T) {
	err := topic.Of[map[string]int, chan int]("a b").Err()
	if !errors.Is(err, serde.ErrNone) {
		t.Fatalf("Err = %v, want ErrNone in it", err)
	}
	for _, want := range []string{
		`topic "a b": the name has ' '`,
		`topic "a b": keys: serde: no encoding for map[string]int`,
		`topic "a b": values: serde: no encoding for chan int`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Err = %v\nwant %q in it", err, want)
		}
	}
}

func TestGivenSerdes(t *testing.T) {
	floats := topic.Of[float64, any]("floats")
	if floats.Err() == nil {
		t.Fatal("a float has no serde as a key, and an interface none at all")
	}
	text := serde.Serde[any]{
		Name:   "text",
		Append: func(dst []byte, v any) ([]byte, error) { return append(dst, v.(string)...), nil },
		Decode: func(src []byte) (any, error) { return string(src), nil },
	}
	given := floats.Keys(serde.Float64).Values(text)
	if err := given.Err(); err != nil || given.KeySerde().Name != "float64" || given.ValueSerde().Name != "text" {
		t.Errorf("with serdes given: %v, %q, %q", err, given.KeySerde().Name, given.ValueSerde().Name)
	}
	if floats.Err() == nil {
		t.Error("Keys and Values changed the topic that they were called on")
	}
	bad := topic.Of[string, string]("bad").Keys(serde.Serde[string]{}).Values(serde.Serde[string]{})
	if err := bad.Err(); err == nil || strings.Count(err.Error(), "not valid") != 2 {
		t.Errorf("with serdes that are not valid: Err = %v, want both told", err)
	}
}

var global = topic.Of[string, string]("global")

func TestSiteIsTheCallOfOf(t *testing.T) {
	_, file, line, _ := runtime.Caller(0)
	local := topic.Of[string, int64]("local").Values(serde.Int64)
	if want := file + ":" + strconv.Itoa(line+1); local.Site() != want {
		t.Errorf("Site = %q, want %q", local.Site(), want)
	}
	if got := filepath.Base(global.Site()); !strings.HasPrefix(got, "topic_test.go:") {
		t.Errorf("Site of a package variable = %q, want topic_test.go", got)
	}
	if got := (topic.Topic[string, string]{}).Site(); got != "" {
		t.Errorf("Site of the zero Topic = %q, want none", got)
	}
}
