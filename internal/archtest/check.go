// SPDX-License-Identifier: Apache-2.0

// Package archtest holds the module's layers: which package may import which,
// which may use cgo, and what every file begins with. It reads the tree through
// an fs.FS and parses imports itself: a test that asks the go command is cached
// as if its inputs never change, and sees only the files of one build.
package archtest

import (
	"bufio"
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// licence is in the first lines of every file.
const licence = "SPDX-License-Identifier: Apache-2.0"

// Check returns what breaks the rules in the tree of a module, sorted, each as
// "file: why". Nested modules are checked for licence lines alone.
func Check(tree fs.FS, module string) ([]string, error) {
	c := &checker{tree: tree, module: module}
	if err := fs.WalkDir(tree, ".", c.visit); err != nil {
		return nil, fmt.Errorf("walk the tree: %w", err)
	}
	slices.Sort(c.breaches)
	return slices.Compact(c.breaches), nil
}

type checker struct {
	tree     fs.FS
	module   string
	nested   []string // folders of nested modules, each with a final slash
	breaches []string
}

func (c *checker) breach(file, format string, args ...any) {
	c.breaches = append(c.breaches, file+": "+fmt.Sprintf(format, args...))
}

func (c *checker) visit(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if d.IsDir() {
		if slices.Contains([]string{".git", ".cache", "bin", "target", "testdata"}, d.Name()) {
			return fs.SkipDir
		}
		if _, err := fs.Stat(c.tree, path.Join(name, "go.mod")); err == nil && name != "." {
			c.nested = append(c.nested, name+"/")
		}
		return nil
	}
	if !hasLicence(name) {
		return nil
	}
	text, err := fs.ReadFile(c.tree, name)
	if err != nil {
		return err
	}
	c.licence(name, text)
	inNested := func(dir string) bool { return strings.HasPrefix(name, dir) }
	if path.Ext(name) == ".go" && !slices.ContainsFunc(c.nested, inNested) {
		c.goFile(name, text)
	}
	return nil
}

// hasLicence tells whether a file is of a kind that begins with the licence.
func hasLicence(name string) bool {
	switch path.Ext(name) {
	case ".go", ".sh", ".c", ".h", ".java", ".yml", ".yaml":
		return true
	}
	return slices.Contains([]string{"Makefile", "pom.xml"}, path.Base(name)) || strings.HasPrefix(name, ".ci/")
}

// licence looks at the first line of a Go file, at two lines of others, whose
// first may have to be "#!".
func (c *checker) licence(name string, text []byte) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; n <= 2 && lines.Scan(); n++ {
		if strings.Contains(lines.Text(), licence) {
			return
		}
		if path.Ext(name) == ".go" {
			break
		}
	}
	c.breach(name, "does not begin with %s", licence)
}

func (c *checker) goFile(name string, text []byte) {
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
	if err != nil {
		c.breach(name, "%v", err)
		return
	}
	pkg := strings.TrimPrefix(path.Dir(name), ".")
	for _, word := range append(strings.Split(pkg, "/"), file.Name.Name) {
		if slices.Contains(refusedNames, word) {
			c.breach(name, "a package called %q does not say what it holds", word)
		}
	}
	from, ok := roomOf(pkg)
	if !ok {
		c.breach(name, "package %s has no layer: give it one in internal/archtest/layers.go", pkg)
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			c.breach(name, "%v", err)
			continue
		}
		c.cgo(name, pkg, imported)
		if ok && !strings.HasSuffix(name, "_test.go") {
			c.arrow(name, from, imported)
		}
	}
}

func (c *checker) cgo(name, pkg, imported string) {
	if !slices.Contains(cgoRooms, pkg) && slices.Contains(cgoModules, imported) {
		c.breach(name, "imports %s: cgo is for %s alone", imported, strings.Join(cgoRooms, " and "))
	}
}

// arrow checks one import of a file that is no test.
func (c *checker) arrow(name string, from room, imported string) {
	target, ours := strings.CutPrefix(imported+"/", c.module+"/")
	if !ours {
		return
	}
	target = strings.TrimSuffix(target, "/")
	to, ok := roomOf(target)
	if !ok {
		c.breach(name, "imports %s, which has no layer", imported)
		return
	}
	if why := objection(from, to); why != "" {
		c.breach(name, "imports %s: %s", imported, why)
	}
}
