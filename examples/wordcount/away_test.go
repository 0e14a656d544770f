// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// closeBound is how long the program may take to end: its own bound and what a
// busy machine adds.
const closeBound = 45 * time.Second

func TestSecondProcessOnTheSameDataIsRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs processes")
	}
	_, addr := startBroker(t, t.TempDir(), "127.0.0.1:0")
	for name, brokers := range map[string][]string{
		"with its broker": nil,
		"beside a broker": {"--brokers", addr},
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			tr := &track{path: filepath.Join(t.TempDir(), "progress.jsonl")}
			first := start(t, nil, wordcountBinary(t), append(brokers, "--data", data, "--progress", tr.path)...)
			until(t, "the first process runs", patience, func() bool { return tr.last(t).State == "running" }, first)
			second := start(t, nil, wordcountBinary(t), append(brokers, "--data", data)...)
			if err := second.wait(t, patience); err == nil {
				t.Error("the second process ended well")
			}
			if text := second.output(t); !strings.Contains(text, "in use") || !strings.Contains(text, data) {
				t.Errorf("the second process does not say that %s is in use:\n%s", data, text)
			}
			first.signal(t, os.Interrupt)
			first.finish(t, closeBound)
		})
	}
}

func TestBrokerThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it runs processes")
	}
	text := newCorpus(t, 11, 1e6)
	addr, data, out := freeAddr(t), t.TempDir(), filepath.Join(t.TempDir(), "counts")
	p := start(t, nil, wordcountBinary(t), "--brokers", addr, "--data", t.TempDir(), "--out", out, text.dir)
	until(t, "the program says that it waits", patience, func() bool {
		return strings.Contains(p.output(t), "waiting for")
	}, p)
	startBroker(t, data, addr)
	p.finish(t, patience)
	sameCounts(t, "output", readCounts(t, out), text.counts)
}

// TestBrokerGoesAwayForAWhile stops the broker in the middle of the work for longer
// than the clients try a request again on their own.
func TestBrokerGoesAwayForAWhile(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it runs processes")
	}
	text := newCorpus(t, 11, 1e6)
	data, out := t.TempDir(), filepath.Join(t.TempDir(), "counts")
	b, addr := startBroker(t, data, "127.0.0.1:0")
	tr := &track{path: filepath.Join(t.TempDir(), "progress.jsonl")}
	p := start(t, nil, wordcountBinary(t), "--brokers", addr, "--data", t.TempDir(), "--out", out, "--progress", tr.path, "--commit", "200ms", text.dir)
	until(t, "some words are counted", patience, func() bool { return tr.last(t).committed().of(wordsTopic) > 0 }, p)
	b.signal(t, syscall.SIGTERM)
	b.finish(t, patience)
	until(t, "the state tells that the broker is away", patience, func() bool {
		return tr.last(t).State == "waiting for the broker"
	}, p)
	away := time.NewTimer(awayFor())
	defer away.Stop()
	select {
	case <-away.C:
	case <-p.done:
	}
	startBroker(t, data, addr)
	p.finish(t, patience)
	sameCounts(t, "output", readCounts(t, out), text.counts)
}

func awayFor() time.Duration {
	if long() {
		return 3 * time.Minute
	}
	return 5 * time.Second
}

func TestSignalEndsItWhileTheBrokerIsAway(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it runs processes")
	}
	t.Run("from the start", func(t *testing.T) {
		t.Parallel()
		p := start(t, nil, wordcountBinary(t), "--brokers", freeAddr(t), "--data", t.TempDir())
		until(t, "the program says that it waits", patience, func() bool {
			return strings.Contains(p.output(t), "waiting for")
		}, p)
		p.signal(t, syscall.SIGTERM)
		_ = p.wait(t, closeBound) // how it ends is its own affair, but it does
	})
	t.Run("in the middle", func(t *testing.T) {
		t.Parallel()
		text := newCorpus(t, 11, 1e6)
		b, addr := startBroker(t, t.TempDir(), "127.0.0.1:0")
		tr := &track{path: filepath.Join(t.TempDir(), "progress.jsonl")}
		p := start(t, nil, wordcountBinary(t), "--brokers", addr, "--data", t.TempDir(), "--progress", tr.path, "--commit", "200ms", text.dir)
		until(t, "some words are counted", patience, func() bool { return tr.last(t).committed().of(wordsTopic) > 0 }, p)
		b.kill()
		p.signal(t, syscall.SIGTERM)
		_ = p.wait(t, closeBound)
	})
}
