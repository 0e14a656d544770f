// SPDX-License-Identifier: Apache-2.0

package records_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
	"github.com/millrace/millrace/cmd/millrace/internal/cli/clitest"
	"github.com/millrace/millrace/cmd/millrace/internal/records"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func execute(ctx context.Context, cmd *cobra.Command, in io.Reader, out io.Writer, args []string) error {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetIn(in)
	cmd.SetOut(out)
	cmd.SetErr(io.Discard)
	return cmd.ExecuteContext(ctx)
}

func produce(t *testing.T, f *cli.Flags, in string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := execute(t.Context(), records.NewProduce(f), strings.NewReader(in), &out, args)
	return out.String(), err
}

func mustProduce(t *testing.T, f *cli.Flags, in string, args ...string) {
	t.Helper()
	if out, err := produce(t, f, in, args...); err != nil {
		t.Fatalf("produce %v: %v\n%s", args, err, out)
	}
}

func consume(t *testing.T, f *cli.Flags, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := execute(ctx, records.NewConsume(f), nil, &out, args); err != nil {
		t.Fatalf("consume %v: %v\n%s", args, err, out.String())
	}
	return out.String()
}

func create(t *testing.T, f *cli.Flags, topic string, partitions int32) {
	t.Helper()
	err := f.Admin(t.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
		_, err := adm.CreateTopic(ctx, partitions, 1, nil, topic)
		return err
	})
	if err != nil {
		t.Fatalf("create %s: %v", topic, err)
	}
	clitest.AwaitTopics(t, f, topic)
}

func TestProduceThenConsume(t *testing.T) {
	clitest.Both(t, produceThenConsume)
}

func produceThenConsume(t *testing.T, f *cli.Flags) {
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		create(t, f, codec, 1)
		mustProduce(t, f, "a|1\nb|2|3\n|empty key\nn|NULL\n", codec, "-K", "|", "-Z", "NULL", "-z", codec, "-H", "x=y", "-H", "z=")
		got := consume(t, f, codec, "-e", "-Z", "(null)", "-f", `%o %k=%v {%h}\n`)
		want := "0 a=1 {x=y,z=}\n1 b=2|3 {x=y,z=}\n2 =empty key {x=y,z=}\n3 n=(null) {x=y,z=}\n"
		if got != want {
			t.Errorf("%s: %q, want %q", codec, got, want)
		}
	}
}

func TestProducePartitions(t *testing.T) { clitest.Both(t, producePartitions) }

func producePartitions(t *testing.T, f *cli.Flags) {
	create(t, f, "t", 3)
	for p := range 3 {
		mustProduce(t, f, fmt.Sprintf("for %d\n", p), "t", "-p", fmt.Sprint(p))
	}
	if got := consume(t, f, "t", "-e", "-p", "1", "-f", "%p %v"); got != "1 for 1" {
		t.Errorf("partition 1 has %q", got)
	}
	mustProduce(t, f, `{"key":"a","value":"said","partition":2,"timestamp":12}`+"\n", "t", "--input", "json")
	if got := consume(t, f, "t", "-e", "-p", "2", "-o", "-1", "-f", "%p %v %T"); got != "2 said 12" {
		t.Errorf("partition 2 ends with %q", got)
	}
	if _, err := produce(t, f, "x\n", "t", "-p", "3"); cli.ExitCode(err) != cli.ExitFailed {
		t.Errorf("to a partition that is not there: %v", err)
	}
}

func TestProduceFailures(t *testing.T) { clitest.Both(t, produceFailures) }

func produceFailures(t *testing.T, f *cli.Flags) {
	create(t, f, "t", 1)
	for _, c := range []struct {
		name, in string
		args     []string
		code     int
		says     string
	}{
		{"no topic", "a\n", []string{"nowhere"}, cli.ExitFailed, "UNKNOWN_TOPIC_OR_PARTITION"},
		{"no separator in a line", "a:1\nb\n", []string{"t", "-K", ":"}, cli.ExitFailed, "line 2"},
		{"a record too large", strings.Repeat("x", 2<<20) + "\n", []string{"t"}, cli.ExitFailed, "MESSAGE_TOO_LARGE"},
		{"no JSON", "{\n", []string{"t", "--input", "json"}, cli.ExitFailed, "line 1"},
		{"separator and JSON", "", []string{"t", "--input", "json", "-K", ":"}, cli.ExitUsage, "separator"},
		{"a codec that is none", "", []string{"t", "-z", "zip"}, cli.ExitUsage, "zip"},
		{"acks", "", []string{"t", "--acks", "2"}, cli.ExitUsage, "acks"},
		{"a header without a name", "", []string{"t", "-H", "x"}, cli.ExitUsage, "header"},
	} {
		if _, err := produce(t, f, c.in, c.args...); cli.ExitCode(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: exit code %d, %v; want %d, %q", c.name, cli.ExitCode(err), err, c.code, c.says)
		}
	}
	if got := consume(t, f, "t", "-e", "-f", "%v,"); got != "a:1," && got != "1," {
		t.Errorf("what came before a bad line: %q", got)
	}
}

