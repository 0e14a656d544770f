// SPDX-License-Identifier: Apache-2.0

package opt_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
)

func TestZeroIsAbsentAndAZeroValueIsNot(t *testing.T) {
	var zero opt.V[int]
	if zero != opt.None[int]() {
		t.Errorf("the zero V is %v, want none", zero)
	}
	if v, ok := opt.Some(0).Get(); v != 0 || !ok {
		t.Errorf("Some(0).Get() = %v, %v, want 0, true", v, ok)
	}
	if v, ok := zero.Get(); v != 0 || ok {
		t.Errorf("None.Get() = %v, %v, want 0, false", v, ok)
	}
	if got := opt.Some(0).Or(7); got != 0 {
		t.Errorf("Some(0).Or(7) = %v, want 0", got)
	}
	if got := zero.Or(7); got != 7 {
		t.Errorf("None.Or(7) = %v, want 7", got)
	}
}

func TestSerdeTellsNullFromEmpty(t *testing.T) {
	s, err := serde.For[opt.V[string]]()
	if err != nil || s.Name != "string" || !s.Nullable() {
		t.Fatalf("For = %q, %v, want a serde with a null", s.Name, err)
	}
	for _, tt := range []struct {
		v    opt.V[string]
		want []byte
	}{
		{opt.None[string](), nil},
		{opt.Some(""), []byte{}},
		{opt.Some("w"), []byte("w")},
	} {
		b, err := s.Encode(tt.v)
		if err != nil || string(b) != string(tt.want) || (b == nil) != (tt.want == nil) {
			t.Errorf("Encode(%v) = %#v, %v, want %#v", tt.v, b, err, tt.want)
		}
		if back, err := s.Decode(b); err != nil || back != tt.v {
			t.Errorf("Decode(%#v) = %v, %v, want %v", b, back, err, tt.v)
		}
	}
}

func TestSerdeOfBadBytes(t *testing.T) {
	s, err := serde.ForKey[opt.V[int64]]()
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Decode([]byte{}); err == nil || v.OK {
		t.Errorf("Decode of no bytes = %v, %v, want an error and no value", v, err)
	}
}

func TestSerdeOfWhatHasNone(t *testing.T) {
	type pair struct{ A, B int }
	if _, err := serde.For[opt.V[chan int]](); !errors.Is(err, serde.ErrNone) {
		t.Errorf("For[V[chan int]] = %v, want ErrNone", err)
	}
	if _, err := serde.For[opt.V[opt.V[int]]](); !errors.Is(err, serde.ErrNone) ||
		!strings.HasSuffix(err.Error(), "int64 has a null of its own") {
		t.Errorf("For[V[V[int]]] = %v, want ErrNone: two absences and one null", err)
	}
	if _, err := serde.For[opt.V[*pair]](); !errors.Is(err, serde.ErrNone) {
		t.Errorf("For[V[*pair]] = %v, want ErrNone: two absences and one null", err)
	}
	if _, err := serde.ForKey[opt.V[float64]](); !errors.Is(err, serde.ErrNone) {
		t.Errorf("ForKey[V[float64]] = %v, want ErrNone: no more canonical than the float", err)
	}
	if s := opt.Serde(serde.Serde[int]{}); s.Valid() {
		t.Error("Serde of a serde that is not valid is valid")
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	s, _ := serde.For[opt.V[int64]]()
	buf, v := make([]byte, 0, 8), opt.Some[int64](7)
	if got := testing.AllocsPerRun(100, func() { buf, _ = s.Append(buf[:0], v) }); got != 0 {
		t.Errorf("Append: %v allocations, want none", got)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := opt.V[string]{}
		if rapid.Bool().Draw(t, "ok") {
			v = opt.Some(rapid.String().Draw(t, "v"))
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		back := opt.Some("before")
		if err := json.Unmarshal(b, &back); err != nil || back != v {
			t.Fatalf("Unmarshal(%s) = %v, %v, want %v", b, back, err, v)
		}
	})
	var n opt.V[int]
	if err := json.Unmarshal([]byte(`"x"`), &n); err == nil || n.OK {
		t.Errorf(`Unmarshal of "x" into a V[int] = %v, %v, want an error and no value`, n, err)
	}
}
