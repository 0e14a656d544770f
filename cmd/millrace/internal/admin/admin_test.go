// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/cmd/millrace/internal/admin"
	"github.com/millrace/millrace/cmd/millrace/internal/cli"
	"github.com/millrace/millrace/cmd/millrace/internal/cli/clitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run gives one of the commands arguments, "topics list --json", and returns what
// it prints.
func run(t *testing.T, f *cli.Flags, line string) (string, error) {
	t.Helper()
	root := &cobra.Command{Use: "millrace", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(admin.NewTopics(f), admin.NewGroups(f), admin.NewOffsets(f), admin.NewConfigs(f), admin.NewLogDirs(f), admin.NewApp(f))
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(strings.Fields(line))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := root.ExecuteContext(ctx)
	return out.String(), err
}

func must(t *testing.T, f *cli.Flags, line string) string {
	t.Helper()
	out, err := run(t, f, line)
	if err != nil {
		t.Fatalf("millrace %s: %v\n%s", line, err, out)
	}
	if rest, ok := strings.CutPrefix(line, "topics create "); ok {
		names, _, _ := strings.Cut(rest, " --")
		clitest.AwaitTopics(t, f, strings.Fields(names)...)
	}
	return out
}

// decode reads what a command prints with --json.
func decode[T any](t *testing.T, f *cli.Flags, line string) (v T) {
	t.Helper()
	out := must(t, f, line+" --json")
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("millrace %s --json: %v in %s", line, err, out)
	}
	return v
}

