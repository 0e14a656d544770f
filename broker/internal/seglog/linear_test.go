// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// A history is clients at work on one log, which crashes now and then: a crash
// takes a disk as it may be found after it, and all go on with what is recovered from
// that. What had no answer before the crash has none for good.
type history struct {
	t      testing.TB
	seed   uint64
	policy seglog.FlushPolicy

	clock atomic.Int64
	value atomic.Int64

	mu      sync.RWMutex // held for reading while an answer is noted
	log     *seglog.Log  // guarded by mu
	disk    *vfs.CrashMem
	run     int           // guarded by mu: counts the crashes
	crashed *vfs.CrashMem // guarded by mu: what the crash left; nil: there was none since the log was opened

	notes sync.Mutex
	ops   []porcupine.Operation // guarded by notes
}

func newHistory(t testing.TB, seed uint64, policy seglog.FlushPolicy) *history {
	return &history{t: t, seed: seed, policy: policy, disk: newDisk(t)}
}

func (h *history) fatalf(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("seed %d: "+format, append([]any{h.seed}, args...)...)
}

// open opens the log on h.disk, which is to crash after as many effects; 0: never.
func (h *history) open(effects int) {
	disk, rng := h.disk, rand.New(rand.NewPCG(h.seed, uint64(effects)))
	var n atomic.Int64
	disk.OnEffect(func(int) {
		if n.Add(1) == int64(effects) {
			h.crash(disk, rng)
		}
		runtime.Gosched()
	})
	l, err := seglog.Open(seglog.Config{
		FS: disk, Dir: dir, SegmentBytes: 700, IndexIntervalBytes: 100, Flush: h.policy, ProducerExpiry: time.Hour,
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.fatalf("open: %v", err)
	}
	h.log = l
}

// crash ends the run: what has no answer by now gets none.
func (h *history) crash(disk *vfs.CrashMem, rng *rand.Rand) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if disk != h.disk || h.crashed != nil {
		return
	}
	h.crashed = disk.Crash(rng)
	if h.policy.Mode != seglog.FlushBatch { // the process is killed, the page cache lives
		h.crashed = crashKeepingAll(h.t, disk)
	}
	h.run++
}

// begin opens the log of a new disk, which may crash meanwhile.
func (h *history) begin(rng *rand.Rand, effects int) {
	h.open(effects)
	if h.crashed != nil {
		h.restart(rng, 0)
	}
}

// restart opens what the crash left, if there was one, or what a clean stop leaves.
// A recovery may be cut short by a crash, and another does its work.
func (h *history) restart(rng *rand.Rand, effects int) {
	for range 3 {
		if h.log != nil {
			if err := h.log.Close(); err != nil {
				h.fatalf("close: %v", err)
			}
		}
		h.log = nil
		if h.crashed != nil {
			h.disk = h.crashed
		} else {
			h.disk = h.disk.Crash(rng) // after a clean stop nothing is lost
		}
		h.crashed = nil
		h.open(effects)
		if h.crashed == nil {
			return
		}
		effects = 1 + rng.IntN(150) // it crashed while it was opened
	}
	h.restart(rng, 0)
}

// do asks q of the log and notes the answer, which it returns. ok is false if
// there is none.
func (h *history) do(client int, q question) (o outcome, ok bool) {
	h.mu.RLock()
	l, run, down := h.log, h.run, h.crashed != nil
	h.mu.RUnlock()
	if down {
		return o, false
	}
	runtime.Gosched() // others come between
	op := porcupine.Operation{ClientId: client, Input: q, Call: h.clock.Add(1)}
	o, err := h.ask(l, q)
	h.mu.RLock()
	defer h.mu.RUnlock()
	ok = run == h.run
	if ok && err != nil {
		h.t.Errorf("seed %d: %v: %v", h.seed, q, err)
	}
	if !ok {
		if q.kind != opProduce && q.kind != opDelete {
			return o, false // it told nobody anything
		}
		o = outcome{unknown: true}
	}
	op.Output, op.Return = o, h.clock.Add(1)
	h.notes.Lock()
	defer h.notes.Unlock()
	h.ops = append(h.ops, op)
	return o, ok
}

// visible is the high watermark, as the broker moves it.
func (h *history) visible(l *seglog.Log) int64 {
	if h.policy.Mode == seglog.FlushBatch {
		return l.FlushedOffset()
	}
	return l.LogEndOffset()
}

