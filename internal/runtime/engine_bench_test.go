// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"math/bits"
	"math/rand/v2"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/internal/runtime/link/linktest"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

// A nullLink is a cluster whose input comes from memory as fast as it is taken, and
// whose lanes encode what they get into batches and throw them away: what is left is
// the engine. The rest is that of linktest.
type nullLink struct {
	link.Cluster
	feed *feed
}

func (k *nullLink) Lane() link.Lane { return &nullLane{} }

func (k *nullLink) Join(cfg link.MemberConfig) (link.Member, error) {
	m, err := k.Cluster.Join(cfg)
	return &nullMember{Member: m, feed: k.feed}, err
}

// A feed is what the partitions of the input still have to bring. Its batches are
// slices of records that it takes back once they are processed: what a link allocates
// for what it fetches is the link's, and is measured with it.
type feed struct {
	records []plan.Raw // a batch of each partition, again and again
	app     atomic.Pointer[runtime.App]

	mu        sync.Mutex
	cond      *sync.Cond
	owned     map[link.Partition]*feeding
	committed map[link.Partition]int64
	total     int64 // of all partitions, since the start
}

type feeding struct {
	paused    bool
	next, end int64
	out       []outBatch // oldest first
	spare     [][]plan.Raw
}

// An outBatch is with the engine until the partition's position is at its end.
type outBatch struct {
	records []plan.Raw
	end     int64
}

const (
	feedBatch      = 4000 // records of a batch
	feedPartitions = 4
)

func newFeed(keys int) *feed {
	f := &feed{owned: map[link.Partition]*feeding{}, committed: map[link.Partition]int64{}}
	f.cond = sync.NewCond(&f.mu)
	r := rand.New(rand.NewPCG(1, 1))
	for p := range feedPartitions {
		f.owned[link.Partition{Topic: "in", Num: int32(p)}] = &feeding{paused: true}
	}
	for i := range 8 * feedBatch {
		value := make([]byte, 100)
		value[0] = "0123456789"[i%10]
		f.records = append(f.records, plan.Raw{
			Key: fmt.Appendf(nil, "k%08d", r.IntN(keys)), Value: value, Timestamp: int64(1_600_000_000_000 + i/10), Epoch: 1,
		})
	}
	return f
}

// run brings so many records, a multiple of the partitions' number, and waits until
// the offset behind the last is committed.
func (f *feed) run(records int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total += records
	for _, s := range f.owned {
		s.end += records / feedPartitions
	}
	f.cond.Broadcast()
	for {
		var sum int64
		for _, at := range f.committed {
			sum += at
		}
		if sum == f.total {
			return
		}
		f.cond.Wait()
	}
}

type nullMember struct {
	link.Member
	feed *feed
}

func (m *nullMember) Poll(ctx context.Context) ([]link.Batch, error) {
	f := m.feed
	stop := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.cond.Broadcast()
	})
	defer stop()
	at := f.positions()
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, s := range f.owned {
		s.takeBack(at[p])
	}
	for ctx.Err() == nil {
		var batches []link.Batch
		for p, s := range f.owned {
			if n := min(feedBatch, s.end-s.next); n > 0 && !s.paused {
				batches = append(batches, f.batch(p, s, n))
			}
		}
		if len(batches) > 0 {
			return batches, nil
		}
		f.cond.Wait()
	}
	return nil, context.Cause(ctx)
}

// positions tells how far the engine has processed the partitions.
func (f *feed) positions() map[link.Partition]int64 {
	a := f.app.Load()
	if a == nil {
		return nil
	}
	at := map[link.Partition]int64{}
	for _, t := range a.Progress().Tasks {
		for _, in := range t.Inputs {
			at[link.Partition{Topic: in.Topic, Num: in.Partition}] = in.Position
		}
	}
	return at
}

// takeBack gets the batches that end at an offset, or before it.
func (s *feeding) takeBack(at int64) {
	for len(s.out) > 0 && s.out[0].end <= at {
		s.spare = append(s.spare, s.out[0].records)
		s.out = slices.Delete(s.out, 0, 1)
	}
}

func (f *feed) batch(p link.Partition, s *feeding, n int64) link.Batch {
	at := int(s.next/feedBatch) % (len(f.records) / feedBatch) * feedBatch
	b := link.Batch{Partition: p, End: s.end, Bytes: n * 200}
	if len(s.spare) == 0 {
		s.spare = append(s.spare, make([]plan.Raw, feedBatch))
	}
	b.Records, s.spare = s.spare[len(s.spare)-1][:n], s.spare[:len(s.spare)-1]
	s.out = append(s.out, outBatch{b.Records, s.next + n})
	for i := range b.Records {
		b.Records[i] = f.records[at+i]
		b.Records[i].Offset = s.next
		s.next++
	}
	return b
}

func (m *nullMember) Delivered() {}

func (m *nullMember) Pause(parts ...link.Partition) {
	m.set(true, parts)
	m.Member.Pause(parts...)
}

func (m *nullMember) Resume(parts ...link.Partition) {
	m.set(false, parts)
	m.Member.Resume(parts...)
}

func (m *nullMember) set(paused bool, parts []link.Partition) {
	m.feed.mu.Lock()
	defer m.feed.mu.Unlock()
	for _, p := range parts {
		m.feed.owned[p].paused = paused
	}
	m.feed.cond.Broadcast()
}

func (m *nullMember) Commit(_ context.Context, offsets map[link.Partition]link.Position) error {
	m.feed.mu.Lock()
	defer m.feed.mu.Unlock()
	for p, at := range offsets {
		m.feed.committed[p] = at.Offset
	}
	m.feed.cond.Broadcast()
	return nil
}

