// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	goruntime "runtime"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/pebble"
	"github.com/millrace/millrace/state/rocksdb"
	"github.com/millrace/millrace/topic"
)

// A soak is a run of an application in a process of its own, with a slow sink and a store of
// many keys, that gets more than it can do: its memory must stay within its limit.
type soak struct {
	backend    string
	limit      int64
	partitions int32
	keys       int64
	length     time.Duration // 0: as long as records take
	records    int64         // 0: as many as go
	slack      int64         // above what is allowed, in bytes: for small limits
}

// What tells a process that it is the application.
const (
	soakBroker  = "MILLRACE_SOAK_BROKER"
	soakDir     = "MILLRACE_SOAK_DIR"
	soakBackend = "MILLRACE_SOAK_BACKEND"
	soakLimit   = "MILLRACE_SOAK_LIMIT"
)

// soakEvery is the time between two samples.
const soakEvery = 250 * time.Millisecond

// A soakSample is what the application's process says of itself.
type soakSample struct {
	Resident            int64 // bytes
	Goroutines, Handles int
	Records, Lag        int64
	Memory              processor.MemoryUse
	Running             int // tasks
}

// soakTopology counts by key, with a sink that is slow in bursts.
func soakTopology() *processor.Topology {
	t := processor.NewTopology("soak")
	n := 0
	counts := kstream.From(t, topic.Of[int64, []byte]("soak-in")).GroupByKey().Count("counts")
	kstream.FromTable(counts).Foreach(func(processor.Record[int64, opt.V[int64]]) {
		if n++; n%5_000 == 0 { // there is one worker
			time.Sleep(20 * time.Millisecond)
		}
	})
	return t
}

func TestSoakApplication(t *testing.T) {
	addr := os.Getenv(soakBroker)
	if addr == "" {
		t.Skip("the process that TestSoak starts")
	}
	limit, err := strconv.ParseInt(os.Getenv(soakLimit), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	debug.SetMemoryLimit(processor.HeapLimit(limit))
	stores := soakBackends()[os.Getenv(soakBackend)](os.Getenv(soakDir))
	a, err := processor.Start(t.Context(), soakTopology(), processor.Config{
		Brokers: []string{addr}, Stores: stores, MemoryLimit: limit, CommitInterval: 5 * time.Second,
		Workers: 1, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	out := json.NewEncoder(os.Stdout)
	tick := time.NewTicker(soakEvery)
	defer tick.Stop()
	stop := make(chan struct{})
	go func() { // the end of the input is the parent's word to end
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		close(stop)
	}()
	for {
		select {
		case <-tick.C:
			if err := out.Encode(soakLook(a)); err != nil {
				t.Fatal(err)
			}
			continue
		case <-a.Done():
		case <-stop:
		}
		break
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := stores.Close(); err != nil {
		t.Fatal(err)
	}
}

func soakLook(a *processor.App) soakSample {
	p := a.Progress()
	s := soakSample{Goroutines: goruntime.NumGoroutine(), Records: p.Records, Lag: p.Lag(), Memory: p.Memory}
	for _, t := range p.Tasks {
		if t.Running {
			s.Running++
		}
	}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			s.Resident = pages * int64(os.Getpagesize())
		}
	}
	if list, err := os.ReadDir("/proc/self/fd"); err == nil {
		s.Handles = len(list)
	}
	return s
}

// soakBackends are those that this program was built with.
func soakBackends() map[string]func(dir string) state.Backend {
	all := map[string]func(string) state.Backend{"pebble": func(dir string) state.Backend { return pebble.At(dir) }}
	if rocksdb.Built {
		all["rocksdb"] = func(dir string) state.Backend { return rocksdb.At(dir) }
	}
	return all
}

// TestSoak runs for MILLRACE_SOAK, 10 minutes, with 5 million keys in 10 minutes, with
// MILLRACE_LONG=1, and else in a small form for as long as its records take.
func TestSoak(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("resident memory is read from /proc")
	}
	if testing.Short() || raced {
		t.Skip("-short, or with the race detector")
	}
	s := soak{limit: 64 << 20, partitions: 16, keys: 200_000, records: 600_000, slack: 32 << 20}
	if os.Getenv("MILLRACE_LONG") != "" {
		length := 10 * time.Minute
		if d, err := time.ParseDuration(os.Getenv("MILLRACE_SOAK")); err == nil {
			length = d
		}
		s = soak{limit: 256 << 20, partitions: 64, keys: int64(5e6 * length.Minutes() / 10), length: length}
	}
	for _, name := range slices.Sorted(maps.Keys(soakBackends())) {
		s.backend = name
		t.Run(name, s.run)
	}
}

func (s soak) run(t *testing.T) {
	b := bundled(t, broker.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	b.create(t, s.partitions, "soak-in")
	a := s.start(t, b.addr)
	var idle soakSample
	for calm := 0; calm < 10; { // running, and settled
		if idle = a.next(t); idle.Running == int(s.partitions) {
			calm++
		}
	}
	t.Logf("idle: %+v", idle)

	producing, stop := context.WithCancel(t.Context())
	if s.length > 0 {
		producing, stop = context.WithTimeout(t.Context(), s.length)
	}
	defer stop()
	produced := make(chan int64, 1)
	go func() { produced <- s.produce(producing, b.client(t, kgo.DefaultProduceTopic("soak-in"))) }()
	var samples []soakSample
	for told := time.Now(); producing.Err() == nil; {
		now := a.next(t)
		samples = append(samples, now)
		if s.records > 0 && now.Records >= s.records {
			break
		}
		if time.Since(told) >= 15*time.Second {
			told = time.Now()
			t.Logf("%+v", now)
		}
	}
	sent := <-produced
	a.end(t)
	s.judge(t, idle, samples, sent)
}

// A soaked is the process of the application.
type soaked struct {
	cmd   *exec.Cmd
	in    io.Closer // its end asks for the application's
	lines *bufio.Scanner
}

func (s soak) start(t *testing.T, addr string) *soaked {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestSoakApplication$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), soakBroker+"="+addr, soakDir+"="+t.TempDir(),
		soakBackend+"="+s.backend, soakLimit+"="+strconv.FormatInt(s.limit, 10))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &soaked{cmd: cmd, in: in, lines: bufio.NewScanner(out)}
}

