// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// fill appends until the disk has no room, and says how often that went well.
func (tr *trace) fill() (n int) {
	value := strings.Repeat("y", 700)
	b := seglog.BuildBatch([]seglog.Record{{Value: []byte(value)}})
	for ; ; n++ {
		tr.mu.Lock()
		tr.values = append(tr.values, value)
		tr.mu.Unlock()
		if _, err := tr.log.Append(b, 1, time.Now()); err != nil {
			if !vfs.IsFull(err) {
				tr.t.Fatal(err)
			}
			tr.mu.Lock()
			tr.values = tr.values[:len(tr.values)-1]
			tr.id++ // who sends on does so behind a gap
			tr.mu.Unlock()
			return n
		}
	}
}

// TestRetentionOnAFullDisk has no room for anything: what is deleted frees some all
// the same, and appends go on. After each effect on the disk it crashes.
func TestRetentionOnAFullDisk(t *testing.T) {
	for name, free := range map[string]func(tr *trace) int{
		"records are deleted": func(tr *trace) int { tr.deleteRecords(14); return 3 },
		"twice, and again when there is room": func(tr *trace) int {
			tr.deleteRecords(7)
			tr.disk.Limit(1)
			tr.deleteRecords(14)
			tr.disk.Limit(0)
			tr.deleteRecords(16)
			return 3
		},
		"retention": func(tr *trace) int {
			tr.maxStart = tr.log.LogEndOffset()
			removed, err := tr.log.Retain(seglog.Retention{Age: -1, Bytes: 5000}, math.MaxInt64, time.Now())
			must(tr.t, err)
			tr.minStart = tr.log.LogStartOffset()
			return removed
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newTrace(t, 3, 4, policies["batch"])
				for range 20 {
					tr.append(1, 1200, 1)
				}
				tr.flush()
				synctest.Wait() // all but the last segment are settled
				tr.disk.Limit(1)
				if tr.fill() > 4 {
					t.Fatal("the disk is not full")
				}
				before := len(files(t, tr.disk, ".log"))
				if removed := free(tr); removed < 3 {
					t.Errorf("%d segments removed", removed)
				}
				if after := len(files(t, tr.disk, ".log")) + len(files(t, tr.disk, ".deleted")); after > before-2 {
					t.Errorf("%d log files before, %d after", before, after)
				}
				tr.disk.Limit(1 << 20)
				tr.append(3, 700, 1)
				tr.flush()
				tr.limit = 1
				start := tr.log.LogStartOffset()
				tr.goOnAfterCrash(rand.New(rand.NewPCG(1, 1))) // a start on a full disk
				if got := tr.log.LogStartOffset(); got != start {
					t.Errorf("the log begins at %d after a crash, at %d before", got, start)
				}
				tr.disk.Limit(0)
				tr.append(3, 700, 2)
				tr.deleteRecords(start + 1)
				tr.reopen()
				if got := tr.log.LogStartOffset(); got != start+1 {
					t.Errorf("the log begins at %d after a clean stop, want %d", got, start+1)
				}
				must(t, tr.log.Close())
				if left := files(t, tr.disk, ".checkpoint"); len(left) > 0 {
					t.Errorf("checkpoints with offsets as names are left: %q", left)
				}
				t.Logf("%d effects", tr.effects)
			})
		})
	}
}

// A producer whose snapshot found no room, or counts for nothing since the checkpoint
// found none, is still known after its segments were to go.
func TestProducersAreKeptOnAFullDisk(t *testing.T) {
	for _, file := range []string{"", "checkpoint"} {
		t.Run("no room for "+file, func(t *testing.T) { keptProducers(t, file) })
	}
}

func keptProducers(t *testing.T, file string) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t)
		full := false
		cfg := seglog.Config{SegmentBytes: 1000, FS: vfs.Faults(disk, func(op vfs.Op) error {
			if full && op.Kind == vfs.OpWrite && strings.Contains(op.Path, file) && !strings.HasSuffix(op.Path, ".log") {
				return syscall.ENOSPC
			}
			return nil
		})}
		l := open(t, cfg)
		full = true
		var first []byte
		for i := range 5 {
			b := seglog.BuildBatch([]seglog.Record{{Value: make([]byte, 900)}}, seglog.WithProducer(7, 0, int32(i)))
			if i == 4 {
				first = append(first, b...)
			}
			appendBatch(t, l, b)
		}
		flush(t, l)
		synctest.Wait()
		_, err := l.DeleteRecords(5)
		must(t, err)
		if start := l.LogStartOffset(); start != 5 {
			t.Errorf("the log begins at %d, want 5", start)
		}
		if got := fmt.Sprintf("%q", files(t, disk, ".log")); strings.Count(got, `" "`) != 4 {
			t.Errorf("segments that no snapshot covers were removed: %s", got)
		}
		crashed := cfg
		crashed.FS = disk.Crash(rand.New(rand.NewPCG(1, 2)))
		again := open(t, crashed)
		if a, err := again.Append(first, 0, epochStart); err != nil || !a.Duplicate {
			t.Errorf("the last batch sent again: %+v, %v, want a duplicate", a, err)
		}
		full = false
		_, err = l.Retain(seglog.Retention{Age: 0, Bytes: 0}, math.MaxInt64, epochStart.Add(time.Hour))
		must(t, err)
		if got := files(t, disk, ".log"); len(got) != 1 {
			t.Errorf("with room again, %q are left", got)
		}
		must(t, l.Close())
	})
}
