// SPDX-License-Identifier: Apache-2.0

package millrace_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is the bound on what takes a second or two on an idle machine.
const patience = 2 * time.Minute

// blocks gives the README's fenced blocks of a language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(text, -1) {
		found = append(found, string(m[1]))
	}
	return found
}

// commandLine gives the README's command line with a part.
func commandLine(t *testing.T, part string) string {
	t.Helper()
	for _, block := range blocks(t, "sh") {
		for line := range strings.Lines(block) {
			if strings.Contains(line, part) {
				return strings.TrimSpace(line)
			}
		}
	}
	t.Fatalf("the README has no command line with %q", part)
	return ""
}

func TestReadmeShowsTheFirstProgram(t *testing.T) {
	source, err := os.ReadFile("examples/hello/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, want, ok := strings.Cut(string(source), "package main\n")
	if !ok {
		t.Fatal("examples/hello/main.go is no program")
	}
	want = "package main\n" + want
	if !slices.Contains(blocks(t, "go"), want) {
		t.Errorf("no Go block of the README equals examples/hello/main.go:\n%s", want)
	}
	body := want[strings.Index(want, "func main"):]
	if n := strings.Count(body, "\n"); n > 15 {
		t.Errorf("the first program has %d lines, and is said to have 15", n)
	}
}

// TestReadmeCommands does what the README says: it runs the first program, sends it
// a line and reads the counts with kcat, kills it and starts it again.
func TestReadmeCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and runs a program")
	}
	if _, err := exec.LookPath("kcat"); err != nil {
		t.Skip("kcat is missing: apt-get install kcat")
	}
	const said = "127.0.0.1:9092"
	addr, data := freeAddr(t), t.TempDir()
	send := strings.ReplaceAll(commandLine(t, "kcat -P"), said, addr)
	read := strings.ReplaceAll(commandLine(t, "kcat -C"), said, addr)
	if got, want := commandLine(t, "go run ./examples/hello"), "go run ./examples/hello"; got != want {
		t.Errorf("the README runs %q, and the test %q", got, want)
	}
	hello := build(t, "./examples/hello")
	run := func() *exec.Cmd { return start(t, hello, "--listen", addr, "--data", data) }

	p := run()
	until(t, "the program listens", func() bool { return listens(addr) })
	shell(t, send)
	first := map[string]int64{"to": 2, "be": 2, "or": 1, "not": 1}
	until(t, "the counts are right", func() bool { return maps.Equal(counts(t, read), first) })

	// What was read since the last commit is counted again.
	kill(t, p)
	p = run()
	until(t, "the program listens again", func() bool { return listens(addr) })
	shell(t, send)
	until(t, "both lines are counted", func() bool {
		now := counts(t, read)
		for word, n := range first {
			if now[word] < 2*n {
				return false
			}
		}
		return true
	})
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Fatalf("after SIGTERM: %v", err)
	}

	run()
	until(t, "the program listens once more", func() bool { return listens(addr) })
	var want map[string]int64
	until(t, "the counts are there", func() bool { want = counts(t, read); return len(want) == len(first) })
	shell(t, send)
	for word, n := range first {
		want[word] += n
	}
	until(t, "the counts go on from where they were", func() bool { return maps.Equal(counts(t, read), want) })
}

// counts runs a command line that prints "word count" lines and gives the last of
// each word. There are none before the program has made the topic.
func counts(t *testing.T, line string) map[string]int64 {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), "sh", "-c", line).Output()
	if err != nil {
		return nil
	}
	got := map[string]int64{}
	for out := range strings.Lines(string(text)) {
		word, text, _ := strings.Cut(strings.TrimSpace(out), " ")
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatalf("%s printed %q", line, out)
		}
		got[word] = n
	}
	return got
}

// build builds a program of this module with the tags of the test.
func build(t *testing.T, pkg string) string {
	t.Helper()
	tags := ""
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-tags" {
			tags = s.Value
		}
	}
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-tags", tags, "-o", path, pkg).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return path
}

// start runs a program until the test ends.
func start(t *testing.T, path string, args ...string) *exec.Cmd {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			kill(t, cmd)
		}
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s printed:\n%s", filepath.Base(path), text)
		}
	})
	return cmd
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	_ = cmd.Process.Kill() // it may have ended
	if err := cmd.Wait(); err == nil {
		t.Errorf("%s ended by itself", filepath.Base(cmd.Path))
	}
}

func shell(t *testing.T, line string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// freeAddr is an address of this machine at which nothing listens now. Its port is
// below those that the system gives to outgoing connections: one of them could take
// it, even one that goes to it.
func freeAddr(t *testing.T) string {
	t.Helper()
	for try := range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
		t.Logf("try %d of a port: %v", try, err)
	}
	t.Fatal("no port is free")
	return ""
}

func listens(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// until polls a condition on another process.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}
