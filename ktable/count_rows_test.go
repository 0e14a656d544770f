// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/window"
)

var countSpec = window.Count(10).Every(4)

func countSamples() []countRow[opt.V[string]] {
	return []countRow[opt.V[string]]{
		{count: 1, start: 7},
		{count: 25, oldest: 4, timer: 99, start: 80},
		{timer: 1},
		{start: 5},
		{start: 5, value: opt.Some(opt.Some("abc"))},
		{start: 5, value: opt.Some(opt.None[string]())}, // a null is a value
	}
}

func TestCountRowsSurviveARoundTrip(t *testing.T) {
	rows := countRows(opt.Serde(serde.String), "st", countSpec, 2)
	for _, want := range countSamples() {
		b, err := rows.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := rows.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(countRow[opt.V[string]]{})); diff != "" {
			t.Error(diff)
		}
	}
}

func FuzzCountRows(f *testing.F) {
	rows := countRows(opt.Serde(serde.String), "st", countSpec, 2)
	for _, r := range countSamples() {
		b, err := rows.Encode(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		r, err := rows.Decode(src)
		if err != nil {
			return
		}
		if open := r.count/countSpec.Step() - r.oldest; r.count > 0 && open > 4 {
			t.Fatalf("a head with %d windows more than it can have was taken: % x", open, src)
		}
		b, err := rows.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := rows.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again, cmp.AllowUnexported(countRow[opt.V[string]]{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzCountPlaces(f *testing.F) {
	fuzzPlaces(f, countPlaces(serde.String),
		countPlace[string]{kind: countTimer, at: 17, key: "k"}, countPlace[string]{kind: countHead, key: ""}, countPlace[string]{kind: countPiece, at: 3, key: "key"})
}

// fuzzPlaces looks for a key of a row that is read, and not written as it was.
func fuzzPlaces[P any](f *testing.F, places serde.Serde[P], samples ...P) {
	for _, p := range samples {
		b, err := places.Encode(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := places.Decode(src)
		if err != nil {
			return
		}
		b, err := places.Encode(p)
		if err != nil || string(b) != string(src) {
			t.Fatalf("%x is taken for %+v, which is %x: %v", src, p, b, err)
		}
	})
}