// A nullLane encodes records as those of a batch of format 2 are.
type nullLane struct {
	buf   []byte
	first int64 // timestamp
	n     int64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (l *nullLane) Append(_ *link.Dest, key, value []byte, timestamp int64, headers []plan.Header) error {
	if l.n == 0 {
		l.first = timestamp
	}
	body := 1 + varintLen(timestamp-l.first) + varintLen(l.n) + varintLen(int64(len(key))) + len(key) +
		varintLen(int64(len(value))) + len(value) + varintLen(int64(len(headers)))
	b := binary.AppendVarint(l.buf, int64(body))
	b = append(b, 0)
	b = binary.AppendVarint(b, timestamp-l.first)
	b = binary.AppendVarint(b, l.n)
	b = append(binary.AppendVarint(b, int64(len(key))), key...)
	b = append(binary.AppendVarint(b, int64(len(value))), value...)
	l.buf = binary.AppendVarint(b, int64(len(headers)))
	l.n++
	if len(l.buf) >= 1<<20 {
		l.send()
	}
	return nil
}

// varintLen is the length of a number as AppendVarint writes it.
func varintLen(v int64) int { return (bits.Len64(uint64(v<<1^v>>63)|1) + 6) / 7 }

// send is where a batch would go out: with its checksum.
func (l *nullLane) send() {
	goruntime.KeepAlive(crc32.Checksum(l.buf, castagnoli))
	l.buf, l.n = l.buf[:0], 0
}

func (l *nullLane) Barrier(done func(error)) {
	l.send()
	done(nil)
}

func (l *nullLane) Close() {}

// borrowed are bytes as they were fetched, without a copy. What decodes into a string
// or a value of its own allocates that for each record.
var borrowed = serde.Serde[[]byte]{
	Name:   "borrowed",
	Append: func(dst, v []byte) ([]byte, error) { return append(dst, v...), nil },
	Decode: func(src []byte) ([]byte, error) { return src, nil },
}

// engineTopologies are those of the engine's benchmark, out of topic in.
var engineTopologies = map[string]func(t *processor.Topology){
	"map_and_filter": func(t *processor.Topology) {
		kstream.From(t, topic.Of[[]byte, []byte]("in").Keys(borrowed).Values(borrowed)).
			Filter(func(_, v []byte) bool { return v[0] != '0' }).
			MapValues(func(v []byte) []byte { return v[8:] }).
			To(topic.Of[[]byte, []byte]("out").Keys(borrowed).Values(borrowed))
	},
	"map_and_filter,_string_keys_and_copied_values": func(t *processor.Topology) {
		kstream.From(t, topic.Of[string, []byte]("in")).
			Filter(func(_ string, v []byte) bool { return v[0] != '0' }).
			MapValues(func(v []byte) []byte { return v[8:] }).
			To(topic.Of[string, []byte]("out"))
	},
	"count_of_10_k_keys,_folded":       countingBy(window.OnCommit),
	"count_of_10_k_keys,_every_update": countingBy(window.OnUpdate),
}

func countingBy(mode window.EmitMode) func(t *processor.Topology) {
	return func(t *processor.Topology) {
		kstream.From(t, topic.Of[[]byte, []byte]("in").Keys(borrowed).Values(borrowed)).
			GroupByKey().Count("counts", ktable.Emit(mode)).
			To(topic.Of[[]byte, int64]("out").Keys(borrowed))
	}
}

// startEngine runs a topology over a null link.
func startEngine(t testing.TB, name string, records int) *feed {
	t.Helper()
	top := processor.NewTopology("engine")
	engineTopologies[name](top)
	pl := build(t, top.Graph())
	cluster := linktest.New("null")
	cluster.Create("in", feedPartitions, nil)
	cluster.Create("out", feedPartitions, nil)
	f := newFeed(10_000)
	a, err := runtime.Start(t.Context(), pl, runtime.Config{
		Workers: 2, CommitInterval: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Connect: func(cfg link.Config) (link.Cluster, error) {
			k, err := cluster.Connect(cfg)
			return &nullLink{k, f}, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.app.Store(a)
	t.Cleanup(func() {
		if err := closeApp(a); err != nil {
			t.Error(err)
		}
		cluster.Wait()
	})
	f.run(int64(records))
	return f
}

func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEngine is the whole engine with its workers, queues and commits, fed from
// memory; what it sends is encoded and thrown away. The wall time of an operation is
// that of a million records with the wait for their last commit: processor time and
// allocations a record are what it tells.
func BenchmarkEngine(b *testing.B) {
	const records = 1_000_000
	for _, name := range slices.Sorted(maps.Keys(engineTopologies)) {
		b.Run("workload="+name, func(b *testing.B) {
			f := startEngine(b, name, records)
			var before, after goruntime.MemStats
			goruntime.ReadMemStats(&before)
			began := processorTime(b)
			n := 0
			for b.Loop() {
				f.run(records)
				n += records
			}
			took := processorTime(b) - began
			goruntime.ReadMemStats(&after)
			b.ReportMetric(float64(took.Nanoseconds())/float64(n), "cpu-ns/record")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(n), "B/record")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(n), "allocs/record")
		})
	}
}

// TestEngineRunsOverTheNullLink keeps the benchmark working.
func TestEngineRunsOverTheNullLink(t *testing.T) {
	for name := range engineTopologies {
		t.Run(name, func(t *testing.T) {
			f := startEngine(t, name, 8000)
			f.run(4000)
			f.mu.Lock()
			defer f.mu.Unlock()
			for p, at := range f.committed {
				if at != 3000 {
					t.Errorf("%s is committed up to %d, want 3000", p, at)
				}
			}
		})
	}
}