func (h *history) ask(l *seglog.Log, q question) (outcome, error) {
	hw := h.visible(l)
	switch q.kind {
	case opProduce:
		return h.produce(l, q)
	case opFetch:
		return fetchValues(l, q.at, hw)
	case opDelete:
		if q.at > hw {
			return outcome{refused: outOfRange}, nil
		}
		start, err := l.DeleteRecords(q.at)
		return outcome{at: start}, err
	case opEarliest:
		return outcome{at: l.LogStartOffset()}, nil
	case opLatest:
		return outcome{at: hw}, nil
	case opTimestamp, opMaxTimestamp:
	}
	for { // a deletion meanwhile is of the log as it is, the high watermark of the log as it was
		start, hw := l.LogStartOffset(), h.visible(l)
		o, err := findTime(l, q, hw)
		if start == l.LogStartOffset() {
			return outcome{at: o}, err
		}
	}
}

func findTime(l *seglog.Log, q question, hw int64) (offset int64, err error) {
	if q.kind == opTimestamp {
		offset, _, _, _, err = l.OffsetForTimestamp(q.at, hw)
	} else {
		offset, _, _, _, err = l.MaxTimestamp(hw)
	}
	return offset, err
}

func (h *history) produce(l *seglog.Log, q question) (outcome, error) {
	recs := make([]seglog.Record, len(q.values))
	for i, v := range q.values {
		recs[i] = seglog.Record{Timestamp: timestampOf(v), Value: strconv.AppendInt(nil, int64(v), 10)}
	}
	var opts []seglog.BatchOption
	if q.id >= 0 {
		opts = append(opts, seglog.WithProducer(q.id, 0, q.seq))
	}
	a, err := l.Append(seglog.BuildBatch(recs, opts...), 0, epochStart)
	if err == nil && h.policy.Mode == seglog.FlushBatch {
		err = l.Flush(context.Background(), a.LastOffset+1)
	}
	switch {
	case errors.Is(err, seglog.ErrDuplicateSequence):
		return outcome{refused: duplicate}, nil
	case errors.Is(err, seglog.ErrOutOfOrderSequence):
		return outcome{refused: outOfOrder}, nil
	}
	return outcome{at: a.BaseOffset}, err
}

// fetchValues reads as the broker does, below the high watermark.
func fetchValues(l *seglog.Log, from, hw int64) (o outcome, err error) {
	if from > hw {
		return outcome{refused: outOfRange}, nil
	}
	r, err := l.Read(from, 300, hw, true)
	if errors.Is(err, seglog.ErrOffsetOutOfRange) {
		return outcome{refused: outOfRange}, nil
	}
	if err != nil {
		return o, err
	}
	err = eachBatch(r.Data, func(b []byte) error {
		return seglog.EachRecord(b, func(rec seglog.Record) error {
			if rec.Offset < from {
				return nil
			}
			v, err := strconv.Atoi(string(rec.Value))
			o.values = append(o.values, v)
			return err
		})
	})
	return o, err
}

// A linearClient is one client: an idempotent producer with one batch in flight,
// that sends it until there is an answer, and now and then an older one once more.
type linearClient struct {
	h    *history
	n    int
	rng  *rand.Rand
	id   int64
	seq  int32
	sent []question
	next *question // has had no answer yet
}

// step does one thing. It ends with the run.
func (c *linearClient) step() bool {
	at := c.rng.Int64N(c.h.value.Load() + 2)
	q := question{kind: opFetch, at: at}
	switch c.rng.IntN(12) {
	case 0:
		q = question{kind: opDelete, at: at / 2}
	case 1:
		q = question{kind: opEarliest}
	case 2:
		q = question{kind: opLatest}
	case 3:
		q = question{kind: opTimestamp, at: 1 + c.rng.Int64N(24)}
	case 4:
		q = question{kind: opMaxTimestamp}
	case 5, 6: // without a fetch
	default:
		return c.produce()
	}
	_, ok := c.h.do(c.n, q)
	return ok
}

func (c *linearClient) produce() bool {
	if c.next == nil && len(c.sent) > 0 && c.rng.IntN(5) == 0 {
		again := c.sent[max(0, len(c.sent)-1-c.rng.IntN(7))]
		if c.rng.IntN(4) == 0 {
			again.seq += 1000 // a gap
		}
		_, ok := c.h.do(c.n, again)
		return ok
	}
	if c.next == nil {
		n := 1 + c.rng.IntN(2)
		last := int(c.h.value.Add(int64(n)))
		q := question{kind: opProduce, id: c.id, seq: c.seq}
		for v := last - n; v < last; v++ {
			q.values = append(q.values, v)
		}
		c.next = &q
	}
	q := *c.next
	_, ok := c.h.do(c.n, q)
	if ok || c.id < 0 { // who is not idempotent can't know, and goes on
		c.sent, c.next = append(c.sent, q), nil
		c.seq += int32(len(q.values))
	}
	if c.id < 0 {
		c.sent = nil
	}
	return ok
}

