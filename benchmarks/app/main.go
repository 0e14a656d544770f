// SPDX-License-Identifier: Apache-2.0

// Program app is Millrace's side of the benchmarks: the topologies of
// benchmarks/peers/src/main/java/Peer.java, run on the same orders.
//
// It reads orders from standard input, a line each, and answers each with a line:
//
//	run APPLICATION OUTPUT   starts the topology; "running" when all its tasks run
//	stop                     closes it; "stopped"
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/pebble"
	"github.com/millrace/millrace/state/rocksdb"
)

func main() {
	var a app
	brokers := flag.String("brokers", "", "addresses of the cluster")
	flag.StringVar(&a.topology, "topology", "", "which topology")
	flag.StringVar(&a.input, "input", "", "the input topic")
	flag.StringVar(&a.table, "table", "", "the topic of the other side of a join")
	flag.BoolVar(&a.folded, "folded", false, "send results on once a commit, not with every update")
	flag.StringVar(&a.stores, "stores", "memory", "memory, rocksdb or pebble")
	flag.StringVar(&a.data, "data", "", "the folder of the stores")
	flag.DurationVar(&a.cfg.CommitInterval, "commit", 100*time.Millisecond, "the commit interval")
	linger := flag.Duration("linger", 10*time.Millisecond, "the producer's linger")
	flag.IntVar(&a.cfg.Workers, "workers", 2, "workers")
	flag.StringVar(&a.profile, "profile", "", "the beginning of the `names` of profiles: of each run NAME-APPLICATION.cpu and .mem")
	flag.Parse()
	a.cfg.Brokers = strings.Split(*brokers, ",")
	a.cfg.Client = []kgo.Opt{kgo.ProducerLinger(*linger)}
	a.cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err := a.serve(); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

// An app runs one topology, again and again.
type app struct {
	topology, input, table string
	folded                 bool
	stores, data           string
	profile                string
	cfg                    processor.Config

	running *processor.App
	backend state.Backend
	end     func() error // of the profile
}

func (a *app) serve() error {
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		switch words := strings.Fields(orders.Text()); {
		case len(words) == 3 && words[0] == "run":
			if err := a.run(words[1], words[2]); err != nil {
				return err
			}
			fmt.Println("running")
		case len(words) == 1 && words[0] == "stop":
			if err := a.stop(); err != nil {
				return err
			}
			fmt.Println("stopped")
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
