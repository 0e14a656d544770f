// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/kafkanode"
	"github.com/millrace/millrace/internal/runtime/link"
)

// A node is a broker that runs.
type node struct {
	name string
	addr string
	dir  string // of its logs, "" if it is not a process of its own
	pid  int
	stop func() error
}

// A side is a program on a broker: a row of each workload.
type side struct {
	name  string
	on    string // the broker's name
	argv  func(b *bench, s side, w workload, n *node, data string) []string
	skips func(w workload) bool
}

func (s side) String() string { return s.name + " on " + s.on }

const (
	ours   = "Millrace's broker"
	theirs = "Apache Kafka"
	inside = "the broker in its process"
)

// sides are the rows, ours first: ratios are to it.
func sides() []side {
	never := func(workload) bool { return false }
	return []side{
		{"Millrace", ours, millrace, never},
		{"Millrace", inside, millrace, func(w workload) bool { return !w.inside }},
		{"Millrace", theirs, millrace, never},
		{"loop by hand", ours, byHand, notByHand},
		{"loop by hand", theirs, byHand, notByHand},
		{"Kafka Streams", theirs, streams, never},
	}
}

// links are the rows of docs/design/batches.md.
func links() []side {
	onlyInside := func(w workload) bool { return !w.inside }
	return []side{
		{"Millrace", ours, millrace, notByHand},
		{byRecord, ours, millrace, notByHand},
		{"Millrace", inside, millrace, onlyInside},
		{byRecord, inside, millrace, onlyInside},
		{"Millrace", theirs, millrace, notByHand},
		{byRecord, theirs, millrace, notByHand},
		{"loop by hand", ours, byHand, notByHand},
		{"loop by hand", theirs, byHand, notByHand},
	}
}

// byRecord is the engine on the client's own records.
const byRecord = "Millrace by the client's records"

// tunings are the rows of what ARCHITECTURE.md says about Go's settings.
func tunings(bin string) []side {
	with := func(settings ...string) func(*bench, side, workload, *node, string) []string {
		return func(b *bench, s side, w workload, n *node, data string) []string {
			return append(append([]string{"env"}, settings...), millrace(b, s, w, n, data)...)
		}
	}
	all := []side{
		{"Millrace, GOGC=100", ours, with("GOGC=100"), notByHand},
		{"Millrace, GOGC=200", ours, with("GOGC=200"), notByHand},
		{"Millrace, GOGC=400", ours, with("GOGC=400"), notByHand},
		{"Millrace, GOGC=off GOMEMLIMIT=480MiB", ours, with("GOGC=off", "GOMEMLIMIT=480MiB"), notByHand},
	}
	if _, err := os.Stat(filepath.Join(bin, "bench-app-pgo")); err == nil {
		all = append(all, side{"Millrace, profile-guided", ours, func(b *bench, s side, w workload, n *node, data string) []string {
			argv := millrace(b, s, w, n, data)
			argv[0] += "-pgo"
			return argv
		}, notByHand})
	}
	return all
}

// takesPart are the sides of a workload.
func (b *bench) takesPart(w workload) []side {
	return slices.DeleteFunc(b.wanted(), func(s side) bool { return s.skips(w) })
}

// wanted are the sides that were asked for.
func (b *bench) wanted() []side {
	all := b.among
	if all == nil {
		all = sides()
	}
	return slices.DeleteFunc(slices.Clone(all), func(s side) bool { return !strings.Contains(s.String(), b.sides) })
}

// needs tells whether a side runs on a broker.
func (b *bench) needs(node string) bool {
	return slices.ContainsFunc(b.wanted(), func(s side) bool { return s.on == node })
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

// flags are those of Millrace and Kafka Streams.
func (b *bench) flags(w workload, n *node, data string) []string {
	stores := w.stores
	if stores == "rocksdb" {
		stores = b.backend
	}
	return []string{
		"-brokers", n.addr, "-topology", w.topology, "-input", w.input.topic(), "-table", w.table.topic(),
		"-stores", stores, "-data", data, "-workers", strconv.Itoa(workers), "-memory", strconv.FormatInt(w.memory, 10),
	}
}

func millrace(b *bench, s side, w workload, n *node, data string) []string {
	profile := ""
	if b.profs != "" {
		profile = filepath.Join(b.profs, strings.ReplaceAll(s.String()+" "+w.topology+" "+w.stores, " ", "-"))
	}
	argv := append([]string{filepath.Join(b.bin, "bench-app")}, b.flags(w, n, data)...)
	if s.name == byRecord {
		argv = append([]string{"env", link.Env + "=" + link.Records}, argv...)
	}
	if n.name == inside {
		argv = append(argv, "-broker", n.dir)
	}
	return append(argv, "-folded="+strconv.FormatBool(w.folded), "-profile", profile, "-commit", commitInterval.String(), "-linger", b.linger.String())
}

func byHand(b *bench, _ side, w workload, n *node, _ string) []string {
	return []string{
		filepath.Join(b.bin, "bench-byhand"), "-brokers", n.addr, "-topology", w.topology, "-input", w.input.topic(),
		"-folded=" + strconv.FormatBool(w.folded), "-commit", commitInterval.String(), "-linger", b.linger.String(),
	}
}

// streams is a JVM as Kafka's scripts start one: G1, its own choice of heap.
func streams(b *bench, _ side, w workload, n *node, data string) []string {
	line := kafkanode.CommandLine(nil, filepath.Join(b.dir, "log4j2.yaml"), b.peers+string(os.PathListSeparator)+b.kafka, "Peer")
	return append(append([]string{"java"}, line...), append(b.flags(w, n, data), "-folded", strconv.FormatBool(w.folded), "-cache", strconv.Itoa(cacheBytes),
		"-commit", strconv.FormatInt(commitInterval.Milliseconds(), 10), "-linger", strconv.FormatInt(b.linger.Milliseconds(), 10),
		"-batch", strconv.Itoa(batchBytes))...)
}

// startOurs starts bin/millrace broker; its flush policy is Kafka's, the page cache.
func (b *bench) startOurs(ctx context.Context) (*node, error) {
	dir := filepath.Join(b.dir, "millrace-broker")
	p, err := launch(ctx, dir+".log", filepath.Join(b.bin, "millrace"), "broker", "--data", dir, "--listen", "127.0.0.1:0", "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	addr, err := p.listening()
	if err != nil {
		return nil, errors.Join(err, p.end())
	}
	return &node{name: ours, addr: addr, dir: dir, pid: p.cmd.Process.Pid, stop: p.end}, nil
}

// listening is the address of a program whose first line tells it.
func (p *process) listening() (string, error) {
	line, err := p.line()
	if err != nil {
		return "", err
	}
	addr, ok := strings.CutPrefix(line, "listening on ")
	if !ok {
		return "", fmt.Errorf("the broker said %q", line)
	}
	return addr, nil
}

// kafkaJVM are the options of Kafka's own start script.
var kafkaJVM = []string{
	"-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
	"-XX:+ExplicitGCInvokesConcurrent",
}

// startTheirs starts Apache Kafka.
func (b *bench) startTheirs(ctx context.Context) (*node, error) {
	dir := filepath.Join(b.dir, "kafka")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	k, err := kafkanode.Start(ctx, kafkanode.Config{Dir: dir, JVM: kafkaJVM})
	if err != nil {
		return nil, err
	}
	pid, err := k.PID()
	if err != nil {
		k.Kill()
		return nil, err
	}
	return &node{name: theirs, addr: k.Addr, dir: filepath.Join(dir, "logs"), pid: pid, stop: k.Stop}, nil
}
