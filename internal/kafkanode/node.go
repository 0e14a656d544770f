// SPDX-License-Identifier: Apache-2.0

// Package kafkanode runs a real Apache Kafka, one KRaft node on the loopback
// interface, for tests (package internal/kafkatest) and benchmarks. Maven brings
// the jars into the cache folder once.
package kafkanode

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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

// ErrKilled is returned by Stop for a node that did not stop in good time.
var ErrKilled = errors.New("it did not stop and was killed")

// Config says how a node runs.
type Config struct {
	// Dir is an empty folder for data, configuration and log.
	Dir string
	// Format are arguments of Kafka's storage tool besides those that it must have.
	Format []string
	// Props are lines of server.properties ("auto.create.topics.enable=false"),
	// which win over ours.
	Props []string
	// JVM are options of the virtual machine; nil: ShortLife.
	JVM []string
	// Remove removes Dir when the node ends.
	Remove bool
}

// ShortLife are options of a JVM for a short life on a small machine.
var ShortLife = []string{"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"}

// Node is one running node. Its methods are for one goroutine at a time.
type Node struct {
	Addr string // host:port that clients bootstrap from

	cfg  Config
	cp   string
	cmd  *exec.Cmd // nil while it does not run
	hold io.WriteCloser
}

// Start formats a node's storage and runs the node until Stop or Kill. It
// returns once it serves. A node ends with this process, whatever ends that.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	cp, err := Classpath()
	if err != nil {
		return nil, err
	}
	if cfg.JVM == nil {
		cfg.JVM = ShortLife
	}
	n := &Node{cfg: cfg, cp: cp}
	if err := WriteLogging(n.path("log4j2.yaml")); err != nil {
		return nil, err
	}
	if err := n.configure(); err != nil {
		return nil, err
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[0] &= 0x7f           // an id that begins with "-" would be taken for a flag
	args := append(CommandLine(ShortLife, n.path("log4j2.yaml"), cp, "kafka.tools.StorageTool"),
		"format", "-t", base64.RawURLEncoding.EncodeToString(id[:]), "-c", n.path("server.properties"))
	args = append(args, cfg.Format...)
	if out, err := exec.CommandContext(ctx, "java", args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format Apache Kafka's storage: %w\n%s", err, out)
	}
	return n, n.launch()
}

// WriteLogging writes the logging configuration that CommandLine is given.
func WriteLogging(file string) error {
	if err := os.WriteFile(file, log4j2, 0o644); err != nil {
		return fmt.Errorf("write the logging configuration: %w", err)
	}
	return nil
}

// CommandLine is what java is given to run a class.
func CommandLine(jvm []string, logging, classpath, class string) []string {
	return append(slices.Clone(jvm),
		"-Djava.awt.headless=true", "-Dlog4j2.configurationFile="+logging, "-cp", classpath, class)
}

func (n *Node) path(name string) string { return filepath.Join(n.cfg.Dir, name) }

// configure writes server.properties with two ports that are free now.
func (n *Node) configure() error {
	broker, controller, err := freeAddrs()
	if err != nil {
		return err
	}
	n.Addr = broker
	lines := append([]string{
		"process.roles=broker,controller",
		"node.id=1",
		"controller.quorum.voters=1@" + controller,
		"listeners=PLAINTEXT://" + broker + ",CONTROLLER://" + controller,
		"advertised.listeners=PLAINTEXT://" + broker,
		"controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name=PLAINTEXT",
		"log.dirs=" + n.path("logs"),
		"offsets.topic.replication.factor=1",
		"offsets.topic.num.partitions=4",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"transaction.state.log.num.partitions=4",
		"share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
	}, n.cfg.Props...)
	text := strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(n.path("server.properties"), []byte(text), 0o644); err != nil {
		return fmt.Errorf("write server.properties: %w", err)
	}
	return nil
}

