// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"errors"
	"fmt"
	"math"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// A send is one batch of an idempotent producer and what is expected of it.
type send struct {
	id    int64
	epoch int16
	seq   int32
	n     int   // records
	want  int64 // base offset; of the original if dup
	dup   bool
	err   error
}

const top = math.MaxInt32

var sequences = []struct {
	name  string
	sends []send
}{
	{"in order", []send{{id: 1, seq: 0, n: 3, want: 0}, {id: 1, seq: 3, n: 2, want: 3}, {id: 1, seq: 5, n: 1, want: 5}}},
	{"two producers do not meet", []send{{id: 1, seq: 0, n: 2, want: 0}, {id: 2, seq: 0, n: 2, want: 2}, {id: 1, seq: 2, n: 1, want: 4}}},
	{"no producer, no check", []send{{id: -1, seq: -1, n: 2, want: 0}, {id: -1, seq: -1, n: 2, want: 2}}},
	{"the last batch again", []send{{id: 1, seq: 0, n: 3, want: 0}, {id: 1, seq: 0, n: 3, want: 0, dup: true}, {id: 1, seq: 3, n: 1, want: 3}}},
	{"each of the last five again, not the sixth", []send{
		{id: 1, seq: 0, n: 1, want: 0},
		{id: 1, seq: 1, n: 1, want: 1},
		{id: 1, seq: 2, n: 1, want: 2},
		{id: 1, seq: 3, n: 1, want: 3},
		{id: 1, seq: 4, n: 1, want: 4},
		{id: 1, seq: 5, n: 1, want: 5},
		{id: 1, seq: 1, n: 1, want: 1, dup: true},
		{id: 1, seq: 3, n: 1, want: 3, dup: true},
		{id: 1, seq: 5, n: 1, want: 5, dup: true},
		{id: 1, seq: 0, n: 1, err: seglog.ErrDuplicateSequence},
	}},
	{"the same sequence with other records", []send{{id: 1, seq: 0, n: 3, want: 0}, {id: 1, seq: 0, n: 2, err: seglog.ErrOutOfOrderSequence}}},
	{"a gap", []send{{id: 1, seq: 0, n: 3, want: 0}, {id: 1, seq: 4, n: 1, err: seglog.ErrOutOfOrderSequence}, {id: 1, seq: 3, n: 1, want: 3}}},
	{"wraps between batches", []send{{id: 1, seq: top - 1, n: 2, want: 0}, {id: 1, seq: 0, n: 1, want: 2}, {id: 1, seq: top - 1, n: 2, want: 0, dup: true}}},
	{"wraps within a batch", []send{{id: 1, seq: top, n: 3, want: 0}, {id: 1, seq: 2, n: 1, want: 3}, {id: 1, seq: top, n: 3, want: 0, dup: true}}},
	{"an unknown producer begins anywhere", []send{{id: 1, seq: 77, n: 2, want: 0}, {id: 1, seq: 79, n: 1, want: 2}}},
	{"an older epoch", []send{{id: 1, epoch: 3, seq: 0, n: 1, want: 0}, {id: 1, epoch: 2, seq: 1, n: 1, err: seglog.ErrInvalidProducerEpoch}}},
	{"a newer epoch begins with 0", []send{
		{id: 1, epoch: 3, seq: 0, n: 4, want: 0},
		{id: 1, epoch: 4, seq: 4, n: 1, err: seglog.ErrOutOfOrderSequence},
		{id: 1, epoch: 4, seq: 0, n: 2, want: 4},
		{id: 1, epoch: 4, seq: 2, n: 1, want: 6},
		{id: 1, epoch: 3, seq: 4, n: 1, err: seglog.ErrInvalidProducerEpoch},
	}},
	{"a newer epoch forgets the batches of the old", []send{
		{id: 1, epoch: 0, seq: 0, n: 2, want: 0}, {id: 1, epoch: 1, seq: 0, n: 2, want: 2}, {id: 1, epoch: 1, seq: 0, n: 2, want: 2, dup: true},
	}},
}

func sendOne(t testing.TB, l *seglog.Log, i int, s send) {
	t.Helper()
	b := batch(fmt.Sprint(i), s.n, 1000, seglog.WithProducer(s.id, s.epoch, s.seq))
	a, err := l.Append(b, 0, epochStart)
	switch {
	case s.err != nil:
		if !errors.Is(err, s.err) {
			t.Errorf("send %d (%+v): %v, want %v", i, s, err, s.err)
		}
	case err != nil || a.BaseOffset != s.want || a.LastOffset != s.want+int64(s.n)-1 || a.Duplicate != s.dup:
		t.Errorf("send %d (%+v) = %+v, %v", i, s, a, err)
	}
}

func TestSequences(t *testing.T) {
	for _, tc := range sequences {
		t.Run(tc.name, func(t *testing.T) {
			l := open(t, seglog.Config{FS: newDisk(t)})
			for i, s := range tc.sends {
				sendOne(t, l, i, s)
			}
		})
	}
}