// produce writes values at times 0 s, 1 s, ... to partition 0.
func produce(t *testing.T, f *cli.Flags, topic string, values ...string) {
	t.Helper()
	cl, err := f.Client(t.Context(), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i, v := range values {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte(v), Timestamp: time.Unix(int64(i), 0)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

type offset struct {
	Topic     string
	Partition int32
	Offset    int64
}

func TestOffsetsReset(t *testing.T) { clitest.Both(t, offsetsReset) }

func offsetsReset(t *testing.T, f *cli.Flags) {
	must(t, f, "topics create t --partitions 2")
	must(t, f, "topics create u --partitions 1")
	produce(t, f, "t", "a", "b", "c", "d", "e")
	file := filepath.Join(t.TempDir(), "offsets.csv")
	if err := os.WriteFile(file, []byte("t,0,4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		want int64 // of partition 0
	}{
		{"--topic t --to-latest", 5},
		{"--topic t --to-earliest", 0},
		{"--topic t:0 --to-offset 3", 3},
		{"--topic t:0 --shift -2", 1},
		{"--all-topics --shift 1", 2},
		{"--topic t:0 --shift 100", 5},
		{"--topic t:0 --to-offset 100", 5},
		{"--topic t:0 --to-datetime 1970-01-01T00:00:02Z", 2},
		{"--topic t:0 --to-datetime 1970-01-01T00:00:01.5Z", 2},
		{"--topic t --by-duration 1h", 5}, // nothing is that young
		{"--from-file " + file, 4},
	} {
		before := decode[[]offset](t, f, "offsets export g")
		must(t, f, "offsets reset g "+c.args)
		if diff := cmp.Diff(before, decode[[]offset](t, f, "offsets export g")); diff != "" {
			t.Errorf("reset %s without --execute: %s", c.args, diff)
		}
		must(t, f, "offsets reset g --execute "+c.args)
		all := decode[[]offset](t, f, "offsets export g")
		if len(all) != 2 || all[0] != (offset{"t", 0, c.want}) {
			t.Errorf("reset %s: %v, want t:0 at %d", c.args, all, c.want)
		}
	}
	for args, code := range map[string]int{
		"--topic t":                           cli.ExitUsage, // where to?
		"--topic t --to-latest --to-earliest": cli.ExitUsage,
		"--to-latest":                         cli.ExitUsage, // what?
		"--topic t --all-topics --to-latest":  cli.ExitUsage,
		"--topic t --from-file " + file:       cli.ExitUsage,
		"--topic t --to-datetime then":        cli.ExitUsage,
		"--from-file nowhere.csv":             cli.ExitUsage,
		"--topic nowhere --to-latest":         cli.ExitFailed,
		"--topic t:9 --to-latest":             cli.ExitFailed,
		"--topic u --shift 1":                 cli.ExitFailed, // nothing is committed
	} {
		if out, err := run(t, f, "offsets reset g --execute "+args); cli.ExitCode(err) != code {
			t.Errorf("reset %s: %v, want exit code %d\n%s", args, err, code, out)
		}
	}
	must(t, f, "offsets delete g --topic t:1 --execute")
	if all := decode[[]offset](t, f, "offsets export g"); len(all) != 1 {
		t.Errorf("after delete: %v", all)
	}
	must(t, f, "groups delete g")
	if _, err := run(t, f, "groups describe g"); cli.ExitCode(err) != cli.ExitFailed {
		t.Errorf("a deleted group is described: %v", err)
	}
}

// join is a member of a group that has read the first record of partition 0, and has
// committed that.
func join(t *testing.T, f *cli.Flags, group string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := f.Client(t.Context(), append(opts, kgo.ConsumerGroup(group), kgo.ConsumeTopics("t"), kgo.DisableAutoCommit())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	fetches := cl.PollRecords(ctx, 1)
	if err := fetches.Err(); err != nil {
		t.Fatalf("join: %v", err)
	}
	if r := fetches.Records(); len(r) != 1 || r[0].Partition != 0 || r[0].Offset != 0 {
		t.Fatalf("the member began with %+v", r)
	}
	if err := cl.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatalf("commit: %v", err)
	}
	return cl
}

type group struct {
	Group, Type, State string
	Lag                int64
	Members            []struct {
		Member, Instance, Client string
		Assigned                 []struct {
			Topic     string
			Partition int32
		}
	}
	Partitions []struct {
		Topic               string
		Partition           int32
		Committed, End, Lag int64
		Member, Client      string
	}
}

func TestGroupWithMembers(t *testing.T) {
	for _, kind := range []string{"classic", "consumer"} {
		t.Run(kind, func(t *testing.T) {
			clitest.Both(t, func(t *testing.T, f *cli.Flags) { groupWithMembers(t, f, kind) })
		})
	}
}

// groupWithMembers takes the kind for the name of the group, too. Its records are of
// 1970, and must all be there when the member begins: the topic keeps them.
func groupWithMembers(t *testing.T, f *cli.Flags, kind string) {
	must(t, f, "topics create t --partitions 2 --config retention.ms=-1")
	produce(t, f, "t", "a", "b", "c")
	ctx := t.Context()
	if kind == "consumer" {
		ctx = context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true) //nolint:staticcheck // kgo's own key
	}
	cl := join(t, f, kind, kgo.WithContext(ctx), kgo.InstanceID("one"))
	g := decode[[]group](t, f, "groups describe "+kind)[0]
	if g.Type != kind || g.State != "Stable" || len(g.Members) != 1 || len(g.Partitions) != 2 || g.Lag != 2 {
		t.Fatalf("described: %+v", g)
	}
	if p := g.Partitions; p[0].Committed != 1 || p[0].Lag != 2 || p[0].Client != "millrace" || p[0].Member == "" || p[1].Committed != -1 {
		t.Errorf("partitions: %+v", p)
	}
	members := decode[group](t, f, "groups members "+kind).Members
	if len(members) != 1 || members[0].Instance != "one" || len(members[0].Assigned) != 2 {
		t.Errorf("members: %+v", members)
	}
	if out := must(t, f, "groups members "+kind); !strings.Contains(out, "t:0,1") {
		t.Errorf("members:\n%s", out)
	}
	if out := must(t, f, "groups list --state stable"); !strings.Contains(out, kind) {
		t.Errorf("list:\n%s", out)
	}
	if _, err := run(t, f, "offsets reset "+kind+" --topic t --to-earliest"); err == nil || !strings.Contains(err.Error(), "1 members") {
		t.Errorf("reset of a group with members: %v", err)
	}
	if _, err := run(t, f, "groups delete "+kind); err == nil || !strings.Contains(err.Error(), "NON_EMPTY_GROUP") {
		t.Errorf("delete of a group with members: %v", err)
	}
	cl.Close()
	removeStatic(t, f, kind, "one")
}

// removeStatic takes a static member out of its group, in which it stays when it is
// closed: the group, with its offsets, can be deleted then.
func removeStatic(t *testing.T, f *cli.Flags, group, instance string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := f.Admin(ctx, func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
		left, err := adm.LeaveGroup(ctx, kadm.LeaveGroup(group).InstanceIDs(instance))
		return errors.Join(err, left[instance].Err)
	})
	if err != nil {
		t.Errorf("remove a member: %v", err)
	}
}

func TestTopics(t *testing.T) { clitest.Both(t, topics) }

func topics(t *testing.T, f *cli.Flags) {
	must(t, f, "topics create a b --partitions 2 --config retention.ms=5000")
	for line, code := range map[string]int{
		"topics create a":                                            cli.ExitFailed,
		"topics create a --if-not-exists":                            0,
		"topics create c --config x":                                 cli.ExitUsage,
		"topics create c --config no.such.key=1":                     cli.ExitFailed,
		"topics create c --validate-only":                            0,
		"topics describe c":                                          cli.ExitFailed, // it was not created
		"topics describe a c":                                        cli.ExitFailed,
		"topics add-partitions a":                                    cli.ExitUsage,
		"topics add-partitions a --by 1 --to 5":                      cli.ExitUsage,
		"topics add-partitions a --to 1":                             cli.ExitFailed,
		"topics add-partitions a --by 1":                             0,
		"topics add-partitions b --to 9 --validate-only":             0,
		"topics delete c":                                            cli.ExitFailed,
		"topics delete c --if-exists":                                0,
		"topics list extra":                                          cli.ExitUsage,
		"topics lst":                                                 cli.ExitUsage,
		"configs describe thing x":                                   cli.ExitUsage,
		"configs describe topic c":                                   cli.ExitFailed,
		"configs alter topic a":                                      cli.ExitUsage,
		"configs alter topic a --set x":                              cli.ExitUsage,
		"configs alter topic a --set retention.ms=soon":              cli.ExitFailed,
		"configs alter topic a --set retention.ms=1 --validate-only": 0,
		"logdirs c": cli.ExitFailed,
	} {
		if out, err := run(t, f, line); cli.ExitCode(err) != code {
			t.Errorf("millrace %s: %v, want exit code %d\n%s", line, err, code, out)
		}
	}
	type topic struct {
		Topic      string
		Configs    map[string]string
		Partitions []struct{ Leader, Start, End int64 }
	}
	clitest.Await(t, f, func(topics kadm.TopicDetails) bool { return len(topics["a"].Partitions) == 3 })
	all := decode[[]topic](t, f, "topics describe b a")
	if len(all) != 2 || all[0].Topic != "a" || len(all[0].Partitions) != 3 || len(all[1].Partitions) != 2 || all[0].Configs["retention.ms"] != "5000" {
		t.Errorf("%+v", all)
	}
	must(t, f, "offsets reset g --topic a:0 --to-latest --execute") // Apache Kafka makes the topic of offsets when it is needed
	if out := must(t, f, "topics list --internal"); !strings.Contains(out, "__consumer_offsets") {
		t.Errorf("internal topics are missing:\n%s", out)
	}
	if out := must(t, f, "topics list"); strings.Contains(out, "__consumer_offsets") {
		t.Errorf("internal topics are listed:\n%s", out)
	}
}
