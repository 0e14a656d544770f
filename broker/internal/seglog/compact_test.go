// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/broker/internal/seglog"
)

// everything lets a compaction do all that it can.
var everything = seglog.Compaction{Limit: math.MaxInt64, TombstoneLifetime: time.Hour}

// settled waits until the sealed segments may be compacted.
func settled(t testing.TB, l *seglog.Log) {
	t.Helper()
	flush(t, l)
	for deadline := time.Now().Add(time.Minute); ; {
		d, err := l.Dirt(everything, epochStart)
		must(t, err)
		if d.Clean+d.Cleanable >= l.Size()-l.ActiveSize() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("sealed segments are not settled: %+v of %d bytes", d, l.Size())
		}
		time.Sleep(time.Millisecond)
	}
}

func compact(t testing.TB, l *seglog.Log, c *seglog.Cleaner, p seglog.Compaction, now time.Time) seglog.Compacted {
	t.Helper()
	done, err := c.Compact(context.Background(), l, p, now)
	must(t, err)
	return done
}

// kv is a record of a test: "key=value", "key" for a tombstone, "=value" without
// a key.
func kv(s string, ts int64) seglog.Record {
	key, value, ok := strings.Cut(s, "=")
	r := seglog.Record{Timestamp: ts}
	if key != "" {
		r.Key = []byte(key)
	}
	if ok {
		r.Value = []byte(value)
	}
	return r
}

func kvBatch(ts int64, opts []seglog.BatchOption, kvs ...string) []byte {
	recs := make([]seglog.Record, len(kvs))
	for i, s := range kvs {
		recs[i] = kv(s, ts+int64(i))
	}
	return seglog.BuildBatch(recs, opts...)
}

// kept reads all records from an offset on, as "offset:key=value", and checks that
// offsets rise.
func kept(t testing.TB, l *seglog.Log, from int64) []string {
	t.Helper()
	list, err := read(l, from)
	must(t, err)
	return list
}

func read(l *seglog.Log, from int64) ([]string, error) {
	list := []string{}
	last := from - 1
	for next := from; next < l.LogEndOffset(); {
		r, err := l.Read(next, 1<<20, l.LogEndOffset(), true)
		if err != nil {
			return nil, err
		}
		if r.NextOffset <= next {
			return nil, fmt.Errorf("Read(%d) goes on at %d", next, r.NextOffset)
		}
		err = eachBatch(r.Data, func(b []byte) error {
			return seglog.EachRecord(b, func(rec seglog.Record) error {
				if rec.Offset < from {
					return nil
				}
				if rec.Offset <= last {
					return fmt.Errorf("offset %d follows %d", rec.Offset, last)
				}
				last = rec.Offset
				s := fmt.Sprintf("%d:%s", rec.Offset, rec.Key)
				if rec.Value != nil {
					s += fmt.Sprintf("=%s", rec.Value)
				}
				list = append(list, s)
				return nil
			})
		})
		if err != nil {
			return nil, err
		}
		next = r.NextOffset
	}
	return list, nil
}

// roll fills the active segment, so that all before lies in sealed ones. It
// takes two offsets.
func roll(t testing.TB, l *seglog.Log, size int) {
	t.Helper()
	end := l.LogEndOffset()
	appendBatch(t, l, kvBatch(0, nil, fmt.Sprintf("filler%d=%s", end, strings.Repeat("x", size))))
	appendBatch(t, l, kvBatch(0, nil, fmt.Sprintf("filler%d=%s", end+1, strings.Repeat("x", size))))
	settled(t, l)
}

// TestCompactionKeepsTheNewest fails when a compaction drops the latest record of
// a key (mutant compaction-drops-newest).
func TestCompactionKeepsTheNewest(t *testing.T) {
	cfg := seglog.Config{FS: newDisk(t), SegmentBytes: 2000}
	l := open(t, cfg)
	appendBatch(t, l, kvBatch(0, nil, "a=1", "b=1", "c=1"))
	appendBatch(t, l, kvBatch(0, nil, "a=2", "d=1"))
	appendBatch(t, l, kvBatch(0, nil, "a=3", "a=4", "=no key"))
	roll(t, l, 1900) // 8 and 9
	appendBatch(t, l, kvBatch(0, nil, "b=2"))
	roll(t, l, 1900)
	appendBatch(t, l, kvBatch(0, nil, "a=5")) // rolls
	settled(t, l)
	var c seglog.Cleaner
	done := compact(t, l, &c, everything, epochStart)
	if done.Dropped != 5 {
		t.Errorf("Compact = %+v, want 5 records dropped", done)
	}
	want := []string{"2:c=1", "4:d=1", "6:a=4", "10:b=2", "13:a=5"}
	check := func(when string) {
		t.Helper()
		for from := int64(0); from <= l.LogEndOffset(); from++ {
			var some []string
			for _, s := range kept(t, l, from) {
				if !strings.Contains(s, "filler") {
					some = append(some, s)
				}
			}
			i := 0
			for i < len(want) {
				var offset int64
				_, _ = fmt.Sscanf(want[i], "%d:", &offset)
				if offset >= from {
					break
				}
				i++
			}
			if diff := cmp.Diff(append([]string(nil), want[i:]...), some); diff != "" {
				t.Fatalf("%s, from %d: %s", when, from, diff)
			}
		}
	}
	check("compacted")
	if again := compact(t, l, &c, everything, epochStart); again.Rounds != 0 {
		t.Errorf("a second Compact = %+v, want nothing to do", again)
	}
	must(t, l.Close())
	l = open(t, cfg)
	check("after a restart")
}

