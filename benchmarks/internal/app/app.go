// SPDX-License-Identifier: Apache-2.0

// Package app is Millrace's side of the benchmarks: the topologies of
// benchmarks/peers/src/main/java/Peer.java, run on the same orders.
//
// It reads orders, a line each, and answers each with a line:
//
//	run APPLICATION OUTPUT   starts the topology; "running" when all its tasks run
//	stop                     closes it; "stopped"
//
// With -broker it runs a broker in its own process and uses that one; its first
// line is then "listening on ADDRESS", for those who fill and read topics.
package app

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/pebble"
	"github.com/millrace/millrace/state/rocksdb"
)

// Run is the program: flags, orders and answers.
func Run(argv []string, orders io.Reader, answers io.Writer) error {
	a := app{out: answers}
	flags := flag.NewFlagSet("app", flag.ContinueOnError)
	brokers := flags.String("brokers", "", "addresses of the cluster")
	flags.StringVar(&a.topology, "topology", "", "which topology")
	flags.StringVar(&a.input, "input", "", "the input topic")
	flags.StringVar(&a.table, "table", "", "the topic of the other side of a join")
	flags.BoolVar(&a.folded, "folded", false, "send results on once a commit, not with every update")
	flags.StringVar(&a.stores, "stores", "memory", "memory, rocksdb or pebble")
	flags.StringVar(&a.data, "data", "", "the folder of the stores")
	flags.DurationVar(&a.cfg.CommitInterval, "commit", 100*time.Millisecond, "the commit interval")
	flags.DurationVar(&a.linger, "linger", 10*time.Millisecond, "the producer's linger")
	flags.IntVar(&a.cfg.Workers, "workers", 2, "workers")
	flags.Int64Var(&a.cfg.MemoryLimit, "memory", 0, "bytes that the state may take; 0: the default")
	dir := flags.String("broker", "", "run a broker in this process, with its logs in this `folder`")
	flags.StringVar(&a.profile, "profile", "", "the beginning of the `names` of profiles: of each run NAME-APPLICATION.cpu and .mem")
	if err := flags.Parse(argv); err != nil {
		return err
	}
	a.cfg.Brokers = strings.Split(*brokers, ",")
	// franz-go compresses with Snappy by itself; the other sides do not.
	a.cfg.Client = []kgo.Opt{kgo.ProducerLinger(a.linger), kgo.ProducerBatchCompression(kgo.NoCompression())}
	a.cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	// What README.md advises; an engine that keeps little garbage runs a collector that
	// is asked for a small heap all the time.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(processor.HeapLimit(a.cfg.MemoryLimit))
	}
	err := a.startBroker(*dir)
	if err == nil {
		err = a.serve(orders)
	}
	if a.inside != nil {
		err = errors.Join(err, a.inside.Close())
	}
	return err
}

// startBroker runs a broker in this process and has the application use it, if dir
// is not "".
func (a *app) startBroker(dir string) error {
	if dir == "" {
		return nil
	}
	b, err := broker.Open(context.Background(), broker.Config{Dir: dir, Listen: "127.0.0.1:0", Logger: a.cfg.Logger})
	if err != nil {
		return fmt.Errorf("start a broker: %w", err)
	}
	a.inside = b
	a.cfg.Brokers, a.cfg.Dial = b.Bootstrap(), b.Dial
	fmt.Fprintln(a.out, "listening on", b.Addr())
	return nil
}

// An app runs one topology, again and again.
type app struct {
	topology, input, table string
	folded                 bool
	stores, data           string
	profile                string
	linger                 time.Duration
	out                    io.Writer
	cfg                    processor.Config
	inside                 *broker.Broker // nil if the broker is elsewhere

	running *processor.App
	backend state.Backend
	end     func() error // of the profile
}

func (a *app) serve(in io.Reader) error {
	for orders := bufio.NewScanner(in); orders.Scan(); {
		switch words := strings.Fields(orders.Text()); {
		case len(words) == 3 && words[0] == "run":
			if err := a.run(words[1], words[2]); err != nil {
				return err
			}
			fmt.Fprintln(a.out, "running")
		case len(words) == 1 && words[0] == "stop":
			if err := a.stop(); err != nil {
				return err
			}
			fmt.Fprintln(a.out, "stopped")
		default:
			return fmt.Errorf("order %q is not understood", orders.Text())
		}
	}
	return nil
}

func (a *app) run(id, output string) error {
	build, ok := topologies[a.topology]
	if !ok {
		return fmt.Errorf("no topology %q", a.topology)
	}
	t := processor.NewTopology(id)
	build(t, a, output)
	a.backend = a.store(filepath.Join(a.data, id))
	a.cfg.Stores = a.backend
	running := make(chan struct{})
	a.cfg.Listener = func(s processor.State) {
		if s == processor.Running && running != nil {
			close(running)
			running = nil
		}
	}
	wait := running
	end, err := profile(a.profile, id)
	if err != nil {
		return err
	}
	a.end = end
	started, err := processor.Start(context.Background(), t, a.cfg)
	if err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", id, err), a.close())
	}
	a.running = started
	select {
	case <-wait:
		return nil
	case <-started.Done():
		return fmt.Errorf("run %s: %w", id, started.Err())
	}
}

func (a *app) store(dir string) state.Backend {
	switch a.stores {
	case "rocksdb":
		return rocksdb.At(dir)
	case "pebble":
		return pebble.At(dir)
	default:
		return state.Memory()
	}
}

func (a *app) stop() error {
	bound, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(a.running.Close(bound), a.close())
}

// close ends the profile and closes the stores.
func (a *app) close() error { return errors.Join(a.end(), a.backend.Close()) }
