// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/vfs"
)

// get returns the code and the text of a page.
func get(t *testing.T, url string) (code int, text string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestMetricsOverHTTP(t *testing.T) {
	var failing atomic.Bool
	fs := vfs.Faults(vfs.NewMem(), func(op vfs.Op) error {
		if failing.Load() && op.Kind == vfs.OpSync {
			return errors.New("disk on fire")
		}
		return nil
	})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	logs, out := new(lockedBuffer), new(lockedBuffer)
	listening := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		cfg := broker.Config{
			Dir: "/data", FS: fs, Listen: "127.0.0.1:0", Logger: slog.New(slog.NewTextHandler(logs, nil)), Flush: broker.FlushPolicy{Mode: broker.FlushBatch},
		}
		ended <- runBroker(ctx, cfg, &brokerFlags{metrics: ":0"}, writerFunc(func(b []byte) (int, error) {
			defer close(listening)
			return out.Write(b)
		}))
	}()
	select {
	case <-listening:
	case err := <-ended:
		t.Fatalf("%v\n%s", err, logs)
	}
	url := regexp.MustCompile(`url=(http://127\.0\.0\.1:\d+)/metrics`).FindStringSubmatch(logs.String())
	if url == nil {
		t.Fatalf("no address of the loopback interface in the log:\n%s", logs)
	}
	run := asShell(t, strings.TrimSpace(strings.TrimPrefix(out.String(), "listening on ")))
	if got := run("millrace topics create t -p 1 > /dev/null && echo one | millrace produce t"); got != "1 records to t\n" {
		t.Fatal(got)
	}
	_, text := get(t, url[1]+"/metrics")
	for _, want := range []string{`millrace_broker_topic_in_records_total{topic="t"} 1`, "go_goroutines ", "process_start_time_seconds "} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics has no %q", want)
		}
	}
	if code, text := get(t, url[1]+"/healthz"); code != http.StatusOK || text != "ok\n" {
		t.Errorf("/healthz: %d, %q", code, text)
	}
	failing.Store(true)
	if got := run("echo two | millrace produce t --timeout 2s"); !strings.Contains(got, "error: exit status 1") {
		t.Errorf("produced on a disk that fails: %s", got)
	}
	if code, text := get(t, url[1]+"/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(text, "t-0") {
		t.Errorf("/healthz with a log that has failed: %d, %q", code, text)
	}
	for _, path := range []string{"/", "/debug/pprof/heap"} { // profiles are there if asked for only
		if code, _ := get(t, url[1]+path); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
	stop()
	if err := <-ended; err == nil { // the log that has failed can't be flushed
		t.Error("closed without an error")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestMetricsAddressInUse(t *testing.T) {
	m, err := listenMetrics("127.0.0.1:0", quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var out bytes.Buffer
	if err := runBroker(t.Context(), broker.Config{Logger: quiet}, &brokerFlags{metrics: m.addr()}, &out); err == nil || out.Len() > 0 {
		t.Errorf("serves on an address in use: %v, %q", err, out.String())
	}
}
