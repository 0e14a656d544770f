// SPDX-License-Identifier: Apache-2.0

// Command rocksdb gets the RocksDB that package state/rocksdb links with, and
// prints what a build with it needs, as lines for a shell to eval:
//
//	export CGO_CFLAGS='-O2 -g -I...'
//	export CGO_LDFLAGS='-L... -Wl,-rpath,...'
//	export TAGS='rocksdb,grocksdb_clean_link'
//
// It takes a RocksDB 10.1 of the system if there is one, else the release build
// within the Maven artifact org.rocksdb:rocksdbjni, verified and unpacked once
// into a cache folder. Where neither can be had it says why in one line and
// TAGS is empty: the build then goes on without RocksDB. Under CI=true that is
// an error.
//
// It needs nothing but the standard library, so that it runs before any module
// has been downloaded.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	root := flag.String("root", "..", "folder of the main module, whose go.mod pins grocksdb")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *root, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "rocksdb:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, root string, stdout, stderr io.Writer) error {
	cache, err := cacheRoot(os.Getenv, os.UserHomeDir)
	if err != nil {
		return err
	}
	s := setup{
		root:     root,
		cache:    cache,
		host:     thisHost(ctx, execCommand),
		pins:     released,
		prefixes: systemPrefixes,
		run:      execCommand,
		look:     lookPath,
		say:      func(line string) { _, _ = fmt.Fprintln(stderr, "rocksdb:", line) },
	}
	f, err := s.get(ctx)
	if err != nil {
		if os.Getenv("CI") == "true" {
			return fmt.Errorf("needed under CI=true: %w", err)
		}
		s.say("building without it, Pebble serves: " + err.Error())
		f = flags{}
	}
	_, err = io.WriteString(stdout, f.shell(os.Getenv))
	return err
}

// flags is what a build needs to find one RocksDB. The zero value is a build
// without it.
type flags struct {
	include string // folder that holds rocksdb/c.h; "" if the compiler finds it by itself
	lib     string // folder of the shared library; "" if the linker finds it by itself
	ok      bool   // false: no RocksDB
}

// shell is f as export lines. Flags that the user has in the environment stay,
// behind ours, so that our header is found before another version's.
func (f flags) shell(getenv func(string) string) string {
	if !f.ok {
		return "export TAGS=''\n"
	}
	cflags, ldflags := getenv("CGO_CFLAGS"), getenv("CGO_LDFLAGS")
	if cflags == "" {
		cflags = "-O2 -g" // cgo's own default, lost once the variable is set
	}
	if f.include != "" {
		cflags = before(word("-I"+f.include), cflags)
	}
	if f.lib != "" {
		ldflags = before(word("-L"+f.lib)+" "+word("-Wl,-rpath,"+f.lib), ldflags)
	}
	return "export CGO_ENABLED='1'\n" +
		"export CGO_CFLAGS=" + quote(cflags) + "\n" +
		"export CGO_LDFLAGS=" + quote(ldflags) + "\n" +
		"export TAGS='rocksdb,grocksdb_clean_link'\n"
}

// before puts ours in front of flags, if it is not there already from an
// earlier run: other flags would mean another build.
func before(ours, flags string) string {
	if strings.HasPrefix(flags, ours) {
		return flags
	}
	return strings.TrimSpace(ours + " " + flags)
}

// word makes one field of a list as package cmd/internal/quoted splits it.
func word(s string) string {
	if strings.ContainsAny(s, " \t\n") {
		return `"` + s + `"`
	}
	return s
}

// quote makes one word of a POSIX shell.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// cacheRoot is $MILLRACE_CACHE, or millrace in the user's cache folder.
func cacheRoot(getenv func(string) string, home func() (string, error)) (string, error) {
	dir := getenv("MILLRACE_CACHE")
	if dir == "" && getenv("XDG_CACHE_HOME") != "" {
		dir = filepath.Join(getenv("XDG_CACHE_HOME"), "millrace")
	}
	if dir == "" {
		h, err := home()
		if err != nil {
			return "", fmt.Errorf("choose a cache folder: %w", err)
		}
		dir = filepath.Join(h, ".cache", "millrace")
	}
	return filepath.Abs(dir)
}
