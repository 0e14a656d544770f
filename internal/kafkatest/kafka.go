// SPDX-License-Identifier: Apache-2.0

// Package kafkatest runs a real Apache Kafka for tests: one KRaft node on the
// loopback interface, out of the jars that conformance/pom.xml names, and the
// official command-line tools against any broker. Maven brings the jars into
// the cache folder once. Where Java or Maven is missing a test is skipped, with
// a line that says what to install; under CI=true it fails. With -short every
// test that asks for a broker is skipped.
package kafkatest

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	startTimeout = 2 * time.Minute  // two busy cores take 10 s
	stopTimeout  = 20 * time.Second // then it is killed
	pollEvery    = 50 * time.Millisecond
)

var (
	//go:embed log4j2.yaml
	log4j2 []byte
	//go:embed supervise.sh
	supervise string
)

// Kafka is one running node. Its methods are for one goroutine at a time.
type Kafka struct {
	Addr string // host:port that clients bootstrap from

	dir    string   // data, configuration and log
	props  []string // lines of server.properties beyond ours
	cp     string
	remove bool      // dir goes with the process
	cmd    *exec.Cmd // nil while it does not run
	hold   io.WriteCloser
}

// Start runs a node until the test ends. Each of props is a line of
// server.properties ("auto.create.topics.enable=false") and wins over ours. If
// the test has failed, the end of the broker's log is logged.
func Start(t testing.TB, props ...string) *Kafka {
	t.Helper()
	k := prepare(t, t.TempDir(), props)
	t.Cleanup(func() {
		k.Stop(t)
		if t.Failed() {
			t.Logf("end of Apache Kafka's log:\n%s", k.tail())
		}
	})
	k.launch(t)
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
		k := prepare(t, dir, nil)
		k.remove = true
		k.launch(t)
		shared.kafka = k
	}
	return shared.kafka
}

// prepare formats a node's storage in dir.
func prepare(t testing.TB, dir string, props []string) *Kafka {
	t.Helper()
	k := &Kafka{dir: dir, props: props, cp: classpath(t)}
	if err := os.WriteFile(k.path("log4j2.yaml"), log4j2, 0o644); err != nil {
		t.Fatal(err)
	}
	k.configure(t)
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[0] &= 0x7f           // an id that begins with "-" would be taken for a flag
	cmd := exec.CommandContext(t.Context(), "java", append(jvm(k.path("log4j2.yaml"), k.cp, classes["storage"]),
		"format", "-t", base64.RawURLEncoding.EncodeToString(id[:]), "-c", k.path("server.properties"))...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("format Apache Kafka's storage: %v\n%s", err, out)
	}
	return k
}

func (k *Kafka) path(name string) string { return filepath.Join(k.dir, name) }

// configure writes server.properties with two ports that are free now.
func (k *Kafka) configure(t testing.TB) {
	t.Helper()
	broker, controller := freeAddr(t), freeAddr(t)
	k.Addr = broker
	lines := append([]string{
		"process.roles=broker,controller",
		"node.id=1",
		"controller.quorum.voters=1@" + controller,
		"listeners=PLAINTEXT://" + broker + ",CONTROLLER://" + controller,
		"advertised.listeners=PLAINTEXT://" + broker,
		"controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name=PLAINTEXT",
		"log.dirs=" + k.path("logs"),
		"offsets.topic.replication.factor=1",
		"offsets.topic.num.partitions=4",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"transaction.state.log.num.partitions=4",
		"share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
	}, k.props...)
	text := strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(k.path("server.properties"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// freeAddr returns a loopback address that nothing listens on now. Another
// process may take it before we do; launch then asks for another.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// launch starts the node and returns once it serves.
func (k *Kafka) launch(t testing.TB) {
	t.Helper()
	for try := 1; ; try++ {
		err := k.start()
		if err == nil {
			return
		}
		k.Kill()
		if try < 3 && bytes.Contains(k.tail(), []byte("Address already in use")) {
			k.configure(t)
			continue
		}
		t.Fatalf("start Apache Kafka: %v\n%s", err, k.tail())
	}
}

// start starts the process and waits until its log says that it serves.
func (k *Kafka) start() error {
	log, err := os.Create(k.path("server.log"))
	if err != nil {
		return fmt.Errorf("make the log: %w", err)
	}
	defer log.Close()
	args := append([]string{"-c", supervise, "kafkatest", "java"},
		jvm(k.path("log4j2.yaml"), k.cp, "kafka.Kafka", "-Dkafka.loglevel=INFO")...)
	cmd := exec.Command("sh", append(args, k.path("server.properties"))...)
	if k.remove {
		cmd.Env = append(os.Environ(), "KAFKATEST_REMOVE="+k.dir)
	}
	cmd.Stdout, cmd.Stderr = log, log // a file: no goroutine copies, none is left over
	hold, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	k.cmd, k.hold = cmd, hold
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); <-poll.C {
		text, err := os.ReadFile(k.path("server.log"))
		switch {
		case err != nil:
			return fmt.Errorf("read the log: %w", err)
		case bytes.Contains(text, []byte("Kafka Server started")):
			return nil
		case bytes.Contains(text, []byte("kafkatest: broker ended")):
			return fmt.Errorf("it ended at once")
		}
	}
	return fmt.Errorf("it does not serve after %v", startTimeout)
}

// Kill ends the node as kill -9 would and returns when it is gone. Its data
// stay. It does nothing if the node does not run.
func (k *Kafka) Kill() {
	if k.cmd == nil {
		return
	}
	_ = k.hold.Close()
	_ = k.cmd.Wait()
	k.cmd = nil
}

// Stop ends the node in good order, or kills it if that takes too long. Its
// data stay. It does nothing if the node does not run.
func (k *Kafka) Stop(t testing.TB) {
	t.Helper()
	if k.cmd == nil {
		return
	}
	// The kill comes by the same pipe as the request to stop.
	late := time.AfterFunc(stopTimeout, func() { _ = k.hold.Close() })
	_, _ = io.WriteString(k.hold, "stop\n")
	_ = k.cmd.Wait()
	if !late.Stop() {
		t.Logf("kafkatest: killed Apache Kafka, which did not stop within %v", stopTimeout)
	}
	k.cmd = nil
}

// Restart starts the node on the data that it had, at the same address; a node
// that runs is stopped first.
func (k *Kafka) Restart(t testing.TB) {
	t.Helper()
	k.Stop(t)
	if err := k.start(); err != nil {
		k.Kill()
		t.Fatalf("restart Apache Kafka: %v\n%s", err, k.tail())
	}
}

// tail is the end of the node's log.
func (k *Kafka) tail() []byte {
	text, _ := os.ReadFile(k.path("server.log"))
	return text[max(0, len(text)-4000):]
}