// work lets the clients do n steps each, or less if the log crashes.
func (h *history) work(clients []*linearClient, n int) {
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			for range n {
				if !c.step() {
					return
				}
			}
		})
	}
	wg.Wait()
}

func (h *history) clients(n int) []*linearClient {
	list := make([]*linearClient, n)
	for i := range list {
		list[i] = &linearClient{h: h, n: i, id: int64(i), rng: rand.New(rand.NewPCG(h.seed, uint64(1000+i)))}
		if i == n-1 {
			list[i].id = -1
		}
	}
	return list
}

// check looks for an order of all that was done that explains the answers.
func (h *history) check() {
	h.t.Helper()
	if err := h.log.Close(); err != nil {
		h.fatalf("close: %v", err)
	}
	result, info := porcupine.CheckOperationsVerbose(logModel.ToModel(), h.ops, time.Minute)
	switch result {
	case porcupine.Ok:
	case porcupine.Unknown:
		h.t.Logf("seed %d: no answer within a minute on %d operations", h.seed, len(h.ops))
	default:
		h.fatalf("no order explains the answers marked x:\n%s", h.tell(info))
	}
}

// tell lists the operations, and marks those that the longest order found leaves out.
func (h *history) tell(info porcupine.LinearizationInfo) string {
	explained := map[int64]bool{}
	for _, part := range info.PartialLinearizationsOperations()[0] {
		if len(part) > len(explained) {
			clear(explained)
			for _, op := range part {
				explained[op.Call] = true
			}
		}
	}
	slices.SortFunc(h.ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, op := range h.ops {
		mark := map[bool]string{false: "x"}[explained[op.Call]]
		fmt.Fprintf(&b, "%1s %4d-%-4d client %d: %v -> %v\n", mark, op.Call, op.Return, op.ClientId, op.Input, op.Output)
	}
	return b.String()
}

// readBack has one client read all, from the start on.
func (h *history) readBack() {
	for at := h.log.LogStartOffset(); ; {
		o, ok := h.do(99, question{kind: opFetch, at: at})
		if !ok || len(o.values) == 0 {
			return
		}
		at += int64(len(o.values))
	}
}

// TestLinearizable has several clients at once work on a log that crashes: with
// torn writes where each batch is flushed, as by kill -9 where it is not. SEED=n
// runs that seed alone, MILLRACE_LONG=1 more of them.
func TestLinearizable(t *testing.T) {
	seeds := 200
	if os.Getenv("MILLRACE_LONG") != "" {
		seeds = 2000
	}
	first := uint64(1)
	if s := os.Getenv("SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		must(t, err)
		first, seeds = n, 1
	}
	for seed := first; seed < first+uint64(seeds); seed++ {
		policy := policies["batch"]
		if seed%4 == 0 {
			policy = policies["os"]
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		h := newHistory(t, seed, policy)
		h.begin(rng, 1+rng.IntN(200))
		clients := h.clients(4)
		for range 4 {
			h.work(clients, 12)
			h.restart(rng, 1+rng.IntN(120))
		}
		h.work(clients, 5)
		h.restart(rng, 0)
		h.readBack()
		h.check()
	}
}

// TestLinearizableAtEachCrashPoint crashes a short history after each effect, and
// the recovery from that after a few, too.
func TestLinearizableAtEachCrashPoint(t *testing.T) {
	step := 3
	if os.Getenv("MILLRACE_LONG") != "" {
		step = 1
	}
	crashes := 0
	for effects := 1; effects < 400; effects += step {
		h := newHistory(t, uint64(effects), policies["batch"])
		rng := rand.New(rand.NewPCG(h.seed, 2))
		h.begin(rng, effects)
		clients := h.clients(2)
		h.work(clients, 25)
		if h.run == 0 {
			break // it was over before
		}
		crashes++
		h.restart(rng, 1+effects%9)
		h.work(clients, 5)
		h.restart(rng, 0)
		h.readBack()
		h.check()
	}
	if crashes < 20 {
		t.Errorf("%d crash points only", crashes)
	}
}
