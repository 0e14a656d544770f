// SPDX-License-Identifier: Apache-2.0

// Command fuzz runs every fuzz target of the main module for a bounded time,
// one after the other: the go command fuzzes one target at a time. An input
// that fails is left in the package's testdata/fuzz, to be committed with the
// repair, and printed whole: of a finding in CI the output is all that stays.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	root := flag.String("root", "..", "folder of the main module")
	each := flag.Duration("time", 30*time.Second, "time a target")
	total := flag.Duration("total", time.Hour, "time after which no further target is begun")
	parallel := flag.Int("parallel", 0, "inputs tried at a time; 0: one a processor")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *root, *each, *total, *parallel); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		stop()
		os.Exit(1)
	}
}

// minimize is how long an input may be made shorter: it is tried on each that
// covers something new, and with the go command's minute would be all that is done.
const minimize = time.Second

func run(ctx context.Context, root string, each, total time.Duration, parallel int) error {
	all, err := targets(os.DirFS(root))
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("no fuzz target found")
	}
	var errs []error
	end := time.Now().Add(total)
	for i, t := range all {
		begin := time.Now()
		if begin.After(end) {
			fmt.Printf("fuzz: %v are over, targets not reached: %v\n", total, all[i:])
			break
		}
		tree := os.DirFS(filepath.Join(root, t.dir))
		before := inputs(tree, t.name)
		args := []string{"test", "-run", "^$", "-fuzz", "^" + t.name + "$", "-fuzztime", each.String(), "-fuzzminimizetime", minimize.String()}
		if parallel > 0 {
			args = append(args, "-parallel", strconv.Itoa(parallel))
		}
		cmd := exec.CommandContext(ctx, "go", append(args, "./"+t.dir)...)
		cmd.Dir = filepath.Clean(root)
		out, err := cmd.CombinedOutput()
		fmt.Printf("fuzz %s of %s: %s in %v\n", t.name, t.dir, verdict(err), time.Since(begin).Round(time.Second))
		if err != nil {
			fmt.Printf("%s%s", out, show(tree, before, inputs(tree, t.name)))
			errs = append(errs, fmt.Errorf("%s of %s: %w", t.name, t.dir, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// inputs lists the files of the inputs that a target has in its package's testdata.
func inputs(pkg fs.FS, name string) []string {
	files, err := fs.Glob(pkg, path.Join("testdata/fuzz", name, "*"))
	if err != nil {
		return nil // the pattern is ours
	}
	return files
}

// show gives the whole content of the files that came, so that they can be made
// again from a log.
func show(pkg fs.FS, before, after []string) string {
	var b strings.Builder
	for _, name := range after {
		if slices.Contains(before, name) {
			continue
		}
		content, err := fs.ReadFile(pkg, name)
		if err != nil {
			fmt.Fprintf(&b, "%s: %v\n", name, err)
			continue
		}
		fmt.Fprintf(&b, "the input, to be put into %s:\n%s\n", name, content)
	}
	return b.String()
}

func verdict(err error) string {
	if err != nil {
		return "failed"
	}
	return "nothing found"
}

// A target is one fuzz function and the folder of its package.
type target struct {
	dir, name string
}

// targets finds the fuzz functions in a module's tree, in order of path; nested
// modules are not looked at.
func targets(tree fs.FS) ([]target, error) {
	var found []target
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := fs.Stat(tree, path.Join(name, "go.mod"))
			if name != "." && (err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Fuzz") {
				found = append(found, target{path.Dir(name), f.Name.Name})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the fuzz targets: %w", err)
	}
	return found, nil
}
