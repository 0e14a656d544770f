// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafkatest"
)

// kafkaTools is the program of Apache Kafka's command-line tools. Each is a JVM
// of its own, so that one run does as much as it can. A tool that fails ends
// the program.
type kafkaTools struct {
	t     *testing.T
	addr  string
	out   *outcomes
	cl    *kgo.Client
	admin *kadm.Client // makes most topics: a JVM takes seconds
}

func kafkaToolsProgram(ctx context.Context, t *testing.T, addr string, out *outcomes) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	k := &kafkaTools{t, addr, out, cl, kadm.NewClient(cl)}
	finish := startJava(ctx, t, addr, k.admin, out)
	defer finish()
	k.topics()
	k.codecs()
	k.records()
	k.times()
	k.configs()
	k.groups()
	k.verifiable()
	k.perf()
	k.endings()
}

// run runs a tool on the broker, and logs how long it took.
func (k *kafkaTools) run(tool, stdin string, args ...string) string {
	k.t.Helper()
	begin := time.Now()
	out := kafkatest.Tool(k.t, tool, append([]string{"--bootstrap-server", k.addr}, args...), stdin)
	k.out.logf("%s %s took %v", tool, strings.Join(args, " "), time.Since(begin).Round(10*time.Millisecond))
	return out
}

// create makes a topic without a tool.
func (k *kafkaTools) create(name string, partitions int32) {
	k.t.Helper()
	keep := map[string]*string{"retention.ms": new("-1")}
	if _, err := k.admin.CreateTopic(k.t.Context(), partitions, 1, keep, name); err != nil {
		k.t.Fatalf("create %s: %v", name, err)
	}
}

// fields are what the lines of a tool's output hold, without empty ones.
func fields(text string) [][]string {
	all := [][]string{}
	for l := range strings.Lines(text) {
		if f := strings.Fields(l); len(f) > 0 {
			all = append(all, f)
		}
	}
	return all
}

var (
	topicID      = regexp.MustCompile(`TopicId: \S+`)
	topicConfigs = regexp.MustCompile(`Configs: \S+`)
)

func (k *kafkaTools) topics() {
	k.run("topics", "", "--create", "--topic", "tools-a", "--partitions", "3", "--config", "retention.ms=-1", "--config", "segment.bytes=2097152")
	k.run("topics", "", "--create", "--if-not-exists", "--topic", "tools-a", "--partitions", "3")
	k.run("topics", "", "--alter", "--topic", "tools-a", "--partitions", "4")
	shown := k.run("topics", "", "--describe", "--topic", "tools-a")
	shown = topicID.ReplaceAllString(shown, "")
	k.out.got("topics", "described", fields(topicConfigs.ReplaceAllStringFunc(shown, func(all string) string {
		configs := strings.Split(strings.TrimPrefix(all, "Configs: "), ",")
		slices.Sort(configs)
		// Apache Kafka sets this one for the whole cluster, when it makes the first node
		configs = slices.DeleteFunc(configs, func(c string) bool { return c == "min.insync.replicas=1" })
		return "Configs: " + strings.Join(configs, ",")
	})))
	for _, codec := range codecs {
		k.create(topic("tools", "codec "+codec), 1)
	}
	all := strings.Fields(k.run("topics", "", "--list", "--exclude-internal"))
	k.out.got("topics", "listed", slices.DeleteFunc(all, func(name string) bool { return !strings.HasPrefix(name, "tools-") }))
}

// codecs: the console producer writes with each, one console consumer reads all.
func (k *kafkaTools) codecs() {
	want := make(map[string]bool)
	for _, codec := range codecs {
		var in strings.Builder
		for i := range codecCount {
			fmt.Fprintln(&in, codecValue(codec, i))
			want[codecValue(codec, i)] = true
		}
		k.run("console-producer", in.String(), "--topic", topic("tools", "codec "+codec), "--compression-codec", codec)
	}
	read := k.run("console-consumer", "", "--include", "tools-codec-.*", "--from-beginning", "--max-messages", fmt.Sprint(len(want)), "--timeout-ms", "30000")
	for value := range strings.Lines(read) {
		delete(want, strings.TrimSpace(value))
	}
	k.out.got("codec", "not read by the console consumer", slices.Collect(maps.Keys(want)))
}

