// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/processor"
)

// closeBound is how long a program that is told to end takes at most to do so.
const closeBound = 30 * time.Second

// Main runs t as a program: it reads the flags --brokers, --data and --listen,
// runs until SIGINT or SIGTERM, closes gracefully, and exits the process with 1
// after a failure, which it prints.
//
//	--brokers HOST:PORT,...  run on a Kafka cluster; without it the bundled broker runs in the process
//	--data DIR               the folder of logs and stores (millrace-data)
//	--listen HOST:PORT       where the bundled broker listens (127.0.0.1:9092)
func Main(t *processor.Topology) {
	var cfg Config
	brokers := flag.String("brokers", "", "addresses `host:port,...` of a Kafka cluster; without it the bundled broker runs in this process")
	flag.StringVar(&cfg.Data, "data", "millrace-data", "`folder` of the bundled broker's logs and of the stores")
	flag.StringVar(&cfg.Listen, "listen", "127.0.0.1:9092", "`host:port` at which the bundled broker listens")
	flag.Parse()
	if *brokers != "" {
		cfg.Brokers = strings.Split(*brokers, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := Run(ctx, t, cfg)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, t.ApplicationID()+":", err)
		os.Exit(1)
	}
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
