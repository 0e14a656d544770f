// SPDX-License-Identifier: Apache-2.0

package agg_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMissingCapabilityIsACompileError builds a package that must not compile
// and compares where the compiler complains with where the package says so.
func TestMissingCapabilityIsACompileError(t *testing.T) {
	const file = "testdata/refused/refused.go"
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-e", "./testdata/refused").CombinedOutput()
	if err == nil {
		t.Fatal("a package that asks for missing capabilities compiles")
	}
	complaints := map[string]string{} // "refused.go:12:" to the line of output
	for line := range strings.Lines(string(out)) {
		if _, rest, ok := strings.Cut(line, "refused.go:"); ok {
			number, _, _ := strings.Cut(rest, ":")
			complaints["refused.go:"+number] += rest
		}
	}
	wants := 0
	for i, line := range strings.Split(string(source), "\n") {
		at := fmt.Sprintf("refused.go:%d", i+1)
		_, want, ok := strings.Cut(line, "// want: ")
		if !ok {
			continue
		}
		wants++
		if got := complaints[at]; !strings.Contains(got, want) {
			t.Errorf("%s: %s\nthe compiler says %q, want %q in it", at, strings.TrimSpace(line), got, want)
		}
		delete(complaints, at)
	}
	for at, got := range complaints {
		t.Errorf("%s should compile: %s", at, got)
	}
	if wants < 10 {
		t.Errorf("only %d wants found in %s", wants, file)
	}
}