func TestTombstonesStayForTheirLifetime(t *testing.T) {
	cfg := seglog.Config{FS: newDisk(t), SegmentBytes: 2000}
	l := open(t, cfg)
	const day = 24 * time.Hour
	now := epochStart
	appendBatch(t, l, kvBatch(now.UnixMilli(), nil, "a=1", "b=1"))
	appendBatch(t, l, kvBatch(now.UnixMilli(), nil, "a", "b=2"))
	roll(t, l, 1900)
	p := seglog.Compaction{Limit: math.MaxInt64, TombstoneLifetime: day}
	var c seglog.Cleaner
	has := func(want bool, when string) {
		t.Helper()
		got := strings.HasPrefix(strings.Join(kept(t, l, 0), " "), "2:a 3:b=2")
		if got != want {
			t.Errorf("%s: the log has %.80q, tombstone wanted: %v", when, kept(t, l, 0), want)
		}
	}
	compact(t, l, &c, p, now)
	has(true, "first compaction")
	r, err := l.Read(2, 1<<20, math.MaxInt64, true)
	must(t, err)
	h, err := seglog.ParseHeader(r.Data)
	must(t, err)
	if !h.HasDeleteHorizon() || h.BaseTimestamp != now.Add(day).UnixMilli() || h.MaxTimestamp != now.UnixMilli()+1 {
		t.Errorf("header %+v, want a delete horizon a day on, and the timestamps as they were", h)
	}
	must(t, seglog.EachRecord(r.Data, func(rec seglog.Record) error {
		if want := now.UnixMilli() + rec.Offset - 2; rec.Timestamp != want {
			t.Errorf("timestamp of %d is %d, want %d", rec.Offset, rec.Timestamp, want)
		}
		return nil
	}))
	must(t, l.Close())
	l = open(t, cfg)
	roll(t, l, 1900)
	compact(t, l, &c, p, now.Add(day-time.Millisecond))
	has(true, "just before its time is over")
	roll(t, l, 1900)
	compact(t, l, &c, p, now.Add(day))
	has(false, "when its time is over")
	if got := kept(t, l, 0)[0]; got != "3:b=2" {
		t.Errorf("the log begins with %q, want 3:b=2", got)
	}
}

func TestLastSequencesSurviveCompaction(t *testing.T) {
	disk := newDisk(t)
	cfg := seglog.Config{FS: disk, SegmentBytes: 2000}
	l := open(t, cfg)
	p7 := func(seq int32) []seglog.BatchOption { return []seglog.BatchOption{seglog.WithProducer(7, 1, seq)} }
	appendBatch(t, l, kvBatch(0, p7(0), "a=1", "b=1"))
	last := kvBatch(0, p7(2), "a=2", "b=2")
	appendBatch(t, l, append([]byte(nil), last...))
	appendBatch(t, l, kvBatch(0, nil, "a=3", "b=3"))
	roll(t, l, 1900)
	roll(t, l, 1900)
	var c seglog.Cleaner
	compact(t, l, &c, everything, epochStart)
	if got := kept(t, l, 0)[0]; got != "4:a=3" {
		t.Fatalf("the log begins with %q, want 4:a=3", got)
	}
	r, err := l.Read(0, 1<<20, math.MaxInt64, true)
	must(t, err)
	h, err := seglog.ParseHeader(r.Data)
	must(t, err)
	want := seglog.Header{
		BaseOffset: 2, Length: seglog.HeaderSize, CRC: h.CRC, LastOffsetDelta: 1, BaseTimestamp: -1, MaxTimestamp: -1,
		ProducerID: 7, ProducerEpoch: 1, BaseSequence: 2,
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("the empty batch of the producer: %s", diff)
	}
	must(t, l.Close())
	// The state must come from the batches alone.
	entries, err := disk.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".snapshot") || e.Name() == ".clean" {
			must(t, disk.Remove(dir+"/"+e.Name()))
		}
	}
	l = open(t, cfg)
	a, err := l.Append(append([]byte(nil), last...), 0, epochStart)
	must(t, err)
	if !a.Duplicate || a.BaseOffset != 2 || a.LastOffset != 3 {
		t.Errorf("the last batch again: %+v, want a duplicate at 2 to 3", a)
	}
	a, err = l.Append(kvBatch(0, p7(4), "a=4"), 0, epochStart)
	must(t, err)
	if a.Duplicate {
		t.Errorf("the next batch: %+v, want it appended", a)
	}
}

