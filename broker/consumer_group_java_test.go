// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/kafkatest"
)

// TestConsumerGroupOfTheJavaClient has Apache Kafka's own consumer consume with
// the consumer protocol, and its tools show and delete the group.
func TestConsumerGroupOfTheJavaClient(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts JVMs")
	}
	dir := t.TempDir()
	b := open(t, broker.Config{Dir: dir, Listen: "127.0.0.1:0", OffsetsPartitions: 1})
	if _, err := admin(t, b).CreateTopic(t.Context(), 3, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	want := produceNumbered(t, b, "orders", 30)
	at := []string{"--bootstrap-server", b.Addr()}
	got := kafkatest.Tool(t, "console-consumer", append(at, "--topic", "orders", "--from-beginning", "--max-messages", "30",
		"--command-property", "group.protocol=consumer", "--command-property", "group.id=java"), "")
	lines := strings.Fields(got)
	slices.Sort(lines)
	if !slices.Equal(lines, want) {
		t.Errorf("consumed %q, want %q", lines, want)
	}
	list := kafkatest.Tool(t, "consumer-groups", append(at, "--list", "--type", "--state"), "")
	if fields := strings.Fields(list); !slices.Equal(fields, []string{"GROUP", "TYPE", "STATE", "java", "Consumer", "Empty"}) {
		t.Errorf("listed as\n%s", list)
	}
	describe := kafkatest.Tool(t, "consumer-groups", append(at, "--describe", "--group", "java"), "")
	if n := strings.Count(describe, "orders"); n != 3 {
		t.Errorf("described with %d partitions:\n%s", n, describe)
	}
	kafkatest.Tool(t, "consumer-groups", append(at, "--delete-offsets", "--group", "java", "--topic", "orders"), "")
	kafkatest.Tool(t, "consumer-groups", append(at, "--delete", "--group", "java"), "")
	if d := describeConsumerGroup(t, b, "java"); d.ErrorCode != 69 { // GROUP_ID_NOT_FOUND
		t.Errorf("after its deletion: %+v", d)
	}
}

// produceNumbered produces n records, and returns their values in order.
func produceNumbered(t *testing.T, b *broker.Broker, topic string, n int) (values []string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.Dialer(b.Dial), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var recs []*kgo.Record
	for i := range n {
		values = append(values, fmt.Sprintf("value-%03d", i))
		recs = append(recs, &kgo.Record{Topic: topic, Value: []byte(values[i])})
	}
	if err := cl.ProduceSync(context.Background(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return values
}
