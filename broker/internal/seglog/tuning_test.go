// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/broker/internal/seglog"
)

func TestTune(t *testing.T) {
	disk := newDisk(t)
	l := open(t, seglog.Config{FS: disk, IndexIntervalBytes: 1})
	segments := func() int {
		entries, err := disk.ReadDir(dir)
		must(t, err)
		n := 0
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".log") {
				n++
			}
		}
		return n
	}
	add := func(now time.Time) seglog.Appended {
		a, err := l.Append(batch("b", 10, 1), 0, now)
		must(t, err)
		return a
	}
	now := epochStart
	for range 10 {
		add(now)
	}
	if n := segments(); n != 1 {
		t.Fatalf("%d segments", n)
	}
	for i, tune := range []seglog.Tuning{{IndexIntervalBytes: 1, MaxIndexBytes: 4}, {SegmentBytes: 100}, {SegmentAge: time.Second}} {
		must(t, l.Tune(tune))
		before := segments()
		for range 4 {
			now = now.Add(time.Minute)
			add(now)
		}
		if n := segments(); n < before+2 {
			t.Errorf("tuning %d: %d segments became %d", i, before, n)
		}
		must(t, l.Tune(seglog.Tuning{}))
		before = segments()
		add(now)
		add(now)
		if n := segments(); n > before+1 {
			t.Errorf("tuning %d undone: %d segments became %d", i, before, n)
		}
	}
	if err := l.Tune(seglog.Tuning{SegmentBytes: -1}); err == nil {
		t.Error("a negative length is accepted")
	}
	must(t, l.Tune(seglog.Tuning{LogAppendTime: true}))
	if a := add(now); a.LogAppendTime != now.UnixMilli() || a.MaxTimestamp != now.UnixMilli() {
		t.Errorf("stamped: %+v, want %d", a, now.UnixMilli())
	}
	if end := l.LogEndOffset(); int64(len(values(t, l, 0))) != end {
		t.Errorf("%d records, log end offset %d", len(values(t, l, 0)), end)
	}
}
