// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
	"github.com/millrace/millrace/cmd/millrace/internal/cli/clitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTable(t *testing.T) {
	table := cli.NewTable("NAME", "#COUNT", "NOTE")
	table.Row("a", 1, "")
	table.Row("longer", 12345, "two\nlines\x1b[31m")
	table.Row("\u00e9t\u00e9", 7, "last")
	var b bytes.Buffer
	if err := table.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"NAME    COUNT  NOTE\n" +
		"a           1  -\n" +
		"longer  12345  two\\nlines\\x1b[31m\n" +
		"\u00e9t\u00e9         7  last\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[float64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 3 << 30: "3.0 GiB", 1 << 60: "1048576.0 TiB"} {
		if got := cli.Bytes(n); got != want {
			t.Errorf("Bytes(%v) = %q, want %q", n, got, want)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("no"), cli.ExitFailed},
		{fmt.Errorf("x: %w", cli.Usagef("y")), cli.ExitUsage},
		{fmt.Errorf("x: %w", cli.ErrUnreachable), cli.ExitUnreachable},
		{fmt.Errorf("%w: %w", cli.ErrUnreachable, context.Canceled), cli.ExitInterrupted},
	} {
		if got := cli.ExitCode(c.err); got != c.want {
			t.Errorf("ExitCode(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}

func TestFailures(t *testing.T) {
	var f cli.Failures
	f.Add("none", nil)
	if f.Err() != nil {
		t.Errorf("without failures: %v", f.Err())
	}
	f.Add("b", io.EOF)
	f.Add("a", cli.Explain(io.EOF, "why"))
	if got, want := fmt.Sprint(f.Err()), "a: EOF (why)\nb: EOF"; got != want || !errors.Is(f.Err(), io.EOF) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestParseTime(t *testing.T) {
	now := time.UnixMilli(10_000_000)
	for in, want := range map[string]time.Time{
		"0":                           time.UnixMilli(0),
		"1793491200000":               time.UnixMilli(1793491200000),
		"-90m":                        now.Add(-90 * time.Minute),
		"2026-11-01T00:00:00Z":        time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		"2026-11-01T01:00:00.5+01:00": time.Date(2026, 11, 1, 0, 0, 0, 5e8, time.UTC),
		"2026-11-01":                  time.Date(2026, 11, 1, 0, 0, 0, 0, time.Local),
		"2026-11-01 07:08:09":         time.Date(2026, 11, 1, 7, 8, 9, 0, time.Local),
	} {
		if got, err := cli.ParseTime(in, now); err != nil || !got.Equal(want) {
			t.Errorf("ParseTime(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "soon", "-1", "90m", "2026-13-01"} {
		if got, err := cli.ParseTime(bad, now); cli.ExitCode(err) != cli.ExitUsage {
			t.Errorf("ParseTime(%q) = %v, %v", bad, got, err)
		}
	}
}

// A pace is an open loop: what was late does not delay what comes after.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := cli.NewPace(10)
		for n := range int64(5) {
			if err := p.Wait(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			if got, want := time.Since(start), time.Duration(n)*100*time.Millisecond; n != 3 && got != want {
				t.Errorf("%d goes at %v, want %v", n, got, want)
			}
			if n == 2 {
				<-time.After(150 * time.Millisecond) // late for 3, not for 4
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Wait(ctx, 100); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %v", err)
		}
		if err := cli.NewPace(0).Wait(t.Context(), 1<<40); err != nil {
			t.Errorf("without a rate: %v", err)
		}
	})
}

func TestGroup(t *testing.T) {
	sub := &cobra.Command{Use: "sub", RunE: func(*cobra.Command, []string) error { return nil }}
	for args, code := range map[string]int{"": 0, "sub": 0, "other": cli.ExitUsage, "sub --nope": cli.ExitFailed} {
		cmd := cli.Group("top", "", sub)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		cmd.SetArgs(strings.Fields(args))
		if err := cmd.Execute(); cli.ExitCode(err) != code {
			t.Errorf("top %s: %v, want exit code %d", args, err, code)
		}
	}
}

func TestCompletion(t *testing.T) {
	f := clitest.Broker(t)
	err := f.Admin(t.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
		if _, err := adm.CreateTopics(ctx, 1, 1, nil, "orders", "refunds"); err != nil {
			return err
		}
		var o kadm.Offsets
		o.Add(kadm.Offset{Topic: "orders", At: 0, LeaderEpoch: -1})
		return adm.CommitAllOffsets(ctx, "billing", o)
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	for _, c := range []struct {
		name     string
		complete cli.Completion
		args     []string
		want     []string
	}{
		{"topics", f.Topics(), nil, []string{"orders", "refunds"}},
		{"topics that are not there yet", f.Topics(), []string{"orders"}, []string{"refunds"}},
		{"groups", f.Groups(), nil, []string{"billing"}},
		{"only the first argument", cli.First(f.Groups()), []string{"x"}, nil},
		{"no cluster", (&cli.Flags{Brokers: "127.0.0.1:1", Timeout: time.Second}).Topics(), nil, nil},
	} {
		got, directive := c.complete(cmd, c.args, "")
		if diff := cmp.Diff(c.want, got); diff != "" || directive != cobra.ShellCompDirectiveNoFileComp {
			t.Errorf("%s: %s, directive %d", c.name, diff, directive)
		}
	}
}
