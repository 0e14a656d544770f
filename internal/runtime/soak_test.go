// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"log/slog"
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

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
)

// The soak: an application in a process of its own, with a slow sink and a store of many
// keys on 64 partitions, gets more than it can do. MILLRACE_LONG=1 runs it for
// MILLRACE_SOAK, 10 minutes, with 5 million keys in 10 minutes.
const (
	soakLimit      = 256 << 20
	soakPartitions = 64
	soakBroker     = "MILLRACE_SOAK_BROKER" // tells a process that it is the application
	soakDir        = "MILLRACE_SOAK_DIR"
)

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
	debug.SetMemoryLimit(processor.HeapLimit(soakLimit))
	stores := millrace.Stores(os.Getenv(soakDir))
	a, err := processor.Start(t.Context(), soakTopology(), processor.Config{
		Brokers: []string{addr}, Stores: stores, MemoryLimit: soakLimit, CommitInterval: 5 * time.Second,
		Workers: 1, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	out := json.NewEncoder(os.Stdout)
	tick := time.NewTicker(time.Second)
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

func TestSoak(t *testing.T) {
	if os.Getenv("MILLRACE_LONG") == "" {
		t.Skip("MILLRACE_LONG is not set")
	}
	if goruntime.GOOS != "linux" {
		t.Skip("resident memory is read from /proc")
	}
	length := 10 * time.Minute
	if d, err := time.ParseDuration(os.Getenv("MILLRACE_SOAK")); err == nil {
		length = d
	}
	keys := int64(5e6 * length.Minutes() / 10)
	b := bundled(t, broker.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	b.create(t, soakPartitions, "soak-in")

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestSoakApplication$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), soakBroker+"="+b.addr, soakDir+"="+t.TempDir())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	next := func() soakSample {
		for lines.Scan() {
			var s soakSample
			if json.Unmarshal(lines.Bytes(), &s) == nil {
				return s
			}
		}
		t.Fatal("the application has ended")
		return soakSample{}
	}
	var idle soakSample
	for calm := 0; calm < 5; { // running, and settled
		if idle = next(); idle.Running == soakPartitions {
			calm++
		}
	}
	t.Logf("idle: %+v", idle)

	producing, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	produced := make(chan int64, 1)
	go func() { produced <- soakProduce(producing, b.client(t, kgo.DefaultProduceTopic("soak-in")), keys) }()
	var samples []soakSample
	for producing.Err() == nil {
		samples = append(samples, next())
		if n := len(samples); n%15 == 0 {
			t.Logf("%d s: %+v", n, samples[n-1])
		}
	}
	sent := <-produced
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	for lines.Scan() { // what is left, so that the process can end
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the application ends with %v", err)
	}
	soakJudge(t, idle, samples, keys, sent)
}

// soakProduce sends each key once, then keys at random, faster than the sink.
func soakProduce(ctx context.Context, cl *kgo.Client, keys int64) int64 {
	value := make([]byte, 100)
	rnd := rand.New(rand.NewPCG(1, 2))
	var n int64
	for ; ctx.Err() == nil; n++ {
		key := n
		if n >= keys {
			key = rnd.Int64N(keys)
		}
		cl.Produce(ctx, &kgo.Record{Key: binary.BigEndian.AppendUint64(nil, uint64(key)), Value: value}, nil)
	}
	return n
}

func soakJudge(t *testing.T, idle soakSample, samples []soakSample, keys, sent int64) {
	t.Helper()
	last := samples[len(samples)-1]
	highest := slices.MaxFunc(samples, func(a, b soakSample) int { return int(a.Resident/1024 - b.Resident/1024) })
	bound := int64(soakLimit*1.25) + idle.Resident
	t.Logf("%d keys, %d records sent, %d processed; resident %d MiB idle, %d at most, %d allowed; goroutines %d to %d, handles %d to %d",
		keys, sent, last.Records, idle.Resident>>20, highest.Resident>>20, bound>>20,
		idle.Goroutines, last.Goroutines, idle.Handles, last.Handles)
	if highest.Resident > bound {
		t.Errorf("resident memory was %d, more than %d: %+v", highest.Resident, bound, highest)
	}
	if last.Records < keys/2 || sent < keys {
		t.Errorf("of %d records %d were processed: too few to tell anything", sent, last.Records)
	}
	if last.Goroutines > idle.Goroutines+8 {
		t.Errorf("goroutines grew from %d to %d", idle.Goroutines, last.Goroutines)
	}
	half := samples[len(samples)/2]
	if last.Handles > half.Handles+half.Handles/5+soakPartitions {
		t.Errorf("handles grew from %d at half time to %d", half.Handles, last.Handles)
	}
	if last.Running != soakPartitions {
		t.Errorf("%d tasks run at the end", last.Running)
	}
}
