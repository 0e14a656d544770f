// SPDX-License-Identifier: Apache-2.0

// Program benchmarks compares Millrace with Kafka Streams on Apache Kafka, and
// with the loop that a Go engineer writes by hand, in one run on one machine:
// the same input, stop rule, commit interval and linger, all over TCP, outputs
// compared record for record before a figure counts. The figure to look at is
// processor time a record: it survives a noisy machine.
//
// "make bench" builds and runs it; results go to benchmarks/results.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/millrace/millrace/internal/kafkanode"
)

// A bench is one run of everything.
type bench struct {
	bin    string // the folder of our programs
	dir    string // of all files of this run; removed at a good end
	kafka  string // class path of Apache Kafka
	peers  string // class path of Peer
	cpus   string // processors that all programs share; "" for any
	quick  bool
	long   bool
	scale  float64 // share of the records
	warm   int     // repetitions after the first, at most
	limit  time.Duration
	linger time.Duration
	only   []string
	sides  string // "" for all
	among  []side // nil: sides()
	// backend is what Millrace has for RocksDB.
	backend string
	profs   string // where Millrace's profiles go; "" for none

	begin time.Time
	nodes map[string]*node
	runs  int
}

func main() {
	b := &bench{linger: linger, nodes: map[string]*node{}, begin: time.Now()}
	flag.StringVar(&b.bin, "bin", "bin", "the `folder` of millrace, bench-app, bench-byhand and bench-engine.test")
	flag.StringVar(&b.cpus, "cpus", "two", "`processors` that all programs share, as taskset takes them: 0,1; two: the first two; any")
	flag.BoolVar(&b.quick, "quick", false, "a tenth of the records, one repetition after the first, within 5 minutes")
	flag.BoolVar(&b.long, "all", false, "the workloads that take many minutes as well, and all repetitions, whatever time it takes")
	flag.Float64Var(&b.scale, "scale", 0, "the `share` of the records; 0: all, or a tenth with -quick")
	flag.IntVar(&b.warm, "warm", 3, "repetitions after the first, which is told apart as cold; fewer, but one, where the time is short")
	flag.DurationVar(&b.limit, "limit", 0, "the `time` that it may take; 0: 28m, or 270s with -quick, or any with -all")
	flag.StringVar(&b.sides, "sides", "", "only the `sides` whose name, as \"Millrace on Apache Kafka\", has this in it")
	flag.StringVar(&b.backend, "backend", "rocksdb", "rocksdb or pebble: where Millrace keeps what Kafka Streams keeps in RocksDB")
	flag.StringVar(&b.profs, "profiles", "", "a `folder` for CPU and allocation profiles of Millrace's runs; they cost some of the time")
	tune := flag.Bool("tunings", false, "Millrace under several settings of Go's collector, and with a profile built in where there is a bench-app-pgo, in place of the sides")
	ways := flag.Bool("links", false, "the sides of docs/design/batches.md in place of the others")
	out := flag.String("out", "", "the `file` for the result, without ending: .md, .svg and .txt, for benchstat, are written")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "benchmarks [flags] [topology or name of a workload | start | restore | latency | broker | engine] ...")
		flag.PrintDefaults()
	}
	flag.Parse()
	b.only = flag.Args()
	if *ways {
		b.among = links()
	}
	if *tune {
		b.among = tunings(b.bin)
	}
	b.settle()
	err := b.pin()
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = b.run(ctx, *out)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

// settle fills in what follows from the kind of run.
func (b *bench) settle() {
	if b.quick {
		b.warm = min(b.warm, 1)
	}
	if b.scale == 0 {
		b.scale = 1
		if b.quick {
			b.scale = 0.1
		}
	}
	if b.limit == 0 {
		switch {
		case b.long:
			b.limit = 365 * 24 * time.Hour
		case b.quick:
			b.limit = 270 * time.Second
		default:
			b.limit = 28 * time.Minute
		}
	}
}

func (b *bench) run(ctx context.Context, out string) (err error) {
	if b.dir, err = os.MkdirTemp("", "millrace-bench-"); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() {
		if err != nil {
			fmt.Fprintln(os.Stderr, "benchmarks: what the programs said is in", b.dir)
			return
		}
		err = os.RemoveAll(b.dir)
	}()
	r := &report{begin: b.begin, kind: b.kind(), machine: machine(ctx), cpus: b.cpus}
	if b.wants("engine") { // first: it needs no Java
		if err := b.engine(ctx, r); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
	}
	if len(b.only) != 1 || b.only[0] != "engine" {
		if err := b.compare(ctx, r); err != nil { // what was measured before is kept
			r.left = append(r.left, "all after "+err.Error())
			r.took = time.Since(b.begin)
			return errors.Join(err, r.write(os.Stdout, out))
		}
	}
	r.took = time.Since(b.begin)
	return r.write(os.Stdout, out)
}