// An interruption while standard input is silent ends the command, and what was
// read before arrives.
func TestProduceInterrupted(t *testing.T) { clitest.Both(t, produceInterrupted) }

func produceInterrupted(t *testing.T, f *cli.Flags) {
	create(t, f, "t", 1)
	ctx, interrupt := context.WithCancel(t.Context())
	in, typing := io.Pipe()
	defer in.Close()
	done := make(chan error, 1)
	go func() { done <- execute(ctx, records.NewProduce(f), in, io.Discard, []string{"t"}) }()
	_, _ = io.WriteString(typing, "one\n")
	_, _ = io.WriteString(typing, "two\n") // is taken when one was sent
	_, _ = io.WriteString(typing, "three\n")
	interrupt()
	if err := <-done; !errors.Is(err, context.Canceled) || cli.ExitCode(err) != cli.ExitInterrupted {
		t.Errorf("interrupted: %v", err)
	}
	if got := consume(t, f, "t", "-e", "-f", "%v,"); !strings.HasPrefix(got, "one,") {
		t.Errorf("arrived: %q", got)
	}
}

func TestConsumeOffsets(t *testing.T) { clitest.Both(t, consumeOffsets) }

func consumeOffsets(t *testing.T, f *cli.Flags) {
	create(t, f, "t", 1)
	for i := range 5 {
		mustProduce(t, f, fmt.Sprintf(`{"value":"%d","timestamp":%d}`+"\n", i, i*1000), "t", "--input", "json")
	}
	for _, c := range []struct{ args, want string }{
		{"-o beginning", "01234"},
		{"-o end", ""},
		{"-o 3", "34"},
		{"-o -2", "34"},
		{"-o @1500", "234"},
		{"-o @1970-01-01T00:00:03Z", "34"},
		{"-o @99999", ""},
		{"-n 2", "01"},
		{"-o 1 -n 2", "12"},
		{"--committed", "01234"},
	} {
		if got := consume(t, f, append([]string{"t", "-e", "-f", "%v"}, strings.Fields(c.args)...)...); got != c.want {
			t.Errorf("consume %s: %q, want %q", c.args, got, c.want)
		}
	}
}

func TestConsumeGroup(t *testing.T) { clitest.Both(t, consumeGroup) }

func consumeGroup(t *testing.T, f *cli.Flags) {
	create(t, f, "t", 2)
	mustProduce(t, f, "1\n2\n3\n", "t", "-p", "0")
	if got := consume(t, f, "t", "-g", "g", "-n", "2", "-f", "%v"); got != "12" {
		t.Errorf("first: %q", got)
	}
	if got := consume(t, f, "t", "-g", "g", "-e", "-f", "%v"); got != "3" {
		t.Errorf("the group goes on with %q, want 3: what was printed is committed and no more", got)
	}
	if got := consume(t, f, "t", "-g", "g", "-e", "-f", "%v"); got != "" {
		t.Errorf("at the end: %q", got)
	}
}

// Without --exit and --count it goes on until it is interrupted, which is no failure.
func TestConsumeFollows(t *testing.T) { clitest.Both(t, consumeFollows) }

func consumeFollows(t *testing.T, f *cli.Flags) {
	create(t, f, "t", 1)
	ctx, interrupt := context.WithTimeout(t.Context(), time.Minute)
	defer interrupt()
	out, printed := io.Pipe()
	done := make(chan error, 1)
	other := *f
	go func() { done <- execute(ctx, records.NewConsume(&other), nil, printed, []string{"t", "-f", `%v\n`}) }()
	mustProduce(t, f, "late\n", "t")
	var line string
	if _, err := fmt.Fscanln(out, &line); err != nil || line != "late" {
		t.Errorf("followed: %q, %v", line, err)
	}
	interrupt()
	if err := <-done; err != nil {
		t.Errorf("interrupted: %v", err)
	}
}

func TestConsumeFailures(t *testing.T) { clitest.Both(t, consumeFailures) }

func consumeFailures(t *testing.T, f *cli.Flags) {
	create(t, f, "t", 1)
	for _, c := range []struct {
		args string
		code int
	}{
		{"nowhere -e", cli.ExitFailed},
		{"t -e -p 5", cli.ExitFailed},
		{"t -o middle", cli.ExitUsage},
		{"t -f %q", cli.ExitUsage},
		{"t -n -1", cli.ExitUsage},
		{"t -g g -p 0", cli.ExitUsage},
		{"", cli.ExitUsage},
	} {
		if err := execute(t.Context(), records.NewConsume(f), nil, io.Discard, strings.Fields(c.args)); cli.ExitCode(err) != c.code {
			t.Errorf("consume %s: exit code %d, want %d (%v)", c.args, cli.ExitCode(err), c.code, err)
		}
	}
}
