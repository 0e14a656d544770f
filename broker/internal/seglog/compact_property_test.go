// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// A mixedLog is a log with batches of all kinds: plain ones, those of idempotent
// producers, of transactions, and control batches, which clients can't append.
type mixedLog struct {
	records []mixedRecord     // by offset
	last    map[int64]sentOne // by producer id: its last batch
}

type mixedRecord struct {
	text  string // "key=value", "key" for a tombstone
	stays bool   // of a transaction, or control
}

type sentOne struct {
	base  int64
	bytes []byte
}

// attribute bits of a batch.
const (
	attrTransactional = 1 << 4
	attrControl       = 1 << 5
)

// writeMixed writes the segments of such a log as they lie on the disk.
func writeMixed(t testing.TB, disk vfs.FS, rng *rand.Rand) *mixedLog {
	t.Helper()
	m := &mixedLog{last: map[int64]sentOne{}}
	seqs := map[int64]int32{}
	for segment := range 4 {
		base, file1 := int64(len(m.records)), []byte(nil)
		for len(file1) < 1200 {
			id, attrs := int64(rng.IntN(4)-1), byte(0)
			kvs := make([]string, 1+rng.IntN(4))
			for i := range kvs {
				kvs[i] = fmt.Sprintf("k%d", 3*segment+rng.IntN(6)) // some don't come again
				if rng.IntN(4) > 0 {
					kvs[i] += fmt.Sprintf("=%d/%s", len(m.records)+i, strings.Repeat("v", rng.IntN(60)))
				}
			}
			switch rng.IntN(8) {
			case 0:
				attrs, id = attrTransactional, 8
			case 1:
				attrs, kvs, id = attrTransactional|attrControl, []string{"\x00\x00\x00\x01=\x00\x00\x00\x00\x00\x07"}, 9
			}
			var opts []seglog.BatchOption
			if id >= 0 {
				opts = append(opts, seglog.WithProducer(id, 0, seqs[id]))
			}
			b := kvBatch(epochStart.UnixMilli()+int64(len(m.records)), opts, kvs...)
			at := int64(len(m.records))
			binary.BigEndian.PutUint64(b, uint64(at))
			b[22] |= attrs
			binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
			if id >= 0 && attrs&attrControl == 0 {
				seqs[id] += int32(len(kvs))
				m.last[id] = sentOne{at, append([]byte(nil), b...)}
			}
			for _, s := range kvs {
				m.records = append(m.records, mixedRecord{s, attrs != 0})
			}
			file1 = append(file1, b...)
		}
		writeFile(t, disk, file(base, ".log"), file1)
	}
	return m
}

// check compares what is read from an offset on: the latest record of each key, in
// order, and all that is no compaction's business. gone allows tombstones to be missing.
func (m *mixedLog) check(l *seglog.Log, from int64, gone bool) error {
	list, err := read(l, from)
	if err != nil {
		return err
	}
	there := map[int64]bool{}
	for _, s := range list {
		var offset int64
		_, _ = fmt.Sscanf(s, "%d:", &offset)
		_, text, _ := strings.Cut(s, ":")
		if offset >= int64(len(m.records)) {
			continue // appended since
		}
		if want := m.records[offset].text; text != want {
			return fmt.Errorf("offset %d holds %.40q, want %.40q", offset, text, want)
		}
		there[offset] = true
	}
	latest := map[string]int64{}
	for i, r := range m.records {
		key, _, _ := strings.Cut(r.text, "=")
		switch {
		case int64(i) < from:
		case r.stays && !there[int64(i)]:
			return fmt.Errorf("from %d: offset %d of a transaction is gone", from, i)
		case !r.stays:
			latest[key] = int64(i)
		}
	}
	for key, offset := range latest {
		if dead := !strings.Contains(m.records[offset].text, "="); !there[offset] && (!dead || !gone) {
			return fmt.Errorf("from %d: the latest of key %s, at %d, is gone", from, key, offset)
		}
	}
	return nil
}

