// SPDX-License-Identifier: Apache-2.0

// Command mutants switches on each deliberate mistake of package
// internal/mutant and expects a named test to fail: a test that passes all the
// same proves nothing. It fails as well if a mistake has no test, or if a test
// fails without its mistake.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A mutant is one deliberate mistake and the test that must catch it.
type mutant struct {
	name, pkg, test string
}

var mutants = []mutant{
	{"skip-fsync", "./broker/internal/seglog", "TestFlushedBatchesSurviveCrash"},
	{"compaction-drops-newest", "./broker/internal/seglog", "TestCompactionKeepsTheNewest"},
	{"forget-fifth-batch", "./broker/internal/seglog", "TestSequences"},
	{"high-watermark-before-flush", "./broker", "TestNothingIsShownBeforeItsFlush"},
	{"offset-reuse", "./broker", "TestOffsetsOfLostRecordsHaveANewEpoch"},
	{"ack-before-append", "./broker", "TestAcknowledgedBatchesAreInTheLog"},
	{"group-answer-before-append", "./broker/internal/group", "TestNothingIsAnsweredBeforeTheAppend"},
	{"group-empty-while-loading", "./broker/internal/group", "TestNoEmptyGroupBeforeTheReplayHasEnded"},
}

func main() {
	root := flag.String("root", "..", "folder of the main module")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *root); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, root string) error {
	src, err := os.ReadFile(filepath.Join(root, "internal", "mutant", "names.go"))
	if err != nil {
		return fmt.Errorf("read the names: %w", err)
	}
	names, err := constants(src)
	if err != nil {
		return err
	}
	if err := complete(names, mutants); err != nil {
		return err
	}
	var errs []error
	for _, m := range mutants {
		errs = append(errs, m.prove(func(mutant string) (string, error) {
			cmd := exec.CommandContext(ctx, "go", "test", "-tags", "mutant", "-count=1", "-v", "-run", "^"+m.test+"$", m.pkg)
			cmd.Dir = root
			cmd.Env = append(os.Environ(), "MUTANT="+mutant)
			out, err := cmd.CombinedOutput()
			return string(out), err
		}))
	}
	return errors.Join(errs...)
}

// prove runs the test of m without and with its mistake.
func (m mutant) prove(test func(mutant string) (output string, err error)) error {
	out, err := test("")
	if err != nil || !strings.Contains(out, "--- PASS: "+m.test) {
		return fmt.Errorf("%s: %s of %s does not pass without the mistake: %w\n%s", m.name, m.test, m.pkg, err, out)
	}
	if out, err = test(m.name); err == nil || !strings.Contains(out, "--- FAIL: "+m.test) {
		return fmt.Errorf("%s: not caught by %s of %s:\n%s", m.name, m.test, m.pkg, out)
	}
	fmt.Printf("mutant %s: caught by %s of %s\n", m.name, m.test, m.pkg)
	return nil
}

// complete compares the mistakes that exist with those that have a test.
func complete(names []string, table []mutant) error {
	for _, n := range names {
		if !slices.ContainsFunc(table, func(m mutant) bool { return m.name == n }) {
			return fmt.Errorf("%s: no test is named that catches it", n)
		}
	}
	for _, m := range table {
		if !slices.Contains(names, m.name) {
			return fmt.Errorf("%s: package internal/mutant has no such mistake", m.name)
		}
	}
	return nil
}

// constants returns the values of the string constants of a Go file.
func constants(src []byte) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "names.go", src, 0)
	if err != nil {
		return nil, fmt.Errorf("read the names: %w", err)
	}
	var names []string
	for node := range ast.Preorder(file) {
		lit, ok := node.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			continue
		}
		name, err := strconv.Unquote(lit.Value)
		if err != nil {
			return nil, fmt.Errorf("read the names: %w", err)
		}
		names = append(names, name)
	}
	return names, nil
}
