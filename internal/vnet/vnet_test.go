// SPDX-License-Identifier: Apache-2.0

package vnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/vnet"
)

func dial(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l := vnet.Listen("here:1")
	got := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		got <- c
	}()
	client, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return client, <-got
}

func TestBytesArriveInOrderAndBeyondTheBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := dial(t)
		want := bytes.Repeat([]byte("0123456789abcdef"), 100_000) // 1.6 MB: more than a direction holds
		var wg sync.WaitGroup
		wg.Go(func() {
			if n, err := a.Write(want); n != len(want) || err != nil {
				t.Errorf("Write = %d, %v", n, err)
			}
			a.Close()
		})
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read %d bytes, %v, want %d", len(got), err, len(want))
		}
		wg.Wait()
	})
}

func TestAWriterWaitsForASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := dial(t)
		defer b.Close()
		var done bool
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = a.Write(make([]byte, 1<<20))
			done = true
		})
		synctest.Wait()
		if done {
			t.Fatal("a megabyte went into a direction that holds 256 KiB")
		}
		a.Close()
		wg.Wait()
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := dial(t)
		defer b.Close()
		defer a.Close()
		start := time.Now()
		_ = a.SetReadDeadline(start.Add(time.Second))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Read = %v, want a deadline", err)
		}
		if since := time.Since(start); since != time.Second {
			t.Errorf("waited %v, want 1s", since)
		}
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a second Read = %v, want a deadline again", err)
		}
		_ = a.SetReadDeadline(time.Time{})
		_, _ = b.Write([]byte("x"))
		if n, err := a.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("Read without a deadline = %d, %v", n, err)
		}
	})
}

func TestADeadlineThatMovesFreesAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := dial(t)
		defer b.Close()
		defer a.Close()
		_ = a.SetReadDeadline(time.Now().Add(time.Hour))
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read = %v", err)
			}
		})
		synctest.Wait()
		_ = a.SetReadDeadline(time.Now())
		wg.Wait()
		if since := time.Since(start); since != 0 {
			t.Errorf("the reader waited %v after its deadline had moved to now", since)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := dial(t)
		_, _ = a.Write([]byte("last words"))
		a.Close()
		if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
			t.Errorf("the other side read %q, %v", got, err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Write to a closed end = %v", err)
		}
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close = %v", err)
		}
	})
}

func TestDialEndsWithItsContextAndItsListener(t *testing.T) {
	l := vnet.Listen("here:1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Dial(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial = %v, want a cancelled context", err)
	}
	l.Close()
	if _, err := l.Dial(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial = %v, want net.ErrClosed", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v, want net.ErrClosed", err)
	}
}
