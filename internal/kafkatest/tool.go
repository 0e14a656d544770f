// SPDX-License-Identifier: Apache-2.0

package kafkatest

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/kafkanode"
)

const tools = "org.apache.kafka.tools."

// classes are Apache Kafka's command-line tools, by the names of their scripts.
var classes = map[string]string{
	"api-versions":        tools + "BrokerApiVersionsCommand",
	"cluster":             tools + "ClusterTool",
	"configs":             "kafka.admin.ConfigCommand",
	"console-consumer":    tools + "consumer.ConsoleConsumer",
	"console-producer":    tools + "ConsoleProducer",
	"consumer-groups":     tools + "consumer.group.ConsumerGroupCommand",
	"consumer-perf":       tools + "ConsumerPerformance",
	"delete-records":      tools + "DeleteRecordsCommand",
	"dump-log":            tools + "DumpLogSegments",
	"e2e-latency":         tools + "EndToEndLatency",
	"features":            tools + "FeatureCommand",
	"get-offsets":         tools + "GetOffsetShell",
	"groups":              tools + "GroupsCommand",
	"log-dirs":            tools + "LogDirsCommand",
	"metadata-quorum":     tools + "MetadataQuorumCommand",
	"producer-perf":       tools + "ProducerPerformance",
	"streams-groups":      tools + "streams.StreamsGroupCommand",
	"streams-reset":       tools + "StreamsResetter",
	"topics":              tools + "TopicCommand",
	"transactions":        tools + "TransactionsCommand",
	"verifiable-consumer": tools + "VerifiableConsumer",
	"verifiable-producer": tools + "VerifiableProducer",
}

// Tool runs one of Apache Kafka's command-line tools ("console-consumer",
// "topics" ...) to its end with stdin, against whatever broker args name, and
// returns its standard output. The test fails if the tool does, and is skipped
// where Apache Kafka can't be had. The tool is killed when the test's context ends.
func Tool(t testing.TB, name string, args []string, stdin string) string {
	t.Helper()
	class, ok := classes[name]
	if !ok {
		t.Fatalf("kafkatest: no tool %q", name)
	}
	cp := classpath(t)
	config := filepath.Join(t.TempDir(), "log4j2.yaml")
	if err := kafkanode.WriteLogging(config); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "java", append(kafkanode.CommandLine(kafkanode.ShortLife, config, cp, class), args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("kafka tool %s %s: %v\n%s%s", name, strings.Join(args, " "), err, &out, &errs)
	}
	return out.String()
}
