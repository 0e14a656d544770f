// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// pins says which files a set-up takes, exactly.
type pins struct {
	version  string // of RocksDB and of the artifact
	artifact string // Maven coordinates
	sha256   string // of the artifact's jar
	plugin   string // Maven plugin and goal that copies an artifact
	header   string // Go module that carries the C header as c.h; go.mod pins its version, go.sum its hash
}

// released is RocksDB 10.1.3 as Kafka Streams uses it.
var released = pins{
	version:  "10.1.3",
	artifact: "org.rocksdb:rocksdbjni:10.1.3",
	sha256:   "e7f925287d9fe2574fb7c7a86f7facaa9b8ab602a2eed0e598bf633528121498",
	plugin:   "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy",
	header:   "github.com/linxGnu/grocksdb",
}

// setup finds or makes a RocksDB for one host.
type setup struct {
	root     string // folder of the main module
	cache    string // folder of all that Millrace keeps between builds
	host     host
	pins     pins
	prefixes []string
	run      runner
	look     func(program string) bool
	say      func(line string) // one line before something slow
}

// stampName is the last file written into a finished folder; it holds the pins
// that the folder was made from.
const stampName = "stamp.json"

// get returns the flags of a RocksDB, making the cache folder if need be. With
// the folder there it starts no program and touches no network.
func (s *setup) get(ctx context.Context) (flags, error) {
	if s.host.cc == "" {
		return flags{}, errors.New("no C compiler (install gcc), or CGO_ENABLED=0")
	}
	member, library, err := s.host.member()
	if err != nil {
		return flags{}, err
	}
	minor := s.pins.version[:strings.LastIndexByte(s.pins.version, '.')]
	for _, p := range s.prefixes {
		if f, ok := findSystem(p, minor); ok {
			return f, nil
		}
	}
	dir := filepath.Join(s.cache, "rocksdb-"+s.pins.version+"-"+s.host.name())
	if !s.ready(dir) {
		if err := s.build(ctx, dir, member, library); err != nil {
			return flags{}, err
		}
	}
	return flagsOf(dir), nil
}

func flagsOf(dir string) flags {
	return flags{include: filepath.Join(dir, "include"), lib: filepath.Join(dir, "lib"), ok: true}
}

// stamp is what a finished folder was made from, in bytes. The version of the
// header is what go.mod says.
func (s *setup) stamp() []byte {
	mod, _ := os.ReadFile(filepath.Join(s.root, "go.mod"))
	header := regexp.MustCompile(regexp.QuoteMeta(s.pins.header) + ` v\S+`).Find(mod)
	return fmt.Appendf(nil, "{%q: %q, %q: %q}\n", s.pins.artifact, s.pins.sha256, "header", header)
}

func (s *setup) ready(dir string) bool {
	got, err := os.ReadFile(filepath.Join(dir, stampName))
	return err == nil && bytes.Equal(got, s.stamp())
}

// build makes dir: in a folder beside it, renamed when all is there and was
// seen to link and run. Of two builds at once the second to end is dropped.
func (s *setup) build(ctx context.Context, dir, member, library string) error {
	if err := os.MkdirAll(s.cache, 0o755); err != nil {
		return fmt.Errorf("make the cache folder: %w", err)
	}
	tmp, err := os.MkdirTemp(s.cache, "rocksdb-new-")
	if err != nil {
		return fmt.Errorf("make the cache folder: %w", err)
	}
	defer os.RemoveAll(tmp)
	made := filepath.Join(tmp, "made")
	for _, d := range []string{"include/rocksdb", "lib"} {
		if err := os.MkdirAll(filepath.Join(made, d), 0o755); err != nil {
			return fmt.Errorf("make the cache folder: %w", err)
		}
	}
	jar, err := s.fetch(ctx, tmp)
	if err != nil {
		return err
	}
	if err := verify(jar, s.pins.sha256); err != nil {
		return err
	}
	file := filepath.Join(made, "lib", library)
	if err := extract(jar, member, file); err != nil {
		return err
	}
	if err := s.header(ctx, filepath.Join(made, "include", "rocksdb", "c.h")); err != nil {
		return err
	}
	if err := s.adapt(ctx, file); err != nil {
		return err
	}
	if err := s.probe(ctx, tmp, flagsOf(made)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(made, stampName), s.stamp(), 0o644); err != nil {
		return fmt.Errorf("write the stamp: %w", err)
	}
	return s.place(made, dir, filepath.Join(tmp, "old"))
}

// place renames made to dir; what stood there with other pins goes to old.
func (s *setup) place(made, dir, old string) error {
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace %s: %w", dir, err)
	}
	if err := os.Rename(made, dir); err != nil && !s.ready(dir) {
		return fmt.Errorf("finish %s: %w", dir, err)
	}
	return nil
}

