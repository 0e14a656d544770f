// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// runMain in the environment makes the test's binary this program.
const runMain = "MILLRACE_TEST_RUN_MAIN"

// quiet logs nothing.
var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// build compiles this program.
func build(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and kills real processes: not with -short")
	}
	bin := filepath.Join(t.TempDir(), "millrace")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// A process is a running broker.
type process struct {
	cmd    *exec.Cmd
	addr   string
	stderr *lockedBuffer
}

// lockedBuffer is what a process has written so far.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs the broker and waits until it listens.
func start(t *testing.T, bin, dir string, flags ...string) *process {
	t.Helper()
	p := &process{stderr: new(lockedBuffer)}
	p.cmd = exec.Command(bin, append([]string{"broker", "--data", dir, "--listen", "127.0.0.1:0"}, flags...)...)
	p.cmd.Stderr = p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("the broker says %q, %v\n%s", line, err, p.stderr)
	}
	p.addr = addr
	return p
}

// stop sends a signal and waits for the end.
func (p *process) stop(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// acked has what was acknowledged: the value at each partition and offset.
type acked struct {
	mu sync.Mutex
	at map[string]string // "partition/offset"
	n  chan struct{}     // has one while something was acknowledged since it was taken
}

// produceUntilItDies sends values one after another without waiting and notes
// those that are acknowledged.
func produceUntilItDies(ctx context.Context, t *testing.T, addr string, round int, a *acked) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("t"), kgo.AllowAutoTopicCreation(), kgo.ProducerLinger(time.Millisecond),
		kgo.RecordRetries(0), kgo.ProduceRequestTimeout(time.Second))
	if err != nil {
		t.Error(err)
		return
	}
	defer cl.Close()
	for i := 0; ctx.Err() == nil; i++ {
		value := fmt.Sprintf("round %d value %d", round, i)
		cl.Produce(ctx, &kgo.Record{Key: []byte(value), Value: []byte(value)}, func(r *kgo.Record, err error) {
			if err != nil {
				return
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			a.at[fmt.Sprintf("%d/%d", r.Partition, r.Offset)] = value
			select {
			case a.n <- struct{}{}:
			default:
			}
		})
	}
}

// readBack has all records of the topic.
func readBack(ctx context.Context, t *testing.T, addr string) map[string]string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, "t")
	if err != nil {
		t.Fatalf("list offsets: %v", err)
	}
	left := 0
	ends.Each(func(o kadm.ListedOffset) { left += int(o.Offset) })
	all := make(map[string]string)
	for len(all) < left {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("read %d of %d: %v", len(all), left, err)
		}
		fs.EachRecord(func(r *kgo.Record) { all[fmt.Sprintf("%d/%d", r.Partition, r.Offset)] = string(r.Value) })
	}
	return all
}

func TestProcess(t *testing.T) {
	bin := build(t)
	for _, flush := range []string{"os", "batch"} {
		t.Run("kill -9 loses nothing acknowledged, flush "+flush, func(t *testing.T) { killRounds(t, bin, flush) })
	}
	t.Run("a second process is refused", func(t *testing.T) { secondProcess(t, bin) })
}

func killRounds(t *testing.T, bin, flush string) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	a := &acked{at: make(map[string]string), n: make(chan struct{}, 1)}
	flags := []string{"--flush", flush, "--auto-create", "--partitions", "3", "--segment-bytes", "100000"}
	for round := range 4 {
		p := start(t, bin, dir, flags...)
		producing, enough := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() { produceUntilItDies(producing, t, p.addr, round, a) })
		select {
		case <-a.n:
		case <-ctx.Done():
			t.Errorf("round %d: nothing was acknowledged", round)
		}
		timer := time.NewTimer(time.Duration(rand.IntN(300)) * time.Millisecond)
		<-timer.C // the moment of death is random on purpose
		_ = p.stop(syscall.SIGKILL)
		enough()
		wg.Wait()
		select {
		case <-a.n: // of this round
		default:
		}
	}
	p := start(t, bin, dir, flags...)
	got := readBack(ctx, t, p.addr)
	lost := 0
	for at, value := range a.at {
		if got[at] != value {
			if lost++; lost < 10 {
				t.Errorf("acknowledged at %s: %q, read %q", at, value, got[at])
			}
		}
	}
	t.Logf("%d acknowledged, %d in the log, %d lost", len(a.at), len(got), lost)
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, p.stderr)
	}
}

func secondProcess(t *testing.T, bin string) {
	dir := t.TempDir()
	p := start(t, bin, dir)
	out, err := exec.Command(bin, "broker", "--data", dir, "--listen", "127.0.0.1:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use by another broker") || !strings.Contains(string(out), dir) {
		t.Errorf("a second process: %v\n%s", err, out)
	}
	if err := p.stop(os.Interrupt); err != nil {
		t.Errorf("SIGINT: %v\n%s", err, p.stderr)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{
		{"broker", "--flush", "never"},
		{"broker", "--log-level", "loud"},
		{"broker", "surplus"},
		{"broker", "--advertise", "nowhere"},
		{"broker", "--partitions", "-2"},
		{"broker", "--metrics", "nowhere"},
		{"broker", "--set", "no.such.config=1"},
		{"broker", "--set", "num.partitions"},
		{"broker", "--set", "num.partitions=many"},
		{"broker", "--config", "no-such-file"},
	} {
		root := newRoot(new(cli.Flags))
		root.SetArgs(args)
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		if err := root.ExecuteContext(t.Context()); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