// next waits for a sample.
func (a *soaked) next(t *testing.T) soakSample {
	for a.lines.Scan() {
		var s soakSample
		if json.Unmarshal(a.lines.Bytes(), &s) == nil {
			return s
		}
	}
	t.Fatal("the application has ended")
	return soakSample{}
}

func (a *soaked) end(t *testing.T) {
	if err := a.in.Close(); err != nil {
		t.Error(err)
	}
	for a.lines.Scan() { // what is left, so that the process can end
	}
	if err := a.cmd.Wait(); err != nil {
		t.Errorf("the application ends with %v", err)
	}
}

// produce sends each key once, then keys at random, faster than the sink.
func (s soak) produce(ctx context.Context, cl *kgo.Client) int64 {
	value := make([]byte, 100)
	rnd := rand.New(rand.NewPCG(1, 2))
	var n int64
	for ; ctx.Err() == nil && (s.records == 0 || n < s.records); n++ {
		key := n
		if n >= s.keys {
			key = rnd.Int64N(s.keys)
		}
		cl.Produce(ctx, &kgo.Record{Key: binary.BigEndian.AppendUint64(nil, uint64(key)), Value: value}, nil)
	}
	return n
}

func (s soak) judge(t *testing.T, idle soakSample, samples []soakSample, sent int64) {
	t.Helper()
	last := samples[len(samples)-1]
	highest := slices.MaxFunc(samples, func(a, b soakSample) int { return int(a.Resident/1024 - b.Resident/1024) })
	queued := slices.MaxFunc(samples, func(a, b soakSample) int { return int(a.Memory.Queued - b.Memory.Queued) }).Memory.Queued
	bound := s.limit/4*5 + idle.Resident + s.slack
	t.Logf("%d keys, %d records sent, %d processed; resident %d MiB idle, %d at most, %d allowed; %d KiB queued at most; "+
		"goroutines %d to %d, handles %d to %d",
		s.keys, sent, last.Records, idle.Resident>>20, highest.Resident>>20, bound>>20, queued>>10,
		idle.Goroutines, last.Goroutines, idle.Handles, last.Handles)
	if highest.Resident > bound {
		t.Errorf("resident memory was %d, more than %d: %+v", highest.Resident, bound, highest)
	}
	if queued > s.limit/8 {
		t.Errorf("%d bytes waited in queues, more than their eighth of the limit", queued)
	}
	if last.Records < s.keys/2 || sent < s.keys {
		t.Errorf("of %d records %d were processed: too few to tell anything", sent, last.Records)
	}
	if last.Goroutines > idle.Goroutines+8 {
		t.Errorf("goroutines grew from %d to %d", idle.Goroutines, last.Goroutines)
	}
	half := samples[len(samples)/2]
	if last.Handles > half.Handles+half.Handles/5+int(s.partitions) {
		t.Errorf("handles grew from %d at half time to %d", half.Handles, last.Handles)
	}
	if last.Running != int(s.partitions) {
		t.Errorf("%d tasks run at the end", last.Running)
	}
}
