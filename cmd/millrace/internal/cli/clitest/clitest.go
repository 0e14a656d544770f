// SPDX-License-Identifier: Apache-2.0

// Package clitest runs a broker in the test's process for tests of commands.
package clitest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// Broker starts a broker in memory that lives as long as the test, and returns
// flags that lead to it. Commands add their own defaults to them: a test uses the
// flags with one command after the other, not at once.
func Broker(t testing.TB) *cli.Flags {
	t.Helper()
	b, err := broker.Open(context.Background(), broker.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("open the broker: %v", err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the broker: %v", err)
		}
	})
	t.Setenv("MILLRACE_BROKERS", b.Addr())
	return &cli.Flags{Brokers: b.Addr(), Timeout: time.Minute, Dial: b.Dial}
}
