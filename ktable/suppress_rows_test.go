// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
)

type heldText = held[opt.V[string]]

func heldSamples() []heldText {
	abc := opt.Some(opt.Some("abc"))
	return []heldText{
		{mark: true},
		{at: 5, timestamp: -7, now: abc},
		{at: -5, old: abc},
		{old: opt.Some(opt.None[string]()), now: opt.Some(opt.Some(""))}, // a null is a value
		{headers: []processor.Header{{Key: "a", Value: []byte("b")}, {Value: []byte{}}, {Key: "null"}}, now: abc},
	}
}

func TestSuppressedRowsSurviveARoundTrip(t *testing.T) {
	rows := heldRows(opt.Serde(serde.String))
	for _, want := range heldSamples() {
		b, err := rows.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := rows.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(heldText{})); diff != "" {
			t.Error(diff)
		}
	}
}

func FuzzHeldRows(f *testing.F) {
	rows := heldRows(opt.Serde(serde.String))
	for _, h := range heldSamples() {
		b, err := rows.Encode(h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		h, err := rows.Decode(src)
		if err != nil {
			return
		}
		b, err := rows.Encode(h)
		if err != nil {
			t.Fatalf("% x was read, and can't be written: %v", src, err)
		}
		again, err := rows.Decode(b)
		if err != nil {
			t.Fatalf("% x was written, and can't be read: %v", b, err)
		}
		if diff := cmp.Diff(h, again, cmp.AllowUnexported(heldText{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzHeldPlaces(f *testing.F) {
	fuzzPlaces(f, heldPlaces(serde.String),
		heldPlace[string]{key: "a"}, heldPlace[string]{timed: true, at: -1, key: "a"}, heldPlace[string]{timed: true, at: 1})
}