func (b *bench) kind() string {
	if b.scale == 1 {
		return ""
	}
	return fmt.Sprintf("%g of the records, %d warm repetitions: good for a look, not for a claim", b.scale, b.warm)
}

// wants tells whether a part is asked for.
func (b *bench) wants(part string) bool { return len(b.only) == 0 || slices.Contains(b.only, part) }

// compare runs everything that has peers.
func (b *bench) compare(ctx context.Context, r *report) error {
	if b.needs(theirs) {
		if err := b.preparePeers(ctx, r); err != nil {
			return err
		}
	}
	if err := b.startNodes(ctx, r); err != nil {
		return errors.Join(err, b.stopNodes())
	}
	return errors.Join(b.all(ctx, r), b.stopNodes())
}

// preparePeers has the jars of Apache Kafka in place, and compiles Kafka Streams' side
// with the JDK's compiler.
func (b *bench) preparePeers(ctx context.Context, r *report) (err error) {
	if b.kafka, err = kafkanode.Classpath(); err != nil {
		return fmt.Errorf("the peers need Apache Kafka: %w", err)
	}
	if err := kafkanode.WriteLogging(filepath.Join(b.dir, "log4j2.yaml")); err != nil {
		return err
	}
	r.machine = append(r.machine, "Apache Kafka and Kafka Streams "+kafkanode.Version+
		"; RocksDB: Millrace and Kafka Streams use the library that comes with Kafka Streams where Millrace is built with it")
	b.peers = filepath.Join(b.dir, "classes")
	cmd := exec.CommandContext(ctx, "javac", "-cp", b.kafka, "-d", b.peers, filepath.Join("benchmarks", "peers", "src", "main", "java", "Peer.java"))
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile Peer.java (javac: apt-get install default-jdk-headless): %w\n%s", err, text)
	}
	return nil
}

// startNodes starts the brokers that are needed and tells how long each took until it served,
// and what it has in memory then.
func (b *bench) startNodes(ctx context.Context, r *report) error {
	for _, x := range []struct {
		name   string
		launch func(context.Context) (*node, error)
	}{{ours, b.startOurs}, {theirs, b.startTheirs}} {
		if !b.needs(x.name) {
			continue
		}
		begin := time.Now()
		n, err := x.launch(ctx)
		if err != nil {
			return err
		}
		b.nodes[n.name] = n
		took := time.Since(begin)
		u, err := used(n.pid)
		if err != nil {
			return err
		}
		r.starts = append(r.starts, start{what: n.name, took: took, memory: u.now})
	}
	return nil
}

func (b *bench) stopNodes() (err error) {
	for _, n := range b.nodes {
		err = errors.Join(err, n.stop())
	}
	return err
}

// reserve is the share of the time that is kept for the parts after the workloads.
const reserve = 0.25

// all measures every workload that was asked for, and the other parts.
func (b *bench) all(ctx context.Context, r *report) error {
	if b.wants("start") {
		if err := b.programs(ctx, r); err != nil {
			return fmt.Errorf("start: %w", err)
		}
	}
	until := b.begin.Add(time.Duration(float64(b.limit) * (1 - reserve)))
	rows := chosen(workloads(b.scale), b.only, b.long)
	for i, w := range rows {
		if time.Now().After(until) {
			b.leaveOut(r, w.name)
			continue
		}
		share := time.Until(until) / time.Duration(len(rows)-i)
		if err := b.measure(ctx, w, time.Now().Add(share), r); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	for _, part := range []struct {
		name string
		run  func(context.Context, *report) error
	}{{"restore", b.restores}, {"latency", b.latencies}, {"broker", b.brokers}} {
		if !b.wants(part.name) {
			continue
		}
		if time.Since(b.begin) > b.limit {
			b.leaveOut(r, part.name)
			continue
		}
		if err := part.run(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// leaveOut notes what the time was too short for.
func (b *bench) leaveOut(r *report, what string) {
	r.left = append(r.left, what)
	b.say("%s: left out, the time is over (-limit)", what)
}

// say tells how far the run is.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6s  %s\n", time.Since(b.begin).Round(time.Second), fmt.Sprintf(format, args...))
}
