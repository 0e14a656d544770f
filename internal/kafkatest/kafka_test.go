// SPDX-License-Identifier: Apache-2.0

package kafkatest_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T, k *kafkatest.Kafka, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(k.Addr))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func create(t *testing.T, cl *kgo.Client, topic string) {
	t.Helper()
	if _, err := kadm.NewClient(cl).CreateTopic(within(t), 1, 1, nil, topic); err != nil {
		t.Fatalf("create topic %s: %v", topic, err)
	}
}

func produce(t *testing.T, cl *kgo.Client, topic, value string) {
	t.Helper()
	r := &kgo.Record{Topic: topic, Value: []byte(value)}
	if err := cl.ProduceSync(within(t), r).FirstErr(); err != nil {
		t.Fatalf("produce to %s: %v", topic, err)
	}
}

func consumeOne(t *testing.T, k *kafkatest.Kafka, topic string) string {
	t.Helper()
	cl := client(t, k, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	fetches := cl.PollRecords(within(t), 1)
	if err := fetches.Err(); err != nil {
		t.Fatalf("consume %s: %v", topic, err)
	}
	return string(fetches.Records()[0].Value)
}

func TestSharedBrokerServesClientsAndTools(t *testing.T) {
	k := kafkatest.Shared(t)
	if again := kafkatest.Shared(t); again != k {
		t.Error("Shared started a second broker")
	}
	cl := client(t, k)
	create(t, cl, "shared")
	produce(t, cl, "shared", "hello")
	if got := consumeOne(t, k, "shared"); got != "hello" {
		t.Errorf("consumed %q, want hello", got)
	}
	kafkatest.Tool(t, "console-producer", []string{"--bootstrap-server", k.Addr, "--topic", "shared"}, "from stdin\n")
	got := kafkatest.Tool(t, "console-consumer", []string{
		"--bootstrap-server", k.Addr, "--topic", "shared",
		"--from-beginning", "--max-messages", "2", "--timeout-ms", "30000",
	}, "")
	if want := "hello\nfrom stdin\n"; got != want {
		t.Errorf("console-consumer printed %q, want %q", got, want)
	}
}

func TestDataSurvivesKillAndRestart(t *testing.T) {
	k := kafkatest.Start(t, "auto.create.topics.enable=false")
	cl := client(t, k)
	create(t, cl, "kept")
	produce(t, cl, "kept", "before the kill")
	addr := k.Addr
	k.Kill()
	k.Restart(t)
	if k.Addr != addr {
		t.Errorf("address %s after the restart, want %s", k.Addr, addr)
	}
	if got := consumeOne(t, k, "kept"); got != "before the kill" {
		t.Errorf("consumed %q, want what was produced before the kill", got)
	}
}
