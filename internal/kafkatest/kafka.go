// SPDX-License-Identifier: Apache-2.0

// Package kafkatest runs a real Apache Kafka for tests: one KRaft node on the
// loopback interface, out of the jars that conformance/pom.xml names, and the
// official command-line tools against any broker. Maven brings the jars into
// the cache folder once. Where Java or Maven is missing a test is skipped, with
// a line that says what to install; under CI=true it fails. With -short every
// test that asks for a broker is skipped.
package kafkatest

import (
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/millrace/millrace/internal/kafkanode"
)

// Kafka is one running node. Its methods are for one goroutine at a time.
type Kafka struct {
	Addr string // host:port that clients bootstrap from

	node *kafkanode.Node
}

// Start runs a node until the test ends. Each of props is a line of
// server.properties ("auto.create.topics.enable=false") and wins over ours. If
// the test has failed, the end of the broker's log is logged.
func Start(t testing.TB, props ...string) *Kafka {
	t.Helper()
	return StartWith(t, kafkanode.Config{Props: props})
}

// StartWith is Start with more that can be said; Dir is set by it.
func StartWith(t testing.TB, cfg kafkanode.Config) *Kafka {
	t.Helper()
	classpath(t)
	cfg.Dir = t.TempDir()
	k := start(t, cfg)
	t.Cleanup(func() {
		k.Stop(t)
		if t.Failed() {
			t.Logf("end of Apache Kafka's log:\n%s", k.node.Tail())
		}
	})
	return k
}

var shared struct {
	sync.Mutex
	kafka *Kafka
}

// Shared returns a node that all tests of the process share, and starts it
// for the first. It ends with the process, whatever ends that, and its files
// with it. Tests keep apart by topic and group names.
func Shared(t testing.TB) *Kafka {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.kafka == nil {
		classpath(t)                               // skips before a folder is made
		dir, err := os.MkdirTemp("", "kafkatest-") //nolint:usetesting // it outlives the test that comes first
		if err != nil {
			t.Fatal(err)
		}
		shared.kafka = start(t, kafkanode.Config{Dir: dir, Remove: true})
	}
	return shared.kafka
}

func start(t testing.TB, cfg kafkanode.Config) *Kafka {
	t.Helper()
	// Tests write records of 1970, which retention would take half a minute after the start.
	cfg.Props = append([]string{"log.initial.task.delay.ms=86400000"}, cfg.Props...)
	node, err := kafkanode.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &Kafka{Addr: node.Addr, node: node}
}

// Kill ends the node as kill -9 would and returns when it is gone. Its data
// stay. It does nothing if the node does not run.
func (k *Kafka) Kill() { k.node.Kill() }

// Stop ends the node in good order, or kills it if that takes too long. Its
// data stay. It does nothing if the node does not run.
func (k *Kafka) Stop(t testing.TB) {
	t.Helper()
	switch err := k.node.Stop(); {
	case errors.Is(err, kafkanode.ErrKilled):
		t.Logf("Apache Kafka: %v", err)
	case err != nil:
		t.Fatal(err)
	}
}

// Restart starts the node on the data that it had, at the same address; a node
// that runs is stopped first.
func (k *Kafka) Restart(t testing.TB) {
	t.Helper()
	if err := k.node.Restart(); err != nil {
		t.Fatal(err)
	}
}
