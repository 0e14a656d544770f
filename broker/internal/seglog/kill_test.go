// SPDX-License-Identifier: Apache-2.0

//go:build failpoint

package seglog_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/failpoint"
	"github.com/millrace/millrace/internal/vfs"
)

// TestKilledAtFailPoints lets a process that appends and compacts on the real disk
// die at each place in turn, and opens what it leaves. It is run with -tags failpoint.
func TestKilledAtFailPoints(t *testing.T) {
	if folder := os.Getenv("KILL_CHILD"); folder != "" {
		killChild(t, folder)
		return
	}
	for _, point := range []failpoint.Name{
		failpoint.AfterAppend, failpoint.BeforeFsync, failpoint.SegmentRoll, failpoint.IndexWrite, failpoint.SnapshotRename, failpoint.CompactionSwap,
	} {
		for _, nth := range []int{1, 2, 3, 4, 7, 12} {
			t.Run(fmt.Sprintf("%s:%d", point, nth), func(t *testing.T) {
				folder := t.TempDir() + "/log"
				cmd := exec.Command(os.Args[0], "-test.run=^TestKilledAtFailPoints$")
				cmd.Env = append(os.Environ(), "KILL_CHILD="+folder, fmt.Sprintf("FAILPOINT=%s:%d", point, nth))
				out, err := cmd.Output()
				if err == nil {
					t.Fatalf("the process was not killed:\n%s", out)
				}
				afterKill(t, folder)
			})
		}
	}
}

func killConfig(folder string) seglog.Config {
	return seglog.Config{FS: vfs.OS{}, Dir: folder, SegmentBytes: 1500, IndexIntervalBytes: 300}
}

// killChild works until it is killed. What it appends is told by the model's seed.
func killChild(t *testing.T, folder string) {
	l := open(t, killConfig(folder))
	m, rng := &model{}, rand.New(rand.NewPCG(1, 1))
	c := &seglog.Cleaner{}
	for i := range 200 {
		m.append(t, l, rng, 15)
		if i%40 == 39 {
			settled(t, l)
			compact(t, l, c, everything, epochStart)
		}
	}
}

func afterKill(t *testing.T, folder string) {
	t.Helper()
	l := open(t, killConfig(folder))
	all, rng := &model{}, rand.New(rand.NewPCG(1, 1))
	whole := open(t, seglog.Config{FS: newDisk(t)})
	for range 200 {
		all.append(t, whole, rng, 15)
	}
	m := &model{records: all.records}
	for from := int64(0); from < l.LogEndOffset(); from += 13 {
		must(t, m.check(l, from))
	}
	c := &seglog.Cleaner{}
	if _, err := c.Compact(context.Background(), l, everything, epochStart); err != nil {
		t.Fatal(err)
	}
	must(t, m.check(l, 0))
	must(t, l.Close())
	l = open(t, killConfig(folder))
	must(t, m.check(l, 0))
}