func (k *kafkaTools) records() {
	k.create("tools-records", 1)
	in := "a:1|k|v\nnull|null|no key\nnull|no value|null\na:1,a:2,empty:|h|headers\n"
	in = strings.ReplaceAll(in, "|", "\t")
	k.run("console-producer", in, "--topic", "tools-records", "--reader-property", "parse.key=true", "--reader-property", "parse.headers=true",
		"--reader-property", "null.marker=null", "--command-property", "enable.idempotence=true")
	shown := k.run("console-consumer", "", "--topic", "tools-records", "--partition", "0", "--offset", "earliest", "--max-messages", "4",
		"--timeout-ms", "30000", "--formatter-property", "print.key=true", "--formatter-property", "print.headers=true",
		"--formatter-property", "print.offset=true", "--formatter-property", "print.partition=true", "--formatter-property", "null.literal=NULL")
	k.out.got("records", "printed", strings.Split(strings.TrimSpace(shown), "\n"))
}

func (k *kafkaTools) times() {
	k.create("tools-times", 1)
	var send []*kgo.Record
	for i := range int64(20) {
		send = append(send, &kgo.Record{Topic: "tools-times", Value: fmt.Append(nil, i), Timestamp: time.UnixMilli(baseTime + 200*i)})
	}
	if err := k.cl.ProduceSync(k.t.Context(), send...).FirstErr(); err != nil {
		k.t.Fatal(err)
	}
	for step, at := range map[string]string{
		"latest": "-1", "max timestamp": "-3", "between": fmt.Sprint(baseTime + 2000),
	} {
		k.out.got("times", step+", get-offsets", strings.TrimSpace(k.run("get-offsets", "", "--topic", "tools-times", "--time", at)))
	}
}

func (k *kafkaTools) configs() {
	k.run("configs", "", "--alter", "--entity-type", "topics", "--entity-name", "tools-a", "--add-config", "max.message.bytes=5000,cleanup.policy=[compact,delete]",
		"--delete-config", "segment.bytes")
	shown := k.run("configs", "", "--describe", "--entity-type", "topics", "--entity-name", "tools-a")
	lines := strings.Split(strings.TrimSpace(shown), "\n")
	slices.Sort(lines)
	k.out.got("configs", "described", lines)
}

var memberID = regexp.MustCompile(`\S*-[0-9a-f]{8}-[0-9a-f-]{27}`)

