// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// TestRecoveryOfALongLog measures: it kills a process that has written a log of
// RECOVERY_GB, in segments of 1 GiB on the real disk, and tells how long the next
// Open takes and what it reads. What it reads is bounded by
// TestRecoveryReadsOnlyTheEnd.
func TestRecoveryOfALongLog(t *testing.T) {
	gigabytes, err := strconv.ParseInt(os.Getenv("RECOVERY_GB"), 10, 64)
	if err != nil {
		t.Skip("RECOVERY_GB is not set")
	}
	if folder := os.Getenv("RECOVERY_DIR"); folder != "" {
		writeLongLog(t, folder, gigabytes<<30)
		return
	}
	folder := t.TempDir() + "/log"
	cmd := exec.Command(os.Args[0], "-test.run=^TestRecoveryOfALongLog$")
	cmd.Env = append(os.Environ(), "RECOVERY_DIR="+folder)
	out, err := cmd.StdoutPipe()
	must(t, err)
	_, err = cmd.StdinPipe() // its end is that of the process
	must(t, err)
	begin := time.Now()
	must(t, cmd.Start())
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatalf("the process has not written its log: %v", err)
	}
	t.Logf("written in %v", time.Since(begin))
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	counted := &counting{FS: vfs.OS{}}
	begin = time.Now()
	l := open(t, seglog.Config{FS: counted, Dir: folder})
	t.Logf("a log of %d bytes with %d batches opened in %v, %d bytes were read", l.Size(), l.LogEndOffset(), time.Since(begin), counted.read.Load())
	must(t, l.Close())
	counted.read.Store(0)
	begin = time.Now()
	l = open(t, seglog.Config{FS: counted, Dir: folder})
	t.Logf("after a clean stop: opened in %v, %d bytes were read", time.Since(begin), counted.read.Load())
	must(t, l.Close())
}

// writeLongLog writes batches of half a megabyte, each of one producer in a thousand.
func writeLongLog(t *testing.T, folder string, size int64) {
	l := open(t, seglog.Config{FS: vfs.OS{}, Dir: folder})
	value := bytes.Repeat([]byte("0123456789abcdef"), 32<<10)
	for n := int64(0); l.Size() < size; n++ {
		rec := seglog.Record{Timestamp: epochStart.UnixMilli() + n, Key: fmt.Append(nil, n), Value: value}
		b := seglog.BuildBatch([]seglog.Record{rec}, seglog.WithProducer(n%1000, 0, int32(n/1000)))
		if _, err := l.Append(b, 0, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = os.Stdout.WriteString("w") // written
	_, _ = io.Copy(io.Discard, os.Stdin)
}
