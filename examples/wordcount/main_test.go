// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The tests of this package run the program as a user does: the built binary,
// killed and started again, beside other brokers and other instances. What they
// know of a run they have from its progress file, its log and its broker.

// scratch is a folder for all tests of the process.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "wordcount-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	scratch = dir
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	_ = os.RemoveAll(dir) // what is left lies among temporary files
	os.Exit(code)
}

// long is whether the tests are to take their time.
func long() bool { return os.Getenv("MILLRACE_LONG") != "" }

// corpusBytes is how much text a test counts.
func corpusBytes() int64 {
	if long() {
		return 200e6
	}
	return 12e6
}

// newRand gives the randomness of a test. Its seed is logged, and SEED= replays it.
func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("SEED: %v", err)
		}
		seed = n
	}
	t.Logf("SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// The programs under test, built on first use with the tags of the test itself. A
// race detector would only slow them down: other tests have it.
var (
	wordcountBinary = program("wordcount", ".")
	millraceBinary  = program("millrace", "../../cmd/millrace")
)

func program(name, pkg string) func(t *testing.T) string {
	build := sync.OnceValues(func() (string, error) {
		path := filepath.Join(scratch, name)
		out, err := command("go", "build", "-buildvcs=false", "-tags", buildTags(), "-o", path, pkg).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
		}
		return path, nil
	})
	return func(t *testing.T) string {
		t.Helper()
		path, err := build()
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
}

// buildTags are the tags that this test was built with.
func buildTags() string {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-tags" {
			return s.Value
		}
	}
	return ""
}
