// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"context"
	"flag"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	rewrite   = flag.Bool("rewrite", false, "write what Apache Kafka gives to testdata/outcomes.jsonl")
	binary    = flag.String("millrace", "", "the `program` millrace to test; empty: it is built")
	withKafka = flag.Bool("kafka", true, "run on Apache Kafka as well as on the bundled broker")
)

// programTime bounds one program on one broker. They take 5 to 60 s on a machine
// with nothing else to do.
const programTime = 20 * time.Minute

// A program runs its scenarios on the broker at addr.
type program struct {
	name string
	run  func(ctx context.Context, t *testing.T, addr string, out *outcomes)
}

var programs = []program{
	{"franz-go", franzGo},
	{"sarama", saramaProgram},
	{"kafka-go", kafkaGo},
	{"kcat", kcatProgram},
	{"confluent-kafka", python("confluent.py")},
	{"kafka-python", python("kafka_python.py")},
	{"aiokafka", python("aio_kafka.py")},
	{"kafkajs", kafkaJS},
	{"tools", kafkaToolsProgram},
}

func TestClients(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts brokers and clients")
	}
	if *rewrite && !*withKafka {
		t.Fatal("-rewrite needs Apache Kafka")
	}
	all := &comparison{brokers: startBrokers(t), recorded: readRecorded(t)}
	t.Run("all", func(t *testing.T) { // ends when all programs have ended
		for _, p := range programs {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel() // most of a program's time is waiting
				all.run(t, p)
			})
		}
	})
	if *rewrite && !t.Failed() {
		writeRecorded(t, all.recorded)
	}
}

// comparison is what programs run on and are compared with.
type comparison struct {
	brokers map[string]string // addresses by name

	mu       sync.Mutex
	recorded map[string]steps // by program
}

// run runs a program on each broker and compares what it got.
func (c *comparison) run(t *testing.T, p program) {
	got := make(map[string]*outcomes)
	for name := range c.brokers {
		got[name] = &outcomes{steps: steps{}}
	}
	t.Run("on", func(t *testing.T) {
		for name, addr := range c.brokers {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), programTime)
				defer cancel()
				out := got[name]
				out.logf = t.Logf
				p.run(ctx, t, addr, out)
				storedCodecs(ctx, t, addr, p.name, out)
				out.check(t)
			})
		}
	})
	if len(got[bundled].steps) == 0 {
		t.Skip("the program did not run")
	}
	if t.Failed() {
		return
	}
	want := c.expected(p.name, got[apache])
	for _, name := range slices.Sorted(maps.Keys(c.brokers)) {
		if diff := cmp.Diff(want, got[name].steps); diff != "" {
			t.Errorf("%s on %s: not what Apache Kafka gave when it was recorded (-recorded +now):\n%s", p.name, name, diff)
		}
	}
	if *withKafka {
		if diff := cmp.Diff(got[apache].steps, got[bundled].steps); diff != "" {
			t.Errorf("%s: outcomes differ (-Apache Kafka +Millrace):\n%s", p.name, diff)
		}
	}
}

// expected is what is recorded of a program, or with -rewrite what Apache
// Kafka has given now.
func (c *comparison) expected(program string, now *outcomes) steps {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *rewrite {
		c.recorded[program] = now.steps
	}
	return c.recorded[program]
}

// topic names a topic, or a group, of a program.
func topic(program, scenario string) string {
	return program + "-" + strings.ReplaceAll(scenario, " ", "-")
}
