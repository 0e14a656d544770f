// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/failpoint"
)

// killPoints are where a broker is killed, and up to how many hits of a place
// come before. "" is any moment.
var killPoints = []struct {
	name failpoint.Name
	hits int
}{
	{"", 0},
	{failpoint.AfterAppend, 150},
	{failpoint.BeforeFsync, 5},
	{failpoint.SegmentRoll, 4},
	{failpoint.IndexWrite, 4},
	{failpoint.SnapshotRename, 4},
	{failpoint.OffsetsCommit, 8},
	{failpoint.CompactionSwap, 8},
}

// TestKilledUnderLoad kills a broker with kill -9 again and again while franz-go's
// clients produce, consume and commit, starts it anew, and looks at the end whether all
// that was acknowledged is there, once, in order, and the newest of each key in a
// compacted topic; committed offsets must never go back. Built with -tags failpoint it
// kills at the fail points in turn, else at any moment. kill -9 leaves the page cache,
// so that all flush policies must hold. MILLRACE_LONG=1: 200 times.
func TestKilledUnderLoad(t *testing.T) {
	if dir := os.Getenv("KILLED_BROKER"); dir != "" {
		brokerToBeKilled(dir)
	}
	if testing.Short() {
		t.Skip("starts processes")
	}
	rounds := map[string]int{"os": 4, "batch": 2}
	switch {
	case os.Getenv("MILLRACE_LONG") != "":
		rounds = map[string]int{"os": 72, "batch": 64, "interval": 64}
	case failpoint.Enabled:
		rounds = map[string]int{"os": 8, "batch": 8}
	}
	for policy, n := range rounds {
		t.Run("flush="+policy, func(t *testing.T) { newKilled(t, policy).live(n) })
	}
}

var killPolicies = map[string]broker.FlushPolicy{
	"os": {Mode: broker.FlushOS}, "batch": {Mode: broker.FlushBatch}, "interval": {Mode: broker.FlushInterval, Interval: 50 * time.Millisecond},
}

// brokerToBeKilled is the process: it says where it listens, and ends when it is
// killed, or with its parent.
func brokerToBeKilled(dir string) {
	b, err := broker.Open(context.Background(), broker.Config{
		Dir: dir, Listen: "127.0.0.1:0", Advertise: "killed.invalid:9092", Flush: killPolicies[os.Getenv("KILLED_POLICY")],
		SegmentBytes: 32 << 10, OffsetsPartitions: 2, CleanerBackoff: 20 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(3)
	}
	fmt.Println("ready", b.ListenAddr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// A killed is one data directory and its broker's many lives.
type killed struct {
	t      *testing.T
	dir    string
	policy string
	rng    *rand.Rand
	cmd    *exec.Cmd
	gone   chan struct{} // closed when the process has ended
	addr   atomic.Pointer[string]
	stderr strings.Builder

	byPoint map[failpoint.Name]int // how often the process died there
}

func newKilled(t *testing.T, policy string) *killed {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return &killed{
		t: t, dir: t.TempDir(), policy: policy, rng: rand.New(rand.NewPCG(seed, 0)), byPoint: map[failpoint.Name]int{},
	}
}

// start starts a broker that dies at the nth hit of a place, and reports whether it
// came so far as to listen.
func (k *killed) start(point failpoint.Name, nth int) bool {
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledUnderLoad$")
	cmd.Env = append(os.Environ(), "KILLED_BROKER="+k.dir, "KILLED_POLICY="+k.policy)
	if point != "" {
		cmd.Env = append(cmd.Env, fmt.Sprintf("FAILPOINT=%s:%d", point, nth))
	}
	k.stderr.Reset()
	cmd.Stderr = &k.stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // its end is that of the process
		k.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.cmd, k.gone = cmd, make(chan struct{})
	line, _ := bufio.NewReader(out).ReadString('\n')
	gone := k.gone
	go func() {
		_ = cmd.Wait()
		close(gone)
	}()
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if ok {
		k.addr.Store(&addr)
		return true
	}
	<-gone
	if point == "" || line != "" {
		k.t.Fatalf("the broker does not start: %q\n%s", line, k.stderr.String())
	}
	k.byPoint[point]++
	return false
}

// kill waits until the process has died at its fail point, and helps after a time.
func (k *killed) kill(point failpoint.Name, patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-k.gone:
		if point == "" {
			k.t.Fatalf("the broker has ended by itself:\n%s", k.stderr.String())
		}
		k.byPoint[point]++
	case <-timer.C:
		k.byPoint[""]++
		if err := k.cmd.Process.Kill(); err != nil {
			k.t.Fatal(err)
		}
		<-k.gone
	}
	k.addr.Store(nil)
}

// live kills the broker as many times, under load, and checks what it leaves.
func (k *killed) live(rounds int) {
	k.start("", 0)
	defer func() {
		_ = k.cmd.Process.Kill()
		<-k.gone
	}()
	ctx, cancel := context.WithTimeout(k.t.Context(), time.Minute+time.Duration(rounds)*20*time.Second)
	defer cancel()
	load := newKillLoad(ctx, k)
	var wg sync.WaitGroup
	stop := load.run(ctx, &wg)
	offset := k.rng.IntN(len(killPoints))
	for round := range rounds {
		point := killPoints[(round+offset)%len(killPoints)]
		patience := time.Duration(100+k.rng.IntN(700)) * time.Millisecond
		if !failpoint.Enabled {
			point = killPoints[0]
		} else if point.name != "" {
			patience = 1500 * time.Millisecond
		}
		k.kill("", 0) // the one before; it has done what it should
		for !k.start(point.name, 1+k.rng.IntN(point.hits+1)) {
			point = killPoints[0]
		}
		load.checkCommitted(ctx)
		k.kill(point.name, patience)
		k.start("", 0)
		load.checkCommitted(ctx)
	}
	stop()
	wg.Wait()
	if ctx.Err() != nil {
		k.t.Fatalf("the clients do not come to an end: %v", ctx.Err())
	}
	load.check(ctx)
	delete(k.byPoint, "")
	total := 0
	for _, point := range slices.Sorted(maps.Keys(k.byPoint)) {
		total += k.byPoint[point]
		k.t.Logf("killed at %s: %d times", point, k.byPoint[point])
	}
	k.t.Logf("%d rounds, %d of them at fail points: %s", rounds, total, load.figures())
	if failpoint.Enabled && total == 0 {
		k.t.Error("no fail point was reached")
	}
}

// admin is a client for questions.
func (k *killed) admin() *kadm.Client { return kadm.NewClient(k.client()) }