// TestCompactionBounds compacts a log of four sealed segments with one key.
func TestCompactionBounds(t *testing.T) {
	const minute = time.Minute
	for _, tc := range []struct {
		name string
		p    seglog.Compaction
		want string // offsets that stay
	}{
		{"everything but the active segment", seglog.Compaction{Limit: math.MaxInt64}, "3 4"},
		{"up to the high watermark", seglog.Compaction{Limit: 3}, "2 3 4"},
		{"high watermark within a segment", seglog.Compaction{Limit: 2}, "1 2 3 4"},
		{"nothing is old enough", seglog.Compaction{Limit: math.MaxInt64, MinLag: 6 * minute}, "0 1 2 3 4"},
		{"two are old enough", seglog.Compaction{Limit: math.MaxInt64, MinLag: 3*minute + minute/2}, "1 2 3 4"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := open(t, seglog.Config{FS: newDisk(t), SegmentBytes: 1000})
			for i := range 5 {
				appendBatch(t, l, kvBatch(epochStart.Add(time.Duration(i)*minute).UnixMilli(), nil, "k="+strings.Repeat("x", 800)))
			}
			settled(t, l)
			var c seglog.Cleaner
			compact(t, l, &c, tc.p, epochStart.Add(5*minute))
			var got []string
			for _, s := range kept(t, l, 0) {
				offset, _, _ := strings.Cut(s, ":")
				got = append(got, offset)
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDirt(t *testing.T) {
	l := open(t, seglog.Config{FS: newDisk(t), SegmentBytes: 1000})
	var size int64
	add := func(n int, ts time.Time) {
		for range n {
			b := kvBatch(ts.UnixMilli(), nil, fmt.Sprintf("k%d=%s", l.LogEndOffset(), strings.Repeat("x", 800)))
			size = int64(len(b))
			appendBatch(t, l, b)
		}
		settled(t, l)
	}
	dirt := func(p seglog.Compaction, now time.Time) seglog.Dirt {
		t.Helper()
		d, err := l.Dirt(p, now)
		must(t, err)
		return d
	}
	if d := dirt(everything, epochStart); d.Ratio() != 0 || d.Overdue {
		t.Errorf("an empty log has %+v", d)
	}
	add(5, epochStart)
	if diff := cmp.Diff(seglog.Dirt{Cleanable: 4 * size}, dirt(everything, epochStart)); diff != "" {
		t.Error(diff)
	}
	var c seglog.Cleaner
	compact(t, l, &c, everything, epochStart)
	if d := dirt(everything, epochStart); d.Clean == 0 || d.Ratio() != 0 {
		t.Errorf("a compacted log has %+v", d)
	}
	add(4, epochStart.Add(time.Hour))
	if d := dirt(everything, epochStart); d.Ratio() < 0.45 || d.Ratio() > 0.55 {
		t.Errorf("half of the log was compacted: %+v", d)
	}
	late := everything
	late.MaxLag = time.Hour
	for after, want := range map[time.Duration]bool{time.Hour: false, time.Hour + 1e6: true} {
		if d := dirt(late, epochStart.Add(after)); d.Overdue != want { // of the record that was in the active segment
			t.Errorf("%v on: %+v, want overdue: %v", after, d, want)
		}
	}
}

// A model is what a compacted log must tell: of each key the latest record.
type model struct {
	seed    uint64
	records []string // by offset, "key=value" or "key"
}

// check compares a log, all records of which below cleaned may have been compacted.
func (m *model) check(l *seglog.Log, from int64) error {
	list, err := read(l, from)
	if err != nil {
		return err
	}
	got := map[string]string{}
	for _, s := range list {
		var offset int64
		at, rec, _ := strings.Cut(s, ":")
		_, _ = fmt.Sscan(at, &offset)
		if m.records[offset] != rec {
			return fmt.Errorf("offset %d has %.40q, want %.40q", offset, rec, m.records[offset])
		}
		key, _, _ := strings.Cut(rec, "=")
		got[key] = s
	}
	start := l.LogStartOffset()
	want := map[string]string{}
	for i, rec := range m.records[:l.LogEndOffset()] {
		key, _, _ := strings.Cut(rec, "=")
		if int64(i) >= max(from, start) {
			want[key] = fmt.Sprintf("%d:%s", i, rec)
		}
	}
	for key, s := range want {
		if g, ok := got[key]; g != s {
			if !ok && !strings.Contains(s, "=") {
				continue // a tombstone may be gone, with all before it
			}
			return fmt.Errorf("from %d, key %q: the latest is %.40q, want %.40q", from, key, g, s)
		}
		delete(got, key)
	}
	for key, s := range got {
		return fmt.Errorf("from %d, key %q: got %.40q, want none", from, key, s)
	}
	return nil
}

var packings = []seglog.Codec{seglog.CodecNone, seglog.CodecGzip, seglog.CodecSnappy, seglog.CodecLZ4, seglog.CodecZstd}

// append appends a batch of random records to l.
func (m *model) append(t testing.TB, l *seglog.Log, rng *rand.Rand, keys int) {
	t.Helper()
	kvs := make([]string, 1+rng.IntN(6))
	for i := range kvs {
		kvs[i] = fmt.Sprintf("k%d", rng.IntN(keys))
		if rng.IntN(5) > 0 {
			kvs[i] += fmt.Sprintf("=%d/%s", len(m.records)+i, strings.Repeat("v", rng.IntN(60)))
		}
	}
	b := kvBatch(epochStart.UnixMilli()+int64(len(m.records)), nil, kvs...)
	b, err := seglog.Packing{Repack: true, Codec: packings[rng.IntN(len(packings))]}.Pack(b, 1<<20)
	must(t, err)
	appendBatch(t, l, b)
	m.records = append(m.records, kvs...)
}

// TestCompactionModel compacts logs of random records, in rounds with little
// memory and in one, and compares what is read from each offset with the model.
func TestCompactionModel(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			cfg := seglog.Config{FS: newDisk(t), SegmentBytes: 1500, IndexIntervalBytes: 300, Handles: seglog.NewHandles(2)}
			l := open(t, cfg)
			m := &model{seed: seed}
			c := &seglog.Cleaner{MapBytes: []int64{1, 24 * 40, 0}[seed%3]}
			now, left := epochStart, 0
			for step := range 12 {
				for range rng.IntN(30) {
					m.append(t, l, rng, 3+rng.IntN(40))
				}
				settled(t, l)
				now = now.Add(time.Duration(rng.IntN(90)) * time.Minute)
				done := compact(t, l, c, everything, now)
				left = len(kept(t, l, 0))
				for from := int64(0); from <= l.LogEndOffset(); from += 1 + rng.Int64N(7) {
					if err := m.check(l, from); err != nil {
						t.Fatalf("step %d, %+v: %v", step, done, err)
					}
				}
				m.checkTimes(t, l, rng)
				if rng.IntN(3) == 0 {
					must(t, l.Close())
					l = open(t, cfg)
				}
			}
			if n := len(m.records); left*2 > n {
				t.Errorf("%d of %d records are left: nothing was compacted", left, n)
			}
		})
	}
}

// checkTimes looks records up by time: the timestamp of each is its offset.
func (m *model) checkTimes(t testing.TB, l *seglog.Log, rng *rand.Rand) {
	t.Helper()
	offsets := []int64{}
	for _, s := range kept(t, l, 0) {
		var offset int64
		_, _ = fmt.Sscanf(s, "%d:", &offset)
		offsets = append(offsets, offset)
	}
	if len(offsets) == 0 {
		return
	}
	for range 20 {
		ts := rng.Int64N(l.LogEndOffset() + 1)
		want := int64(-1)
		for _, o := range offsets {
			if o >= ts {
				want = o
				break
			}
		}
		offset, _, _, ok, err := l.OffsetForTimestamp(epochStart.UnixMilli()+ts, math.MaxInt64)
		must(t, err)
		if ok != (want >= 0) || ok && offset != want {
			t.Fatalf("OffsetForTimestamp(start+%d) = %d, %v, want %d", ts, offset, ok, want)
		}
	}
	if last := offsets[len(offsets)-1]; true {
		offset, _, _, ok, err := l.MaxTimestamp(math.MaxInt64)
		must(t, err)
		if !ok || offset != last {
			t.Fatalf("MaxTimestamp = %d, %v, want %d", offset, ok, last)
		}
	}
}