// fetch has the Maven client copy the artifact into tmp, and returns its path.
func (s *setup) fetch(ctx context.Context, tmp string) (string, error) {
	if err := s.needMaven(ctx); err != nil {
		return "", err
	}
	s.say("fetching " + s.pins.artifact + " (73 MB) with Maven, once, into " + s.cache)
	out, err := s.run(ctx, tmp, "", "mvn", "-B", "-q", "-Dstyle.color=never", s.pins.plugin,
		"-Dartifact="+s.pins.artifact, "-DoutputDirectory="+tmp)
	if err != nil {
		return "", fmt.Errorf("fetch %s: %w", s.pins.artifact, cause(out, err))
	}
	jars, _ := filepath.Glob(filepath.Join(tmp, "*.jar"))
	if len(jars) != 1 {
		return "", fmt.Errorf("fetch %s: Maven left %d jars", s.pins.artifact, len(jars))
	}
	return jars[0], nil
}

// needMaven installs the Maven client where that is ours to do.
func (s *setup) needMaven(ctx context.Context) error {
	if s.look("mvn") {
		return nil
	}
	if !s.host.debian || !s.host.root {
		return errors.New("the Maven client is missing (apt-get install maven)")
	}
	s.say("installing the Maven client: apt-get install -y maven")
	install := []string{"DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-q", "maven"}
	out, err := s.run(ctx, "", "", "env", install...)
	if err != nil { // package lists missing or out of date
		if out, err = s.run(ctx, "", "", "apt-get", "update", "-q"); err == nil {
			out, err = s.run(ctx, "", "", "env", install...)
		}
	}
	if err != nil {
		return fmt.Errorf("install the Maven client: %w", cause(out, err))
	}
	return nil
}

// header copies the C header that the pinned grocksdb was written against.
func (s *setup) header(ctx context.Context, dst string) error {
	out, err := s.run(ctx, s.root, "", "go", "mod", "download", "-json", s.pins.header)
	if err != nil {
		return fmt.Errorf("download %s: %w", s.pins.header, cause(out, err))
	}
	var mod struct{ Dir string }
	if err := json.Unmarshal(out, &mod); err != nil || mod.Dir == "" {
		return fmt.Errorf("download %s: no folder in the go command's answer", s.pins.header)
	}
	b, err := os.ReadFile(filepath.Join(mod.Dir, "c.h"))
	if err != nil {
		return fmt.Errorf("copy the header: %w", err)
	}
	if err := os.WriteFile(dst, b, 0o644); err != nil {
		return fmt.Errorf("copy the header: %w", err)
	}
	return nil
}

// adapt makes file, built to be loaded by a JVM, good to link with.
func (s *setup) adapt(ctx context.Context, file string) error {
	switch s.host.os {
	case "darwin":
		// A program looks for the name that the library calls itself by, here one of
		// its build machine; changing it breaks the signature, so it is signed again.
		for _, c := range [][]string{
			{"install_name_tool", "-id", "@rpath/" + filepath.Base(file), file},
			{"codesign", "--force", "--sign", "-", file},
		} {
			if out, err := s.run(ctx, "", "", c[0], c[1:]...); err != nil {
				return fmt.Errorf("name the library: %w", cause(out, err))
			}
		}
	case "linux":
		// libstdc++.so belongs to g++; with gcc alone only libstdc++.so.6 is there,
		// which serves as well: a linker script leads to it.
		out, err := s.run(ctx, "", "", s.host.cc, "-print-file-name=libstdc++.so")
		if err == nil && filepath.IsAbs(strings.TrimSpace(string(out))) {
			return nil
		}
		script := filepath.Join(filepath.Dir(file), "libstdc++.so")
		if err := os.WriteFile(script, []byte("INPUT ( -l:libstdc++.so.6 )\n"), 0o644); err != nil {
			return fmt.Errorf("write a linker script: %w", err)
		}
	}
	return nil
}

// probeSource is a program that needs header, library and its dependencies.
const probeSource = `#include <rocksdb/c.h>
int main(void) { rocksdb_options_destroy(rocksdb_options_create()); return 0; }
`

// probe builds a program with f and runs it.
func (s *setup) probe(ctx context.Context, tmp string, f flags) error {
	exe := filepath.Join(tmp, "probe")
	out, err := s.run(ctx, "", probeSource, s.host.cc, "-x", "c", "-", "-o", exe, "-I"+f.include,
		"-L"+f.lib, "-Wl,-rpath,"+f.lib, "-lrocksdb", "-lstdc++", "-pthread")
	if err != nil {
		return fmt.Errorf("link with RocksDB: %w", cause(out, err))
	}
	if out, err = s.run(ctx, "", "", exe); err != nil {
		return fmt.Errorf("run with RocksDB: %w", cause(out, err))
	}
	return nil
}