func (k *kafkaTools) groups() {
	var in strings.Builder
	for i := range 40 {
		fmt.Fprintf(&in, "%d\t%d\n", i, i)
	}
	k.run("console-producer", in.String(), "--topic", "tools-times", "--reader-property", "parse.key=true")
	for name, properties := range map[string][]string{
		"eager":       {"group.protocol=classic", "partition.assignment.strategy=org.apache.kafka.clients.consumer.RangeAssignor"},
		"cooperative": {"group.protocol=classic", "partition.assignment.strategy=org.apache.kafka.clients.consumer.CooperativeStickyAssignor"},
		"consumer":    {"group.protocol=consumer"},
		"static":      {"group.protocol=classic", "group.instance.id=one"},
	} {
		args := []string{"--topic", "tools-times", "--group", "tools-" + name, "--from-beginning", "--max-messages", "60", "--timeout-ms", "60000"}
		for _, p := range properties {
			args = append(args, "--command-property", p)
		}
		read := strings.Fields(k.run("console-consumer", "", args...))
		k.out.got("groups", name+", read", len(read))
	}
	listed := fields(k.run("consumer-groups", "", "--list", "--state", "--type"))
	slices.SortFunc(listed, slices.Compare)
	k.out.got("groups", "listed", slices.DeleteFunc(listed, func(f []string) bool { return !strings.HasPrefix(f[0], "tools-") || f[0] == "tools-static" }))
	described := k.run("consumer-groups", "", "--describe", "--group", "tools-eager", "--group", "tools-cooperative", "--group", "tools-consumer", "--offsets")
	lines := fields(memberID.ReplaceAllString(described, "id"))
	slices.SortFunc(lines, slices.Compare)
	k.out.got("groups", "described", lines)
	members := k.run("consumer-groups", "", "--describe", "--group", "tools-static", "--members", "--verbose")
	k.out.got("groups", "members of static, with an instance id", strings.Contains(members, "one"))
	reset := k.run("consumer-groups", "", "--reset-offsets", "--group", "tools-eager", "--topic", "tools-times", "--to-datetime",
		time.UnixMilli(baseTime+2000).UTC().Format("2006-01-02T15:04:05.000"), "--execute")
	k.out.got("groups", "reset to a time", fields(reset))
	k.run("consumer-groups", "", "--delete-offsets", "--group", "tools-cooperative", "--topic", "tools-times")
	deleted := k.run("consumer-groups", "", "--delete", "--group", "tools-eager", "--group", "tools-cooperative", "--group", "tools-consumer")
	k.out.got("groups", "deleted", strings.Contains(deleted, "was successful"))
}

// event is a line of the verifiable producer.
type event struct {
	Name  string `json:"name"`
	Sent  int    `json:"sent"`
	Acked int    `json:"acked"`
}

func events(text string) (all []event) {
	for l := range strings.Lines(text) {
		var e event
		if json.Unmarshal([]byte(l), &e) == nil {
			all = append(all, e)
		}
	}
	return all
}

func (k *kafkaTools) verifiable() {
	k.create("tools-verifiable", 2)
	for _, e := range events(k.run("verifiable-producer", "", "--topic", "tools-verifiable", "--max-messages", "500", "--acks", "-1")) {
		if e.Name == "tool_data" {
			k.out.got("verifiable", "produced", []int{e.Sent, e.Acked})
		}
	}
}

var sentRecords = regexp.MustCompile(`(\d+) records sent, [\d.,]+ records/sec`)

func (k *kafkaTools) perf() {
	k.create("tools-perf", 2)
	text := k.run("producer-perf", "", "--topic", "tools-perf", "--num-records", "5000", "--record-size", "200", "--throughput", "-1",
		"--command-property", "compression.type=lz4")
	all := sentRecords.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		k.out.failed("perf", "it printed "+text)
		return
	}
	k.out.got("perf", "sent", all[len(all)-1][1])
	text = k.run("consumer-perf", "", "--topic", "tools-perf", "--num-records", "5000", "--hide-header", "--timeout", "60000")
	columns := strings.Split(text, ", ")
	if len(columns) < 5 {
		k.out.failed("perf", "it printed "+text)
		return
	}
	k.out.got("perf", "consumed", columns[4])
}

func (k *kafkaTools) endings() {
	file := filepath.Join(k.t.TempDir(), "delete.json")
	request := `{"version": 1, "partitions": [{"topic": "tools-times", "partition": 0, "offset": 15}]}`
	if err := os.WriteFile(file, []byte(request), 0o644); err != nil {
		k.t.Fatal(err)
	}
	k.out.got("admin records", "delete-records", fields(k.run("delete-records", "", "--offset-json-file", file))[1:])
	k.out.got("admin records", "earliest, get-offsets", strings.TrimSpace(k.run("get-offsets", "", "--topic", "tools-times", "--time", "-2")))
	k.run("topics", "", "--delete", "--topic", "tools-a")
	k.out.got("topics", "after the deletion", strings.Fields(k.run("topics", "", "--list", "--topic", "tools-a")))
}
