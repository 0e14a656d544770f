// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
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
	"github.com/millrace/millrace/internal/runtime/link/batch"
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
// slices of records that it takes back once they are processed, and brings again at
// other offsets: what a link allocates and does for what it fetches is the link's, and
// is measured with it.
type feed struct {
	app atomic.Pointer[runtime.App]

	mu        sync.Mutex
	cond      *sync.Cond
	owned     map[link.Partition]*feeding
	committed map[link.Partition]int64
	total     int64 // of all partitions, since the start
}

type feeding struct {
	keys      [][]byte // each key is in one partition: that which a producer chooses
	rand      *rand.Rand
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
	feedValue      = 100 // bytes
	feedRecord     = 9 + feedValue + batch.RecordCost
)

func newFeed(keys int) *feed {
	f := &feed{owned: map[link.Partition]*feeding{}, committed: map[link.Partition]int64{}}
	f.cond = sync.NewCond(&f.mu)
	for p := range int32(feedPartitions) {
		f.owned[link.Partition{Topic: "in", Num: p}] = &feeding{rand: rand.New(rand.NewPCG(1, uint64(p))), paused: true}
	}
	for i := range keys {
		key := fmt.Appendf(nil, "k%08d", i)
		s := f.owned[link.Partition{Topic: "in", Num: link.PartitionFor(key, feedPartitions)}]
		s.keys = append(s.keys, key)
	}
	return f
}

// records makes those of a batch, any keys of the partition, with their bytes side by
// side as in what is fetched.
func (s *feeding) records() []plan.Raw {
	records, data := make([]plan.Raw, feedBatch), make([]byte, feedBatch*(len(s.keys[0])+feedValue))
	for i := range records {
		key := s.keys[s.rand.IntN(len(s.keys))]
		n := copy(data, key)
		end := n + feedValue
		data[n] = "0123456789"[i%10]
		records[i] = plan.Raw{Key: data[:n:n], Value: data[n:end:end], Timestamp: int64(1_600_000_000_000 + i/10), Epoch: 1}
		data = data[end:]
	}
	return records
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
				batches = append(batches, s.batch(p, n))
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

func (s *feeding) batch(p link.Partition, n int64) link.Batch {
	if len(s.spare) == 0 {
		s.spare = append(s.spare, s.records())
	}
	var all []plan.Raw
	all, s.spare = s.spare[len(s.spare)-1], s.spare[:len(s.spare)-1]
	b := link.Batch{Partition: p, Records: all[:n], End: s.end, Bytes: n * feedRecord}
	for i := range b.Records {
		b.Records[i].Offset = s.next
		s.next++
	}
	s.out = append(s.out, outBatch{all, s.next})
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

// A nullLane encodes records into batches as a link does, and throws them away.
type nullLane struct{ batch.Builder }

func (l *nullLane) Append(_ *link.Dest, key, value []byte, timestamp int64, headers []plan.Header) error {
	l.Add(key, value, timestamp, headers)
	if l.Len() >= 1<<20 {
		l.send()
	}
	return nil
}

// send is where a batch would go out: with its checksum.
func (l *nullLane) send() {
	if l.Records() > 0 {
		goruntime.KeepAlive(l.Finish(batch.Producer{}, 0, nil, nil))
	}
	l.Reset()
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
