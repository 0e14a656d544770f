// SPDX-License-Identifier: Apache-2.0

// Command millrace is the one binary of Millrace. So far it has the broker:
//
//	millrace broker --data DIR --listen HOST:PORT
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newRoot().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "millrace:", err)
		stop()
		os.Exit(1)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "millrace",
		Short:         "Stream processing in Go, with a Kafka-compatible broker",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newBroker())
	return root
}
