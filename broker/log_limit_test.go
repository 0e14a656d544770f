// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/vfs"
)

// logLines collects what is logged.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// with are the lines that contain s.
func (l *logLines) with(s string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, s) {
			all = append(all, line)
		}
	}
	return all
}

// A full disk refuses each batch, and is logged now and then.
func TestAFullDiskDoesNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := false
		fsys := vfs.Faults(vfs.NewMem(), func(op vfs.Op) error {
			if full && op.Kind == vfs.OpWrite && strings.HasSuffix(op.Path, ".log") {
				return syscall.ENOSPC
			}
			return nil
		})
		lines := new(logLines)
		b := open(t, broker.Config{FS: fsys, Dir: "/d", Logger: slog.New(slog.NewTextHandler(lines, nil))})
		c := dial(t, b)
		mustCreate(c, "t", 1)
		full = true
		refused := func(n int) {
			for range n {
				if p := produce(c, -1, "t", 0, batch("x")); p.ErrorCode != kerr.KafkaStorageError.Code {
					t.Fatalf("code %d", p.ErrorCode)
				}
			}
		}
		refused(500)
		got := lines.with("msg=produce")
		if len(got) != 20 || !strings.Contains(got[19], "left out for 10s") {
			t.Errorf("500 failures are %d lines, the last %q", len(got), got[len(got)-1])
		}
		time.Sleep(11 * time.Second)
		refused(1)
		if got := lines.with("left_out_before=480"); len(got) != 1 {
			t.Errorf("nobody says that 480 lines were left out")
		}
		full = false
		mustProduce(c, "t", "there is room again")
	})
}
