// SPDX-License-Identifier: Apache-2.0

package perf_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
	"github.com/millrace/millrace/cmd/millrace/internal/cli/clitest"
	"github.com/millrace/millrace/cmd/millrace/internal/perf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run gives "millrace perf" arguments and returns what it prints.
func run(t *testing.T, f *cli.Flags, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := perf.New(f)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = cmd.ExecuteContext(ctx)
	return out.String(), errs.String(), err
}

func create(t *testing.T, f *cli.Flags, topic string) {
	t.Helper()
	err := f.Admin(t.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
		_, err := adm.CreateTopic(ctx, 2, 1, nil, topic)
		return err
	})
	if err != nil {
		t.Fatalf("create %s: %v", topic, err)
	}
}

// A latency has quantiles in order.
type latency struct{ P50, P90, P99, P999, Max float64 }

func (l *latency) check(t *testing.T, what string) {
	t.Helper()
	if l == nil || l.P50 <= 0 || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max {
		t.Errorf("%s: %+v", what, l)
	}
}

type result struct {
	Records, Bytes, Errors, Received int64
	Seconds                          float64
	Latency                          *latency `json:"latency_ms"`
	EndToEnd                         *latency `json:"end_to_end_ms"`
}

func decode(t *testing.T, text string) (r result) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return r
}

func TestProduceAndConsume(t *testing.T) {
	f := clitest.Broker(t)
	create(t, f, "t")
	out, _, err := run(t, f, "produce", "t", "--records", "5000", "--size", "50", "--compression", "zstd", "--json", "-q")
	if err != nil {
		t.Fatal(err)
	}
	r := decode(t, out)
	if r.Records != 5000 || r.Bytes != 250_000 || r.Errors != 0 {
		t.Errorf("produce: %+v", r)
	}
	r.Latency.check(t, "latency")
	out, _, err = run(t, f, "consume", "t", "--json", "-q")
	if err != nil {
		t.Fatal(err)
	}
	if r := decode(t, out); r.Records != 5000 || r.Bytes != 250_000 {
		t.Errorf("consume: %+v", r)
	}
}

// The load is an open loop: it takes as long as its rate says, and a line tells
// each second how it goes.
func TestRate(t *testing.T) {
	f := clitest.Broker(t)
	create(t, f, "t")
	out, lines, err := run(t, f, "produce", "t", "--records", "130", "--rate", "100", "--json")
	if err != nil {
		t.Fatal(err)
	}
	if r := decode(t, out); r.Seconds < 1.29 || r.Seconds > 10 {
		t.Errorf("130 records at 100/s took %v s", r.Seconds)
	}
	if n := strings.Count(lines, "\n"); n < 1 || !strings.Contains(lines, "p99") {
		t.Errorf("%d lines tell of it:\n%s", n, lines)
	}
}

func TestLatency(t *testing.T) {
	f := clitest.Broker(t)
	create(t, f, "t")
	if _, _, err := run(t, f, "produce", "t", "--records", "100", "-q"); err != nil { // of another run: not to be counted
		t.Fatal(err)
	}
	out, _, err := run(t, f, "latency", "t", "--records", "200", "--rate", "400", "--json", "-q")
	if err != nil {
		t.Fatal(err)
	}
	r := decode(t, out)
	if r.Records != 200 || r.Received != 200 {
		t.Errorf("%+v, want 200 records sent and received", r)
	}
	r.Latency.check(t, "produce")
	r.EndToEnd.check(t, "end to end")
}

func TestFailures(t *testing.T) {
	f := clitest.Broker(t)
	for _, c := range []struct {
		args string
		code int
	}{
		{"produce nowhere --records 10 -q", cli.ExitFailed},
		{"consume nowhere -q", cli.ExitFailed},
		{"latency nowhere --records 10 -q", cli.ExitFailed},
		{"produce t --size 0", cli.ExitUsage},
		{"produce t --acks 2", cli.ExitUsage},
		{"latency t --rate 0", cli.ExitUsage},
		{"latency t --size 8", cli.ExitUsage},
		{"consume t --records -1", cli.ExitUsage},
	} {
		if _, _, err := run(t, f, strings.Fields(c.args)...); cli.ExitCode(err) != c.code {
			t.Errorf("perf %s: exit code %d, want %d (%v)", c.args, cli.ExitCode(err), c.code, err)
		}
	}
}
