// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Flags are the flags that all commands share. The zero value, registered, is
// what a user gets who says nothing.
type Flags struct {
	Brokers string // host:port, separated by commas
	Timeout time.Duration
	JSON    bool

	TLS, Insecure bool
	CA, Cert, Key string // files, PEM

	Mechanism, User, Password string // SASL

	// Dial connects to a broker in the tests' process; nil: TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Variables of the environment that flags have their defaults from: what a shell
// session says once, and what should not be in a list of processes.
const (
	envBrokers   = "MILLRACE_BROKERS"
	envMechanism = "MILLRACE_SASL_MECHANISM"
	envUser      = "MILLRACE_USER"
	envPassword  = "MILLRACE_PASSWORD"
)

// Add gives cmd and the commands below it the flags.
func (f *Flags) Add(cmd *cobra.Command) {
	p := cmd.PersistentFlags()
	p.StringVarP(&f.Brokers, "brokers", "b", fromEnv(envBrokers, "127.0.0.1:9092"), "`host:port,...` to begin with; $"+envBrokers)
	p.DurationVar(&f.Timeout, "timeout", 30*time.Second, "how long to wait for the cluster")
	p.BoolVar(&f.JSON, "json", false, "print JSON")
	p.BoolVar(&f.TLS, "tls", false, "connect by TLS; implied by the other flags of TLS")
	p.StringVar(&f.CA, "ca", "", "`file` of certificates (PEM) that the brokers' are checked by (default: the system's)")
	p.StringVar(&f.Cert, "cert", "", "`file` of the client's certificate (PEM)")
	p.StringVar(&f.Key, "key", "", "`file` of the client's private key (PEM)")
	p.BoolVar(&f.Insecure, "insecure", false, "don't check the brokers' certificates")
	p.StringVar(&f.Mechanism, "sasl-mechanism", "", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER (default PLAIN if there is a user); $"+envMechanism)
	p.StringVar(&f.User, "user", "", "user of SASL; $"+envUser)
	p.StringVar(&f.Password, "password", "", "password, or token of OAUTHBEARER; better: $"+envPassword)
	for _, name := range []string{"ca", "cert", "key"} {
		_ = cmd.MarkPersistentFlagFilename(name)
	}
	_ = cmd.RegisterFlagCompletionFunc("sasl-mechanism", cobra.FixedCompletions(mechanisms, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("brokers", cobra.NoFileCompletions)
}

// seeds are the addresses of Brokers.
func (f *Flags) seeds() []string {
	var all []string
	for s := range strings.SplitSeq(f.Brokers, ",") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

func fromEnv(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// Group is a command that only has commands below it. Without one of them it
// prints its help; with another it fails.
func Group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return Usagef("unknown command %q: see %s --help", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(subs...)
	return cmd
}
