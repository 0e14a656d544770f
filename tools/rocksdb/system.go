// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// systemPrefixes is where packages and "make install" put a library.
var systemPrefixes = []string{"/usr", "/usr/local", "/opt/homebrew", "/opt/homebrew/opt/rocksdb"}

var versionLine = regexp.MustCompile(`(?m)^#define\s+ROCKSDB_(MAJOR|MINOR)\s+(\d+)`)

// findSystem looks for header and library of RocksDB version ("10.1") below
// prefix. Both must be of that version: grocksdb calls functions that others lack.
func findSystem(prefix, version string) (flags, bool) {
	header, err := os.ReadFile(filepath.Join(prefix, "include", "rocksdb", "version.h"))
	if err != nil {
		return flags{}, false
	}
	if _, err := os.Stat(filepath.Join(prefix, "include", "rocksdb", "c.h")); err != nil {
		return flags{}, false
	}
	part := map[string]string{}
	for _, m := range versionLine.FindAllStringSubmatch(string(header), -1) {
		part[m[1]] = m[2]
	}
	if part["MAJOR"]+"."+part["MINOR"] != version {
		return flags{}, false
	}
	for _, pattern := range []string{"lib", "lib64", "lib/*-linux-*"} {
		dirs, _ := filepath.Glob(filepath.Join(prefix, pattern))
		for _, dir := range dirs {
			if !holds(dir, version) {
				continue
			}
			f := flags{ok: true}
			if prefix != "/usr" { // where compilers look by themselves
				f.include, f.lib = filepath.Join(prefix, "include"), dir
			}
			return f, true
		}
	}
	return flags{}, false
}

// holds tells whether dir has a librocksdb of version: the linker's name is a
// link to a file such as librocksdb.so.10.1.3 or librocksdb.10.1.3.dylib.
func holds(dir, version string) bool {
	for _, name := range []string{"librocksdb.so", "librocksdb.dylib"} {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		rest := strings.TrimPrefix(strings.TrimPrefix(filepath.Base(real), "librocksdb."), "so.")
		if strings.HasPrefix(rest+".", version+".") {
			return true
		}
	}
	return false
}
