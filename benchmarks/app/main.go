// SPDX-License-Identifier: Apache-2.0

// Program app is Millrace's side of the benchmarks: see internal/app.
package main

import (
	"fmt"
	"os"

	"github.com/millrace/millrace/benchmarks/internal/app"
)

func main() {
	if err := app.Run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}
