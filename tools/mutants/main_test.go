// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestConstants(t *testing.T) {
	got, err := constants([]byte("package mutant\nconst (\nA Name = \"a-b\" // \"not this\"\nB Name = \"c\"\n)\n"))
	if want := []string{"a-b", "c"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("constants = %q, %v, want %q", got, err, want)
	}
}

func TestEveryMistakeHasATest(t *testing.T) {
	table := []mutant{{name: "a"}, {name: "b"}}
	if err := complete([]string{"a", "b"}, table); err != nil {
		t.Error(err)
	}
	if err := complete([]string{"a", "b", "c"}, table); err == nil || !strings.HasPrefix(err.Error(), "c:") {
		t.Errorf("error for a mistake without a test is %v", err)
	}
	if err := complete([]string{"a"}, table); err == nil || !strings.HasPrefix(err.Error(), "b:") {
		t.Errorf("error for a test without a mistake is %v", err)
	}
}

func TestProve(t *testing.T) {
	failed := errors.New("exit status 1")
	for _, test := range []struct {
		name          string
		without, with string // outputs
		errs          [2]error
		want          string // part of the error, "" for none
	}{
		{"caught", "--- PASS: TestX", "--- FAIL: TestX", [2]error{nil, failed}, ""},
		{"not caught", "--- PASS: TestX", "--- PASS: TestX", [2]error{}, "not caught"},
		{"no such test", "no tests to run", "no tests to run", [2]error{}, "does not pass"},
		{"does not build", "undefined: y", "undefined: y", [2]error{failed, failed}, "does not pass"},
		{"fails for another reason", "--- PASS: TestX", "out of memory", [2]error{nil, failed}, "not caught"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := mutant{"m", "./p", "TestX"}.prove(func(mutant string) (string, error) {
				if mutant == "" {
					return test.without, test.errs[0]
				}
				return test.with, test.errs[1]
			})
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("prove = %v, want %q", err, test.want)
			}
		})
	}
}
