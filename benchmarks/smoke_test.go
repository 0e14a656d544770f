// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/benchmarks/internal/app"
	"github.com/millrace/millrace/broker"
)

// printed is what the engine's benchmarks print.
const printed = `goos: linux
BenchmarkEngine/workload=map_and_filter-2  	       5	 250000000 ns/op	        98.00 B/record	         0.1000 allocs/record	        90.0 cpu-ns/record	98 B/op
BenchmarkEngine/workload=map_and_filter-2  	       5	 250000000 ns/op	        99.00 B/record	         0.2000 allocs/record	        70.0 cpu-ns/record	98 B/op
BenchmarkEngine/workload=map_and_filter-2  	       5	 250000000 ns/op	        97.00 B/record	         0.3000 allocs/record	        80.0 cpu-ns/record	98 B/op
BenchmarkEngine/workload=count-2           	       5	 250000000 ns/op	        10.00 B/record	         0 allocs/record	       200.0 cpu-ns/record
PASS
`

// TestMain makes this program the ones that the harness starts, by the name it is
// called by.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "bench-app":
		if err := app.Run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "app:", err)
			os.Exit(1)
		}
	case "bench-engine.test":
		fmt.Print(printed)
	default:
		os.Exit(m.Run())
	}
}

// smoke is a bench without Java and without a JVM's peers: Millrace on a broker in this
// process, and on one in its own.
func smoke(t *testing.T) *bench {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc: benchmarks run on Linux")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		bin: t.TempDir(), dir: t.TempDir(), scale: 0.001, warm: 1, limit: time.Hour, linger: linger, backend: "pebble",
		sides: "Millrace on", begin: time.Now(), nodes: map[string]*node{}, quick: true,
	}
	for _, name := range []string{"bench-app", "bench-engine.test"} {
		if err := os.Symlink(self, filepath.Join(b.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	logs, err := broker.Open(t.Context(), broker.Config{Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := logs.Close(); err != nil {
			t.Error(err)
		}
	})
	b.nodes[ours] = &node{name: ours, addr: logs.Addr(), pid: os.Getpid()}
	return b
}

// withoutKafka leaves the sides out that need a JVM or the module of the peers.
func (b *bench) withoutKafka() []side {
	var some []side
	for _, s := range sides() {
		if s.name == "Millrace" && s.on != theirs {
			some = append(some, s)
		}
	}
	return some
}

func TestHarnessMeasuresWithoutPeers(t *testing.T) {
	b := smoke(t)
	b.among = append(b.withoutKafka(), side{byRecord, ours, millrace, notByHand})
	r := &report{begin: b.begin}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := b.programs(ctx, r); err != nil {
		t.Fatal(err)
	}
	for _, w := range workloads(b.scale) {
		switch w.topology {
		case "count-window": // 10 records a key are no window
			w.input.keys = 5
		case "hopping", "session", "stream-stream", "stream-table":
			if testing.Short() {
				continue
			}
		}
		if w.long || strings.Contains(w.name, "1 M") || strings.Contains(w.name, "in memory") {
			continue
		}
		if err := b.measure(ctx, w, time.Now(), r); err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
	}
	b.scale = 0.002
	for _, part := range []func(context.Context, *report) error{b.restores, b.engine} {
		if err := part(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range r.rows {
		if x.rate <= 0 || x.appPeak < 1<<20 {
			t.Errorf("nothing was measured: %+v", x)
		}
	}
	out := filepath.Join(t.TempDir(), "result")
	if err := r.write(t.Output(), out); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{".md": "## Restore", ".svg": "</svg>", ".txt": "BenchmarkEngine"} {
		if text, err := os.ReadFile(out + name); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s%s: %v; want %q in it, have\n%s", out, name, err, want, text)
		}
	}
}

func TestWrongOutputsDoNotCount(t *testing.T) {
	b := smoke(t)
	b.among = b.withoutKafka()[:1]
	w := workloads(b.scale)[0]
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := fill(ctx, b.nodes[ours].addr, w); err != nil {
		t.Fatal(err)
	}
	c, err := b.enter(ctx, w, b.among[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.leave(); err != nil {
			t.Error(err)
		}
	}()
	if err := c.repetition(ctx, w, "once"); err != nil {
		t.Fatal(err)
	}
	want, err := c.check(ctx, w, "once", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.check(ctx, w, "once", want); err != nil {
		t.Errorf("the same output: %v", err)
	}
	for key := range want {
		delete(want, key)
		break
	}
	if _, err := c.check(ctx, w, "once", want); err == nil || !strings.Contains(err.Error(), "1 of ") {
		t.Errorf("a key too many: %v", err)
	}
}

func TestLatencyIsMeasuredFromTheIntendedTime(t *testing.T) {
	b := smoke(t)
	r := &report{}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	w := workload{name: "latency", topology: "pass", stores: "memory"}
	if err := b.latency(ctx, w, b.withoutKafka()[0], 200, 1, r); err != nil {
		t.Fatal(err)
	}
	if l := r.latencies[0]; l.p50 <= 0 || l.p99 < l.p50 || l.worst < l.p99 {
		t.Errorf("latency = %+v", l)
	}
}
