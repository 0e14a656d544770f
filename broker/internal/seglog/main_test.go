// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dir = "/data/t-0"

var epochStart = time.UnixMilli(1_700_000_000_000)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newDisk(t testing.TB) *vfs.CrashMem {
	t.Helper()
	m := vfs.NewCrashMem()
	must(t, m.MkdirAll("/data", 0o755))
	must(t, m.SyncDir("/"))
	return m
}

// open opens a log and closes it at the end of the test.
func open(t testing.TB, cfg seglog.Config) *seglog.Log {
	t.Helper()
	l, err := seglog.Open(withDir(cfg))
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func withDir(cfg seglog.Config) seglog.Config {
	if cfg.Dir == "" {
		cfg.Dir = dir
	}
	return cfg
}

// batch makes a batch of n records whose values name it, a millisecond apart from ts on.
func batch(name string, n int, ts int64, opts ...seglog.BatchOption) []byte {
	recs := make([]seglog.Record, n)
	for i := range recs {
		recs[i] = seglog.Record{
			Timestamp: ts + int64(i), Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "%s/%d", name, i),
		}
	}
	return seglog.BuildBatch(recs, opts...)
}

func appendBatch(t testing.TB, l *seglog.Log, b []byte) seglog.Appended {
	t.Helper()
	a, err := l.Append(b, 0, epochStart)
	must(t, err)
	return a
}

// values reads all records from an offset on, as "offset=value", and checks that
// the offsets are dense.
func values(t testing.TB, l *seglog.Log, from int64) []string {
	t.Helper()
	var list []string
	for next := from; next < l.LogEndOffset(); {
		r, err := l.Read(next, 1<<20, l.LogEndOffset(), true)
		must(t, err)
		if len(r.Data) == 0 {
			t.Fatalf("Read(%d) is empty below the end %d", next, r.EndOffset)
		}
		must(t, eachBatch(r.Data, func(b []byte) error {
			return seglog.EachRecord(b, func(rec seglog.Record) error {
				if rec.Offset < from {
					return nil // the batch may begin before
				}
				if rec.Offset != from+int64(len(list)) {
					return fmt.Errorf("offset %d follows %d", rec.Offset, from+int64(len(list))-1)
				}
				list = append(list, fmt.Sprintf("%d=%s", rec.Offset, rec.Value))
				return nil
			})
		}))
		next = r.NextOffset
	}
	return list
}

// eachBatch takes apart what Read returned.
func eachBatch(data []byte, fn func(b []byte) error) error {
	for len(data) > 0 {
		h, err := seglog.ParseHeader(data)
		if err != nil {
			return err
		}
		if h.Length > len(data) {
			return errors.New("a batch in part")
		}
		if err := fn(data[:h.Length]); err != nil {
			return err
		}
		data = data[h.Length:]
	}
	return nil
}

// A logLines is a logger that keeps its lines.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logLines) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), s)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func readFile(t testing.TB, fsys vfs.FS, name string) []byte {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, fsys vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	must(t, err)
	_, err = f.WriteAt(b, 0)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
	must(t, fsys.SyncDir(filepath.Dir(name)))
}

func exists(fsys vfs.FS, name string) bool {
	_, err := fsys.Stat(name)
	return err == nil
}

func file(offset int64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", offset, suffix))
}

func flush(t testing.TB, l *seglog.Log) {
	t.Helper()
	must(t, l.Flush(context.Background(), l.LogEndOffset()))
}
