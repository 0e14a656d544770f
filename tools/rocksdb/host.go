// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// A host is the machine that builds and runs; cgo here never crosses.
type host struct {
	os, arch string // as GOOS and GOARCH
	musl     bool   // its C library is musl, not glibc
	debian   bool   // it has apt-get
	root     bool   // we may install packages
	cc       string // C compiler, "" if there is none or cgo is switched off
}

// name says host in a folder's name.
func (h host) name() string {
	n := h.os + "-" + h.arch
	if h.musl {
		n += "-musl"
	}
	return n
}

// A runner runs a program in dir ("" is the current one) with stdin, and
// returns what it printed on both streams.
type runner func(ctx context.Context, dir, stdin, name string, args ...string) ([]byte, error)

// execCommand is the runner on the real machine. Standard error comes with the
// output only if the program fails.
func execCommand(ctx context.Context, dir, stdin, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		_, _ = io.Copy(&out, &errs)
		return out.Bytes(), fmt.Errorf("%s: %w", name, err)
	}
	return out.Bytes(), nil
}

// lookPath tells whether a program is installed.
func lookPath(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

func thisHost(ctx context.Context, run runner) host {
	h := host{os: runtime.GOOS, arch: runtime.GOARCH, root: os.Geteuid() == 0}
	h.debian = lookPath("apt-get")
	if os.Getenv("CGO_ENABLED") == "0" {
		return h
	}
	h.cc = os.Getenv("CC")
	if h.cc == "" {
		h.cc = "gcc"
		if h.os == "darwin" {
			h.cc = "clang"
		}
	}
	if !lookPath(h.cc) {
		h.cc = ""
		return h
	}
	if h.os == "linux" {
		out, err := run(ctx, "", "", h.cc, "-dumpmachine")
		h.musl = err == nil && bytes.Contains(out, []byte("musl"))
	}
	return h
}

// member is the file of the jar that is h's library, and the name that the
// linker wants it under.
func (h host) member() (member, library string, err error) {
	if h.os == "darwin" {
		arch := map[string]string{"amd64": "x86_64", "arm64": "arm64"}[h.arch]
		if arch == "" {
			return "", "", fmt.Errorf("no release build for %s", h.name())
		}
		return "librocksdbjni-osx-" + arch + ".jnilib", "librocksdb.dylib", nil
	}
	arch := map[string]string{
		"amd64": "linux64", "386": "linux32", "arm64": "linux-aarch64",
		"ppc64le": "linux-ppc64le", "s390x": "linux-s390x", "riscv64": "linux-riscv64",
	}[h.arch]
	if h.os != "linux" || arch == "" || h.musl && h.arch == "riscv64" {
		return "", "", fmt.Errorf("no release build for %s", h.name())
	}
	if h.musl {
		arch += "-musl"
	}
	return "librocksdbjni-" + arch + ".so", "librocksdb.so", nil
}

// cause adds to err the line of a program's output that says what went wrong:
// the first that looks like an error to Maven, apt-get, gcc or ld, else the last.
func cause(out []byte, err error) error {
	var last string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		last = line
		if l := strings.ToLower(line); strings.HasPrefix(l, "[error]") || strings.HasPrefix(l, "e: ") ||
			strings.Contains(l, "error:") || strings.Contains(l, "cannot find") {
			break
		}
	}
	if last == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, last)
}
