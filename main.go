// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/processor"
)

// closeBound is how long a program that is told to end takes at most to do so.
const closeBound = 30 * time.Second

// Main runs t as a program: it reads the flags below, runs until SIGINT or SIGTERM,
// closes gracefully, and exits the process with 1 after a failure, which it prints.
//
//	--brokers HOST:PORT,...  run on a Kafka cluster; without it the bundled broker runs in the process
//	--data DIR               the folder of logs and stores (millrace-data)
//	--listen HOST:PORT       where the bundled broker listens (127.0.0.1:9092)
//	--describe[=FORMAT]      print the topology as text, mermaid, dot or json, and end
//	--memory-limit SIZE      memory of state and records in hand, as 512M or 2G (512M); Go's heap is
//	                         bounded by it too, unless GOMEMLIMIT says otherwise
//
// Unless GOGC says otherwise, Go's collector runs as with GOGC=400: the engine keeps little
// between records, and a collector that aims at twice of that runs all the time.
func Main(t *processor.Topology) {
	var cfg Config
	brokers := flag.String("brokers", "", "addresses `host:port,...` of a Kafka cluster; without it the bundled broker runs in this process")
	flag.StringVar(&cfg.Data, "data", "millrace-data", "`folder` of the bundled broker's logs and of the stores")
	flag.StringVar(&cfg.Listen, "listen", "127.0.0.1:9092", "`host:port` at which the bundled broker listens")
	flag.Var((*size)(&cfg.Engine.MemoryLimit), "memory-limit", "`bytes` of state and of records in hand, with K, M or G behind it; 512M")
	var format describeFlag
	flag.Var(&format, "describe", "print the topology as `text`, mermaid, dot or json (--describe=dot), and end")
	flag.Parse()
	if format != "" {
		exitOn(t, describe(os.Stdout, t, string(format)))
		return
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(processor.HeapLimit(cfg.Engine.MemoryLimit))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if *brokers != "" {
		cfg.Brokers = strings.Split(*brokers, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := Run(ctx, t, cfg)
	stop()
	exitOn(t, err)
}

// exitOn ends the process with 1 after a failure.
func exitOn(t *processor.Topology, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, t.ApplicationID()+":", err)
		os.Exit(1)
	}
}

// size is a number of bytes as a flag: 1024, 512M, 2GiB.
type size int64

func (s *size) String() string { return strconv.FormatInt(int64(*s), 10) }

func (s *size) Set(text string) error {
	number := strings.TrimSuffix(strings.TrimSuffix(text, "B"), "i")
	shift := 0
	if n := len(number); n > 0 {
		if i := strings.IndexByte("KMGT", number[n-1]); i >= 0 {
			number, shift = number[:n-1], 10*(i+1)
		}
	}
	v, err := strconv.ParseInt(number, 10, 64)
	if err != nil || v <= 0 || v > math.MaxInt64>>shift {
		return fmt.Errorf("%q is not a size such as 512M", text)
	}
	*s = size(v << shift)
	return nil
}

// Run starts t and waits until ctx ends, which closes it gracefully within 30
// seconds, or until it fails.
func Run(ctx context.Context, t *processor.Topology, cfg Config) error {
	i, err := Start(ctx, t, cfg)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-i.App.Done(): // it has failed: Close tells with what
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
	defer cancel()
	return i.Close(bound)
}
