// SPDX-License-Identifier: Apache-2.0

// Command millrace is the one binary of Millrace: a broker that speaks Kafka's
// protocol, and commands for any cluster that does.
//
//	millrace broker --data DIR --listen HOST:PORT
//	millrace topics|groups|offsets|configs|logdirs ...
//	millrace app reset APPLICATION
//	millrace produce|consume TOPIC
//	millrace perf produce|consume|latency TOPIC
//
// docs/guide/cli.md shows them all.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/cmd/millrace/internal/admin"
	"github.com/millrace/millrace/cmd/millrace/internal/cli"
	"github.com/millrace/millrace/cmd/millrace/internal/perf"
	"github.com/millrace/millrace/cmd/millrace/internal/records"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newRoot(new(cli.Flags)).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "millrace:", err)
		stop()
		os.Exit(cli.ExitCode(err))
	}
}

// newRoot is the whole program. f is what the commands that talk to a cluster
// begin with.
func newRoot(f *cli.Flags) *cobra.Command {
	root := cli.Group("millrace", "Stream processing in Go, with a Kafka-compatible broker",
		newBroker(),
		admin.NewTopics(f), admin.NewGroups(f), admin.NewOffsets(f), admin.NewConfigs(f), admin.NewLogDirs(f), admin.NewApp(f),
		records.NewProduce(f), records.NewConsume(f), perf.New(f))
	root.Long = `Stream processing in Go, with a Kafka-compatible broker.

"millrace broker" is the broker. The other commands talk to any Kafka cluster.

Exit codes: 0 done, 1 refused by the cluster in whole or in part, 2 a mistake in the
command line, 3 no broker answers, 130 interrupted.`
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return cli.Usagef("%v: see %s --help", err, cmd.CommandPath())
	})
	return root
}
