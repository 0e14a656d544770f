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
	"strings"
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
	cpus   string // processors that all programs share, for taskset; "" for any
	quick  bool
	long   bool
	warm   int // repetitions after the first
	linger time.Duration
	only   []string
	sides  string // "" for all
	profs  string // where Millrace's profiles go; "" for none

	nodes map[string]*node
	runs  int
}

func main() {
	b := &bench{linger: linger, nodes: map[string]*node{}}
	flag.StringVar(&b.bin, "bin", "bin", "the `folder` of millrace, bench-app and bench-byhand")
	flag.StringVar(&b.cpus, "cpus", "", "`processors` for taskset that all programs share, as 0,1; empty for any")
	flag.BoolVar(&b.quick, "quick", false, "a fifth of the records, one repetition after the first")
	flag.BoolVar(&b.long, "all", false, "the workloads that take many minutes as well")
	flag.IntVar(&b.warm, "warm", 3, "repetitions after the first, which is told apart as cold")
	flag.StringVar(&b.sides, "sides", "", "only the `sides` whose name, as \"Millrace on Apache Kafka\", has this in it")
	flag.StringVar(&b.profs, "profiles", "", "a `folder` for CPU and allocation profiles of Millrace's runs; they cost some of the time")
	out := flag.String("out", "", "the `file` for the result, without ending: .md and .svg are written")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "benchmarks [flags] [topology or name of a workload | latency | restore | broker | memory] ...")
		flag.PrintDefaults()
	}
	flag.Parse()
	b.only = flag.Args()
	if b.quick {
		b.warm = 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := b.run(ctx, *out)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context, out string) (err error) {
	begin := time.Now()
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
	if b.kafka, err = kafkanode.Classpath(); err != nil {
		return fmt.Errorf("the peers need Apache Kafka: %w", err)
	}
	if err := kafkanode.WriteLogging(filepath.Join(b.dir, "log4j2.yaml")); err != nil {
		return err
	}
	if err := b.compilePeers(ctx); err != nil {
		return err
	}
	r := &report{begin: begin, quick: b.quick, machine: machine(ctx), cpus: b.cpus}
	if err := b.startNodes(ctx, r); err != nil {
		return errors.Join(err, b.stopNodes())
	}
	err = b.all(ctx, r)
	if err := errors.Join(err, b.stopNodes()); err != nil {
		return err
	}
	r.took = time.Since(begin)
	return r.write(os.Stdout, out)
}

// compilePeers compiles Kafka Streams' side with the JDK's compiler.
func (b *bench) compilePeers(ctx context.Context) error {
	b.peers = filepath.Join(b.dir, "classes")
	cmd := exec.CommandContext(ctx, "javac", "-cp", b.kafka, "-d", b.peers, filepath.Join("benchmarks", "peers", "src", "main", "java", "Peer.java"))
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile Peer.java (javac: apt-get install default-jdk-headless): %w\n%s", err, text)
	}
	return nil
}

// startNodes starts both brokers and tells how long each took until it served,
// and what it has in memory then.
func (b *bench) startNodes(ctx context.Context, r *report) error {
	for _, launch := range []func(context.Context) (*node, error){b.startOurs, b.startTheirs} {
		begin := time.Now()
		n, err := launch(ctx)
		if err != nil {
			return err
		}
		b.nodes[n.name] = n
		u, err := used(n.pid)
		if err != nil {
			return err
		}
		r.starts = append(r.starts, start{n.name, time.Since(begin), u})
	}
	return nil
}

func (b *bench) stopNodes() (err error) {
	for _, n := range b.nodes {
		err = errors.Join(err, n.stop())
	}
	return err
}

// all measures every workload that was asked for.
func (b *bench) all(ctx context.Context, r *report) error {
	for _, w := range chosen(workloads(b.quick), b.only, b.long) {
		if err := b.measure(ctx, w, r); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	for _, part := range []struct {
		name string
		run  func(context.Context, *report) error
	}{{"restore", b.restores}, {"latency", b.latencies}, {"broker", b.brokers}} {
		if len(b.only) > 0 && !slices.Contains(b.only, part.name) {
			continue
		}
		if err := part.run(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// measure runs all sides of a workload, a repetition of each in turn.
func (b *bench) measure(ctx context.Context, w workload, r *report) (err error) {
	for _, n := range b.nodes {
		for _, in := range []input{w.input, w.table} {
			if err := load(ctx, n.addr, in); err != nil {
				return err
			}
		}
	}
	var all []*contender
	defer func() {
		for _, c := range all {
			err = errors.Join(err, c.leave())
		}
	}()
	for _, s := range sides() {
		if s.skips(w) || !strings.Contains(s.name+" on "+s.on, b.sides) {
			continue
		}
		c, err := b.enter(ctx, w, s)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	var want map[string]outcome
	for rep := range 1 + b.warm {
		for i, c := range all {
			id := fmt.Sprintf("%s-%d-%d-%d", w.topology, b.runs, i, rep)
			if err := c.repetition(ctx, w, id); err != nil {
				return err
			}
			fmt.Fprintln(os.Stderr, progress(w, c, rep))
			if rep == 0 {
				if want, err = c.check(ctx, w, id, want); err != nil {
					return err
				}
			}
			if err := c.remove(ctx, id); err != nil {
				return err
			}
		}
	}
	r.add(w, all)
	return nil
}

// check compares the output of a first repetition with what the first side wrote.
func (c *contender) check(ctx context.Context, w workload, id string, want map[string]outcome) (map[string]outcome, error) {
	got, err := c.outcomes(ctx, w, id)
	if err != nil || want == nil {
		return got, err
	}
	if differ := equal(got, want); differ != "" {
		return nil, fmt.Errorf("the outputs of %s on %s are others than ours: %s", c.side.name, c.side.on, differ)
	}
	return want, nil
}

// remove deletes the topics that a repetition made.
func (c *contender) remove(ctx context.Context, id string) error {
	topics, err := c.adm.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	var own []string
	for _, name := range topics.Names() {
		if name == id || strings.HasPrefix(name, id+"-") {
			own = append(own, name)
		}
	}
	if _, err := c.adm.DeleteTopics(ctx, own...); err != nil {
		return fmt.Errorf("delete the topics of %s: %w", id, err)
	}
	return os.RemoveAll(filepath.Join(c.data, id))
}

func progress(w workload, c *contender, rep int) string {
	s := c.samples[len(c.samples)-1]
	kind := "warm"
	if rep == 0 {
		kind = "cold"
	}
	return fmt.Sprintf("%s: %s on %s, %s: %.2f us a record (%.2f + broker %.2f), %.0f records/s", w.name, c.side.name, c.side.on, kind,
		s.perRecord(s.app+s.broker), s.perRecord(s.app), s.perRecord(s.broker), s.rate)
}
