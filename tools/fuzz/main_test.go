// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestTargets(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte("package p\n" + text)} }
	got, err := targets(fstest.MapFS{
		"go.mod":                file(""),
		"serde/a_test.go":       file("func FuzzB(f *testing.F) {}\nfunc TestX(t *testing.T) {}\nfunc FuzzA(f *testing.F) {}\n"),
		"serde/b.go":            file("func FuzzNoTest() {}\n"),
		"serde/m_test.go":       file("func (x) FuzzMethod() {}\n"),
		"testdata/a_test.go":    file("func FuzzData(f *testing.F) {}\n"),
		"tools/go.mod":          file(""),
		"tools/x/a_test.go":     file("func FuzzNested(f *testing.F) {}\n"),
		"broker/x/wire_test.go": file("func FuzzWire(f *testing.F) {}\n"),
	})
	want := []target{{"broker/x", "FuzzWire"}, {"serde", "FuzzB"}, {"serde", "FuzzA"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("targets = %v, %v, want %v", got, err, want)
	}
}

func TestShowPrintsNewInputsWhole(t *testing.T) {
	content := "go test fuzz v1\nstring(\"" + strings.Repeat("x", 5000) + "\")\n"
	pkg := fstest.MapFS{"testdata/fuzz/FuzzA/old": {Data: []byte("old")}, "testdata/fuzz/FuzzB/other": {Data: []byte("other")}}
	before := inputs(pkg, "FuzzA")
	pkg["testdata/fuzz/FuzzA/new"] = &fstest.MapFile{Data: []byte(content)}
	got := show(pkg, before, inputs(pkg, "FuzzA"))
	if want := "the input, to be put into testdata/fuzz/FuzzA/new:\n" + content + "\n"; got != want {
		t.Errorf("show = %q, want %q", got, want)
	}
}