// freeAddrs returns two loopback addresses that nothing listens on now. Another
// process may take them before we do; launch then asks for others.
func freeAddrs() (one, other string, err error) {
	// The first is held until the second is found, so that they are different.
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", fmt.Errorf("find a free port: %w", err)
	}
	second, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", errors.Join(fmt.Errorf("find a free port: %w", err), first.Close())
	}
	return first.Addr().String(), second.Addr().String(), errors.Join(first.Close(), second.Close())
}

// launch starts the node and returns once it serves.
func (n *Node) launch() error {
	for try := 1; ; try++ {
		err := n.start()
		if err == nil {
			return nil
		}
		n.Kill()
		if try < 3 && bytes.Contains(n.Tail(), []byte("Address already in use")) {
			if err := n.configure(); err != nil {
				return err
			}
			continue
		}
		return fmt.Errorf("start Apache Kafka: %w\n%s", err, n.Tail())
	}
}

// start starts the process and waits until its log says that it serves.
func (n *Node) start() error {
	log, err := os.Create(n.path("server.log"))
	if err != nil {
		return fmt.Errorf("make the log: %w", err)
	}
	defer log.Close()
	jvm := append(slices.Clone(n.cfg.JVM), "-Dkafka.loglevel=INFO")
	args := append([]string{"-c", supervise, "kafkanode", "java"}, CommandLine(jvm, n.path("log4j2.yaml"), n.cp, "kafka.Kafka")...)
	cmd := exec.Command("sh", append(args, n.path("server.properties"))...)
	if n.cfg.Remove {
		cmd.Env = append(os.Environ(), "KAFKANODE_REMOVE="+n.cfg.Dir)
	}
	cmd.Stdout, cmd.Stderr = log, log // a file: no goroutine copies, none is left over
	hold, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	n.cmd, n.hold = cmd, hold
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); <-poll.C {
		text, err := os.ReadFile(n.path("server.log"))
		switch {
		case err != nil:
			return fmt.Errorf("read the log: %w", err)
		case bytes.Contains(text, []byte("Kafka Server started")):
			return nil
		case bytes.Contains(text, []byte("kafkanode: broker ended")):
			return errors.New("it ended at once")
		}
	}
	return fmt.Errorf("it does not serve after %v", startTimeout)
}

// PID is the process of the node's virtual machine.
func (n *Node) PID() (int, error) {
	text, err := os.ReadFile(n.path("server.log"))
	if err != nil {
		return 0, fmt.Errorf("find the node's process: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), "kafkanode: broker is process ")
	pid, err := strconv.Atoi(firstLine([]byte(rest)))
	if err != nil {
		return 0, fmt.Errorf("find the node's process: %w", err)
	}
	return pid, nil
}

// Kill ends the node as kill -9 would and returns when it is gone. Its data
// stay. It does nothing if the node does not run.
func (n *Node) Kill() {
	if n.cmd == nil {
		return
	}
	_ = n.hold.Close()
	_ = n.cmd.Wait()
	n.cmd = nil
}

// Stop ends the node in good order; one that takes too long is killed, which
// ErrKilled tells. Its data stay. It does nothing if the node does not run.
func (n *Node) Stop() error {
	if n.cmd == nil {
		return nil
	}
	// The kill comes by the same pipe as the request to stop.
	late := time.AfterFunc(stopTimeout, func() { _ = n.hold.Close() })
	_, _ = io.WriteString(n.hold, "stop\n")
	_ = n.cmd.Wait()
	n.cmd = nil
	if !late.Stop() {
		return ErrKilled
	}
	return nil
}

// Restart starts the node on the data that it had, at the same address; a node
// that runs is stopped first.
func (n *Node) Restart() error {
	if err := n.Stop(); err != nil && !errors.Is(err, ErrKilled) {
		return err
	}
	if err := n.start(); err != nil {
		n.Kill()
		return fmt.Errorf("restart Apache Kafka: %w\n%s", err, n.Tail())
	}
	return nil
}

// Tail is the end of the node's log.
func (n *Node) Tail() []byte {
	text, _ := os.ReadFile(n.path("server.log"))
	return text[max(0, len(text)-4000):]
}

func firstLine(text []byte) string {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return string(line)
}
