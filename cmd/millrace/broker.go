// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millrace/millrace/broker"
)

// brokerFlags are the flags that are not fields of broker.Config as they are.
type brokerFlags struct {
	flush    string
	logLevel string
	metrics  string
	pprof    bool
	config   string   // a file
	set      []string // name=value

	memoryLimit int64 // bytes; 0: see heapLimit; below 0: none
}

func newBroker() *cobra.Command {
	var cfg broker.Config
	var flags brokerFlags
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Run a broker until SIGTERM or SIGINT",
		Long: `Run one durable Kafka-compatible broker until SIGTERM or SIGINT.

Once it serves it prints one line, "listening on HOST:PORT", to standard output;
everything else is logged to standard error.

--flush says what an acknowledgement promises:
  os        the batch is in the page cache: it survives a kill -9 of the broker,
            not a crash of the machine (Kafka's default)
  batch     an fsync has made it durable
  interval  as os, with an fsync at most --flush-interval after the batch

--set and the file of --config take broker configs by Kafka's names
(log.retention.ms, group.consumer.session.timeout.ms ...): those that "millrace
configs describe broker ID --all" lists, and a few in other units
(log.retention.hours). What the broker does not honour is refused. A flag wins over
the file, --set over both.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.configure(&cfg, cmd.Flags()); err != nil {
				return err
			}
			if err := flags.apply(&cfg, cmd.ErrOrStderr()); err != nil {
				return err
			}
			return runBroker(cmd.Context(), cfg, &flags, cmd.OutOrStdout())
		},
	}
	flags.register(cmd.Flags(), &cfg)
	return cmd
}

// register adds the flags to f.
func (flags *brokerFlags) register(f *pflag.FlagSet, cfg *broker.Config) {
	f.StringVar(&cfg.Dir, "data", "", "data `directory`; empty: in memory, all is forgotten at the end")
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:9092", "TCP address to listen on; port 0 for any")
	f.StringVar(&cfg.Advertise, "advertise", "", "`host:port` that clients are told to connect to (default: the address listened on)")
	f.Int32Var(&cfg.NodeID, "node-id", 1, "node id")
	f.BoolVar(&cfg.AutoCreateTopics, "auto-create", false, "create a topic when a client asks for it")
	f.Int32Var(&cfg.NumPartitions, "partitions", 1, "partitions of topics created without a number")
	f.StringVar(&flags.flush, "flush", "os", "what an acknowledgement promises: os, batch or interval")
	f.DurationVar(&cfg.Flush.Interval, "flush-interval", time.Second, "interval of --flush interval")
	f.Int64Var(&cfg.SegmentBytes, "segment-bytes", 1<<30, "length at which a log segment is rolled")
	f.IntVar(&cfg.MessageMaxBytes, "message-max-bytes", 1048588, "largest record batch")
	f.Int64Var(&cfg.RequestMemory, "request-memory", 256<<20, "bytes of all requests in memory together")
	f.Int64Var(&flags.memoryLimit, "memory-limit", 0,
		"bytes of memory that the garbage collector aims at; -1: none (default: 256 MiB and twice --request-memory, with --data and without GOMEMLIMIT)")
	f.DurationVar(&cfg.RequestTimeout, "request-timeout", 30*time.Second, "how long a request may take to arrive, and an answer to go on")
	f.IntVar(&cfg.MaxPartitions, "max-partitions", 20_000, "partitions of all topics together")
	f.IntVar(&cfg.MaxOpenSegments, "max-open-segments", 4096, "segment files open at a time, beside those that are not synced")
	f.DurationVar(&cfg.GroupInitialRebalanceDelay, "group-initial-rebalance-delay", 0, "how long a new group waits for more members")
	f.StringVar(&flags.config, "config", "", "`file` of broker configs, in the shape of Kafka's server.properties")
	f.StringArrayVar(&flags.set, "set", nil, "a broker config, `name=value`, by Kafka's name; may be repeated")
	f.StringVar(&flags.metrics, "metrics", "", "`host:port` of an HTTP server with /metrics (Prometheus) and /healthz; without a host 127.0.0.1; empty: none")
	f.BoolVar(&flags.pprof, "pprof", false, "serve Go's profiles too, under /debug/pprof/ of --metrics")
	f.StringVar(&flags.logLevel, "log-level", "info", "debug, info, warn or error")
}

// apply turns flags into what cfg holds.
func (flags *brokerFlags) apply(cfg *broker.Config, logs io.Writer) error {
	modes := map[string]broker.FlushMode{"os": broker.FlushOS, "batch": broker.FlushBatch, "interval": broker.FlushInterval}
	mode, ok := modes[flags.flush]
	if !ok {
		return fmt.Errorf("--flush %q: want os, batch or interval", flags.flush)
	}
	cfg.Flush.Mode = mode
	var level slog.Level
	if err := level.UnmarshalText([]byte(flags.logLevel)); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	cfg.Logger = slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: level}))
	return nil
}

// heapBase is what a broker may take besides requests and long answers: partitions,
// connections, groups, and the table of keys while it compacts.
const heapBase = 256 << 20

// heapLimit is what debug.SetMemoryLimit is given: from below, the collector runs when
// the heap has doubled; near it, as often as it must. 0 leaves it as it is: what has no
// --data is in the heap, and who has set GOMEMLIMIT knows.
func (flags *brokerFlags) heapLimit(cfg *broker.Config) int64 {
	switch {
	case flags.memoryLimit < 0:
		return math.MaxInt64
	case flags.memoryLimit > 0:
		return flags.memoryLimit
	case cfg.Dir == "" || os.Getenv("GOMEMLIMIT") != "":
		return 0
	default:
		return heapBase + 2*cfg.RequestMemory
	}
}

// runBroker serves until ctx ends, with metrics if there is an address for them.
func runBroker(ctx context.Context, cfg broker.Config, flags *brokerFlags, out io.Writer) (err error) {
	if n := flags.heapLimit(&cfg); n > 0 {
		debug.SetMemoryLimit(n)
	}
	m, err := listenMetrics(flags.metrics, cfg.Logger)
	if err != nil {
		return err
	}
	if m != nil {
		cfg.Metrics, m.profiles = m.registry, flags.pprof
	}
	b, err := broker.Open(ctx, cfg)
	if err != nil {
		return errors.Join(err, m.Close())
	}
	m.serve(b.Health)
	defer func() { err = errors.Join(err, b.Close(), m.Close()) }()
	if m != nil {
		cfg.Logger.Info("metrics", "url", "http://"+m.addr()+"/metrics")
	}
	if _, err := fmt.Fprintf(out, "listening on %s\n", b.ListenAddr()); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
