// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	pollEvery = 10 * time.Millisecond
	// patience is the bound on what takes a second or two on an idle machine.
	patience = 2 * time.Minute
)

// A process is one run of a program under test. It ends with the test.
type process struct {
	cmd   *exec.Cmd
	out   string // file of its standard output and error
	done  chan struct{}
	shot  bool      // the test has killed it
	err   error     // of Wait, once done is closed
	ended time.Time // likewise
}

// start runs a program. stdin may be nil.
func start(t *testing.T, stdin *os.File, name string, args ...string) *process {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), filepath.Base(name)+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := &process{cmd: command(name, args...), out: out.Name(), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if stdin != nil {
		p.cmd.Stdin = stdin
	}
	p.cmd.Dir = t.TempDir()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		p.ended = time.Now()
		close(p.done)
	}()
	t.Cleanup(func() {
		shot := p.shot
		p.kill()
		if t.Failed() && !shot {
			text := p.output(t)
			t.Logf("end of what %s %q printed:\n%s", filepath.Base(name), args[:min(len(args), 12)], text[max(0, len(text)-1000):])
		}
	})
	return p
}

// kill ends the process as kill -9 does, and waits for the end.
func (p *process) kill() {
	p.shot = true
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// signal sends a signal to the process.
func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %v: %v", s, err)
	}
}

// wait waits for the process to end by itself, and returns how it did.
func (p *process) wait(t *testing.T, bound time.Duration) error {
	t.Helper()
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.err
	case <-timer.C:
		p.signal(t, syscall.SIGQUIT) // its goroutines go to its log
		<-p.done
		t.Fatalf("the process did not end within %v", bound)
		return nil
	}
}

// finish waits for a good end.
func (p *process) finish(t *testing.T, bound time.Duration) {
	t.Helper()
	if err := p.wait(t, bound); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(p.cmd.Path), err, p.output(t))
	}
}

// output is what the process has printed so far.
func (p *process) output(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(p.out)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// until polls a condition on other processes; what names it. It fails the test if
// one of alive ends before.
func until(t *testing.T, what string, bound time.Duration, cond func() bool, alive ...*process) {
	t.Helper()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for deadline := time.Now().Add(bound); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for: %s", bound, what)
		}
		for _, p := range alive {
			if isDone(p.done) && !cond() {
				t.Fatalf("%s ended (%v) before: %s\n%s", filepath.Base(p.cmd.Path), p.err, what, p.output(t))
			}
		}
	}
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// startBroker runs the broker as a process of its own and returns once it serves.
func startBroker(t *testing.T, data, listen string) (*process, string) {
	t.Helper()
	p := start(t, nil, millraceBinary(t), "broker", "--data", data, "--listen", listen, "--log-level", "warn")
	var addr string
	until(t, "the broker listens", patience, func() bool {
		for line := range strings.Lines(p.output(t)) {
			if a, ok := strings.CutPrefix(line, "listening on "); ok && strings.HasSuffix(a, "\n") {
				addr = strings.TrimSpace(a)
			}
		}
		return addr != ""
	}, p)
	return p, addr
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

// needTools skips the test where a program is missing.
func needTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is missing", name)
		}
	}
}

// shell runs a shell's command line in a folder and returns what it prints.
func shell(t *testing.T, dir, line string) []byte {
	t.Helper()
	cmd := command("sh", "-c", line)
	cmd.Dir = dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, errs.String())
	}
	return out
}
