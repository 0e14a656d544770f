// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/kafkanode"
)

// A node is a broker that runs.
type node struct {
	name string
	addr string
	pid  int
	stop func() error
}

// A side is a program on a broker: a row of each workload.
type side struct {
	name  string
	on    string // the broker's name
	argv  func(b *bench, w workload, n *node, data string) []string
	skips func(w workload) bool
}

const (
	ours   = "Millrace's broker"
	theirs = "Apache Kafka"
)

// sides are the rows, ours first: ratios are to it.
func sides() []side {
	never := func(workload) bool { return false }
	return []side{
		{"Millrace", ours, millrace, never},
		{"Millrace", theirs, millrace, never},
		{"loop by hand", ours, byHand, notByHand},
		{"loop by hand", theirs, byHand, notByHand},
		{"Kafka Streams", theirs, streams, never},
	}
}

func notByHand(w workload) bool { return !w.byHand }

// What is the same for all sides.
const (
	commitInterval = 100 * time.Millisecond
	linger         = 10 * time.Millisecond
	workers        = 2
	batchBytes     = 1 << 20  // of a producer: franz-go's largest; Kafka Streams gets it as batch.size
	cacheBytes     = 64 << 20 // Kafka Streams' record cache where results are folded
)

func flags(w workload, n *node) []string {
	return []string{
		"-brokers", n.addr, "-topology", w.topology, "-input", w.input.topic(), "-table", w.table.topic(),
	}
}

func millrace(b *bench, w workload, n *node, data string) []string {
	profile := ""
	if b.profs != "" {
		profile = filepath.Join(b.profs, w.topology+"-"+w.stores)
	}
	return append([]string{filepath.Join(b.bin, "bench-app")}, append(flags(w, n), "-stores", w.stores, "-data", data,
		"-workers", strconv.Itoa(workers), "-folded="+strconv.FormatBool(w.folded), "-profile", profile,
		"-commit", commitInterval.String(), "-linger", b.linger.String())...)
}

func byHand(b *bench, w workload, n *node, _ string) []string {
	return []string{
		filepath.Join(b.bin, "bench-byhand"), "-brokers", n.addr, "-topology", w.topology, "-input", w.input.topic(),
		"-folded=" + strconv.FormatBool(w.folded), "-commit", commitInterval.String(), "-linger", b.linger.String(),
	}
}

// streams is a JVM as Kafka's scripts start one: G1, its own choice of heap.
func streams(b *bench, w workload, n *node, data string) []string {
	line := kafkanode.CommandLine(nil, filepath.Join(b.dir, "log4j2.yaml"), b.peers+string(os.PathListSeparator)+b.kafka, "Peer")
	return append(append([]string{"java"}, line...), append(flags(w, n), "-stores", w.stores, "-data", data,
		"-workers", strconv.Itoa(workers), "-folded", strconv.FormatBool(w.folded), "-cache", strconv.Itoa(cacheBytes),
		"-commit", strconv.FormatInt(commitInterval.Milliseconds(), 10), "-linger", strconv.FormatInt(b.linger.Milliseconds(), 10),
		"-batch", strconv.Itoa(batchBytes))...)
}

// startOurs starts bin/millrace broker; its flush policy is Kafka's, the page cache.
func (b *bench) startOurs(ctx context.Context) (*node, error) {
	p, err := launch(ctx, b.cpus, filepath.Join(b.dir, "millrace-broker.log"), filepath.Join(b.bin, "millrace"), "broker",
		"--data", filepath.Join(b.dir, "millrace-broker"), "--listen", "127.0.0.1:0", "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	line, err := p.line()
	if err != nil {
		return nil, err
	}
	addr, ok := strings.CutPrefix(line, "listening on ")
	if !ok {
		return nil, fmt.Errorf("the broker said %q", line)
	}
	return &node{name: ours, addr: addr, pid: p.cmd.Process.Pid, stop: p.end}, nil
}

// startTheirs starts Apache Kafka with the options of its own start script.
func (b *bench) startTheirs(ctx context.Context) (*node, error) {
	dir := filepath.Join(b.dir, "kafka")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	k, err := kafkanode.Start(ctx, kafkanode.Config{Dir: dir, JVM: []string{
		"-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
		"-XX:+ExplicitGCInvokesConcurrent",
	}})
	if err != nil {
		return nil, err
	}
	pid, err := k.PID()
	if err != nil {
		k.Kill()
		return nil, err
	}
	return &node{name: theirs, addr: k.Addr, pid: pid, stop: k.Stop}, nil
}