// TestSequencesAcrossRestarts says that a restart between any two batches changes
// nothing: after a clean stop, after a kill, and with the snapshots damaged or gone.
func TestSequencesAcrossRestarts(t *testing.T) {
	kinds := map[string]func(t *testing.T, l *seglog.Log, m *vfs.CrashMem){
		"clean": func(t *testing.T, l *seglog.Log, _ *vfs.CrashMem) { must(t, l.Close()) },
		"kill":  func(*testing.T, *seglog.Log, *vfs.CrashMem) {},
		"damaged snapshots": func(t *testing.T, l *seglog.Log, m *vfs.CrashMem) {
			must(t, l.Close())
			eachSnapshot(t, m, func(name string) { writeFile(t, m, name, append(readFile(t, m, name), 0)) })
		},
		"no snapshots": func(t *testing.T, l *seglog.Log, m *vfs.CrashMem) {
			must(t, l.Close())
			eachSnapshot(t, m, func(name string) { must(t, m.Remove(name)) })
		},
	}
	for kind, stop := range kinds {
		for _, tc := range sequences {
			t.Run("stop="+kind+"/"+tc.name, func(t *testing.T) {
				m := newDisk(t)
				cfg := seglog.Config{FS: m, SegmentBytes: 250}
				l := open(t, cfg)
				for i, s := range tc.sends {
					sendOne(t, l, i, s)
					stop(t, l, m)
					if kind == "kill" {
						m = crashKeepingAll(t, m)
						cfg.FS = m
					}
					l = open(t, cfg)
				}
			})
		}
	}
}

func eachSnapshot(t testing.TB, m *vfs.CrashMem, fn func(name string)) {
	t.Helper()
	entries, err := m.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if len(e.Name()) > 9 && e.Name()[len(e.Name())-9:] == ".snapshot" {
			fn(dir + "/" + e.Name())
		}
	}
}

func TestSilentProducersAreForgotten(t *testing.T) {
	cfg := seglog.Config{FS: newDisk(t), ProducerExpiry: time.Hour}
	l := open(t, cfg)
	at := func(d time.Duration, id int64, seq int32) error {
		_, err := l.Append(batch("x", 1, 0, seglog.WithProducer(id, 0, seq)), 0, epochStart.Add(d))
		return err
	}
	must(t, at(0, 1, 0))
	must(t, at(50*time.Minute, 2, 0))
	if err := at(59*time.Minute, 1, 5); !errors.Is(err, seglog.ErrOutOfOrderSequence) {
		t.Errorf("a gap before the expiry: %v, want ErrOutOfOrderSequence", err)
	}
	must(t, l.Close())
	l = open(t, cfg)
	must(t, at(70*time.Minute, 1, 5)) // forgotten: it may begin anywhere
	if err := at(71*time.Minute, 2, 5); !errors.Is(err, seglog.ErrOutOfOrderSequence) {
		t.Errorf("a gap of a producer that is not silent: %v, want ErrOutOfOrderSequence", err)
	}
}

func TestDeletedRecordsAreStillKnownAsDuplicates(t *testing.T) {
	cfg := seglog.Config{FS: newDisk(t), SegmentBytes: 250}
	l := open(t, cfg)
	for i := range 6 {
		sendOne(t, l, i, send{id: 1, seq: int32(i), n: 1, want: int64(i)})
	}
	if _, err := l.DeleteRecords(6); err != nil {
		t.Fatal(err)
	}
	must(t, l.Close())
	l = open(t, cfg)
	sendOne(t, l, 6, send{id: 1, seq: 4, n: 1, want: 4, dup: true})
}

// TestSnapshotsOfLostBatchesAreForgotten leaves snapshots of batches that a crash
// then takes: found later, when others have their offsets, they would tell lies.
func TestSnapshotsOfLostBatchesAreForgotten(t *testing.T) {
	failing := false
	m := newDisk(t)
	one := int64(len(batch("0", 1, 1000)))
	l := open(t, seglog.Config{SegmentBytes: 2 * one, FS: vfs.Faults(m, func(op vfs.Op) error {
		if failing && op.Kind == vfs.OpRename && op.Path == dir+"/checkpoint" {
			return syscall.EIO
		}
		return nil
	})})
	failing = true
	for i := range 3 { // the third rolls
		sendOne(t, l, i, send{id: 1, seq: int32(i), n: 1, want: int64(i)})
	}
	if err := l.Close(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Close = %v, want EIO", err)
	}
	if !exists(m, file(2, ".snapshot")) || !exists(m, file(3, ".snapshot")) {
		t.Fatal("there are no snapshots to be forgotten")
	}
	writeFile(t, m, file(0, ".log"), readFile(t, m, file(0, ".log"))[:one])

	l = open(t, seglog.Config{FS: m})
	sendOne(t, l, 1, send{id: 1, seq: 1, n: 1, want: 1})
	sendOne(t, l, 2, send{id: 1, seq: 2, n: 5, want: 2})
	for range 2 {
		m = crashKeepingAll(t, m)
		l = open(t, seglog.Config{FS: m})
	}
	sendOne(t, l, 2, send{id: 1, seq: 2, n: 5, want: 2, dup: true})
	sendOne(t, l, 3, send{id: 1, seq: 7, n: 1, want: 7})
}
