// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// A process is a program that takes orders, or a broker that says where it listens.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string // of its output; closed when it has ended
	log   string
}

// launch starts a program, its standard error in the file log.
func launch(ctx context.Context, log string, argv ...string) (*process, error) {
	errs, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("make a log: %w", err)
	}
	defer errs.Close()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr = errs
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	p := &process{cmd: cmd, stdin: stdin, lines: make(chan string, 1), log: log}
	go func() { // until the program ends, which end waits for
		defer close(p.lines)
		for in := bufio.NewScanner(stdout); in.Scan(); {
			p.lines <- in.Text()
		}
	}()
	return p, nil
}

// line is the next line of the program's output.
func (p *process) line() (string, error) {
	text, ok := <-p.lines
	if !ok {
		return "", p.ended()
	}
	return text, nil
}

// ended is the error of a program that has ended, with what it said last.
func (p *process) ended() error {
	said, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s has ended: %s", p.cmd.Path, said[max(0, len(said)-2000):])
}

// order sends a line and waits for the answer.
func (p *process) order(order, answer string) error {
	if _, err := io.WriteString(p.stdin, order+"\n"); err != nil {
		return fmt.Errorf("order %q: %w", order, err)
	}
	switch got, err := p.line(); {
	case err != nil:
		return fmt.Errorf("order %q: %w", order, err)
	case got != answer:
		return fmt.Errorf("order %q: answered %q", order, got)
	}
	return nil
}

// end closes the program's input and waits; one that does not end is killed.
func (p *process) end() error {
	_ = p.stdin.Close()
	_ = p.cmd.Process.Signal(os.Interrupt)
	late := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	for range p.lines { // what it says now nobody asked for
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("wait for %s: %w", p.cmd.Path, err)
	}
	return nil
}

// usage is what a process has used: the processor time of all its threads, and
// the most memory that it has had at a time.
type usage struct {
	cpu  time.Duration
	peak int64 // bytes resident
	now  int64 // bytes resident
}

// used measures a process.
func used(pid int) (usage, error) {
	cpu, err := processorTime(pid)
	if err != nil {
		return usage{}, err
	}
	u := usage{cpu: cpu}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}, fmt.Errorf("measure: %w", err)
	}
	for name, to := range map[string]*int64{"VmHWM:": &u.peak, "VmRSS:": &u.now} {
		_, rest, _ := strings.Cut(string(status), name)
		if fields := strings.Fields(rest); len(fields) > 0 {
			kib, err := strconv.ParseInt(fields[0], 10, 64)
			if err != nil {
				return usage{}, fmt.Errorf("measure: %w", err)
			}
			*to = kib << 10
		}
	}
	return u, nil
}