// checkAll checks from each offset on, and that the producers are known.
func (m *mixedLog) checkAll(t testing.TB, l *seglog.Log, when string, gone bool) {
	t.Helper()
	for from := range int64(len(m.records)) {
		if err := m.check(l, from, gone); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
	for id, s := range m.last {
		h, err := seglog.ParseHeader(s.bytes)
		must(t, err)
		if h.Transactional() {
			continue // not to be appended
		}
		a, err := l.Append(append([]byte(nil), s.bytes...), 0, epochStart)
		if err != nil || !a.Duplicate || a.BaseOffset != s.base {
			t.Fatalf("%s: the last batch of producer %d again: %+v, %v, want a duplicate at %d", when, id, a, err, s.base)
		}
	}
}

// TestCompactedLogTellsTheLatest compacts logs with batches of all kinds, and stops
// the compaction at each of its effects in turn: by the end of its context, by a disk
// that fails, and by a crash. Whatever is left tells the latest of each key from each
// offset on, and so does what the next compaction makes of it.
func TestCompactedLogTellsTheLatest(t *testing.T) {
	seeds, step := uint64(1), 4
	if os.Getenv("MILLRACE_LONG") != "" {
		seeds, step = 30, 1
	}
	for seed := range seeds {
		for _, how := range []string{"cancel", "fault", "crash"} {
			t.Run(fmt.Sprintf("seed=%d/%s", seed, how), func(t *testing.T) {
				for at := 1; ; at += step {
					if !interruptedCompaction(t, seed, how, at) {
						break
					}
				}
			})
		}
	}
}

// interruptedCompaction stops a compaction at an effect; false if it has not that many.
func interruptedCompaction(t *testing.T, seed uint64, how string, at int) (interrupted bool) {
	rng := rand.New(rand.NewPCG(seed, 11))
	disk := newDisk(t)
	must(t, disk.MkdirAll(dir, 0o755))
	must(t, disk.SyncDir("/data"))
	m := writeMixed(t, disk, rng)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n, under, broken := 0, false, false
	var crashed *vfs.CrashMem
	disk.OnEffect(func(int) {
		if !under {
			return
		}
		if n++; n == at {
			interrupted = true
			switch how {
			case "cancel":
				cancel()
			case "crash":
				crashed = disk.Crash(rng)
			case "fault":
				broken = true
			}
		}
	})
	cfg := seglog.Config{SegmentBytes: 1300, IndexIntervalBytes: 300, FS: vfs.Faults(disk, func(op vfs.Op) error {
		if broken && op.Kind != vfs.OpRead {
			return syscall.EIO
		}
		return nil
	})}
	l := open(t, cfg)
	p := everything
	p.TombstoneLifetime = time.Hour
	when := fmt.Sprintf("seed %d, %s at effect %d", seed, how, at)
	under = true
	var c seglog.Cleaner
	_, err := c.Compact(ctx, l, p, epochStart)
	under, broken = false, false
	if err != nil && !interrupted || err != nil && how == "crash" {
		t.Fatalf("%s: %v", when, err)
	}
	m.checkAll(t, l, when, false)
	if cerr := l.Close(); cerr != nil && !errors.Is(cerr, seglog.ErrLogFailed) {
		t.Fatalf("%s: close: %v", when, cerr)
	}
	if crashed != nil {
		cfg.FS = crashed
	}
	l = open(t, cfg)
	m.checkAll(t, l, when+", opened again", false)
	for i, now := range []time.Time{epochStart, epochStart.Add(2 * time.Hour)} { // then without the tombstones
		_, err = c.Compact(context.Background(), l, p, now)
		must(t, err)
		m.checkAll(t, l, fmt.Sprintf("%s, compaction %d", when, i+1), i > 0)
	}
	must(t, l.Close())
	return interrupted
}
