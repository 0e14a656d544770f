// SPDX-License-Identifier: Apache-2.0

package window_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/window"
)

func TestCountSpecs(t *testing.T) {
	for _, tt := range []struct {
		spec window.CountSpec
		text string
		pane int64
		err  string // "": it is right
	}{
		{window.Count(1), "window.Count(1)", 1, ""},
		{window.Count(100), "window.Count(100)", 100, ""},
		{window.Count(100).Every(10), "window.Count(100).Every(10)", 10, ""},
		{window.Count(10).Every(4), "window.Count(10).Every(4)", 2, ""},
		{window.Count(10).Every(3).OrAfter(time.Minute), "window.Count(10).Every(3).OrAfter(1m0s)", 1, ""},
		{window.Count(0), "window.Count(0)", 0, "0 records"},
		{window.Count(-1), "window.Count(-1)", -1, "-1 records"},
		{window.Count(3).Every(0), "window.Count(3).Every(0)", 3, "every 0 records"},
		{window.Count(3).Every(4), "window.Count(3).Every(4)", 1, "fall between windows"},
		{window.Count(3).OrAfter(0), "window.Count(3).OrAfter(0s)", 3, "less than 1 ms"},
		{window.Count(3).OrAfter(time.Microsecond), "window.Count(3).OrAfter(1\u00b5s)", 3, "not a whole number of milliseconds"},
	} {
		if got := tt.spec.String(); got != tt.text {
			t.Errorf("String = %q, want %q", got, tt.text)
		}
		err := tt.spec.Check()
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: Check = %v, want %q", tt.text, err, tt.err)
		}
		if got := tt.spec.Pane(); err == nil && got != tt.pane {
			t.Errorf("%s: Pane = %d, want %d", tt.text, got, tt.pane)
		}
	}
}

func FuzzCountKeys(f *testing.F) {
	keys := window.CountKeys(serde.String)
	for _, k := range []window.CountKey[string]{{Key: "k", Start: 1, Index: 2}, {Key: ""}, {Key: "a\x00b", Start: 1 << 50, Index: 1 << 40}} {
		b, err := keys.Encode(k)
		if err != nil {
			f.Fatal(err)
		}
		got, err := keys.Decode(b)
		if diff := cmp.Diff(k, got); err != nil || diff != "" {
			f.Fatalf("%v\n%s", err, diff)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		k, err := keys.Decode(src)
		if err != nil {
			return
		}
		if b, err := keys.Encode(k); err != nil || string(b) != string(src) {
			t.Fatalf("%x is taken for %+v, which is %x: %v", src, k, b, err)
		}
	})
}
