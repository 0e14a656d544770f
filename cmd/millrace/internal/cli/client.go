// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// mechanisms of SASL, in the order of the help.
var mechanisms = []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}

// Client returns a client of the cluster that the flags name, after one of its
// brokers has answered. The caller closes it. Errors: UsageError,
// ErrUnreachable.
func (f *Flags) Client(ctx context.Context, opts ...kgo.Opt) (*kgo.Client, error) {
	all, err := f.options()
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(append(all, opts...)...)
	if err != nil {
		return nil, Usagef("%v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	// A ping tells at once what is wrong; requests would try again and again.
	if err := cl.Ping(ctx); err != nil {
		cl.Close()
		return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, f.Brokers, err)
	}
	return cl, nil
}

// Admin runs fn with an administrator of the cluster, within the timeout.
func (f *Flags) Admin(ctx context.Context, fn func(ctx context.Context, adm *kadm.Client, cl *kgo.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	cl, err := f.Client(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	adm.SetTimeoutMillis(int32(min(f.Timeout.Milliseconds(), 1<<31-1)))
	err = fn(ctx, adm, cl)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w within %v: %w", ErrUnreachable, f.Timeout, err)
	}
	if err != nil && strings.Contains(err.Error(), tooOld) {
		return fmt.Errorf("the broker does not know this request: %w", err)
	}
	return err
}

// tooOld is in kgo's error for a request that a broker does not announce; it has
// no name.
const tooOld = "broker is too old"

// options are the flags as the client's.
func (f *Flags) options() ([]kgo.Opt, error) {
	seeds := f.seeds()
	if len(seeds) == 0 {
		return nil, Usagef("--brokers names none")
	}
	if f.Timeout <= 0 {
		return nil, Usagef("--timeout %v: must be above 0", f.Timeout)
	}
	opts := []kgo.Opt{kgo.ClientID("millrace"), kgo.SeedBrokers(seeds...)}
	security, err := f.tls()
	switch {
	case err != nil:
		return nil, err
	case f.Dial != nil:
		opts = append(opts, kgo.Dialer(f.Dial))
	case security != nil:
		opts = append(opts, kgo.DialTLSConfig(security))
	}
	mechanism, err := f.sasl()
	if err != nil {
		return nil, err
	}
	if mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
	}
	return opts, nil
}

// tls is nil without TLS.
func (f *Flags) tls() (*tls.Config, error) {
	if !f.TLS && !f.Insecure && f.CA == "" && f.Cert == "" && f.Key == "" {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: f.Insecure}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, Usagef("--ca: %v", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, Usagef("--ca %s: no certificate in it", f.CA)
		}
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, Usagef("--cert and --key go together")
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, Usagef("--cert %s --key %s: %v", f.Cert, f.Key, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// sasl is nil without a mechanism and a user. What no flag says is in the
// environment.
func (f *Flags) sasl() (sasl.Mechanism, error) {
	or := func(flag, env string) string {
		if flag != "" {
			return flag
		}
		return os.Getenv(env)
	}
	mechanism := strings.ToUpper(or(f.Mechanism, envMechanism))
	user, password := or(f.User, envUser), or(f.Password, envPassword)
	if mechanism == "" {
		if user == "" {
			return nil, nil
		}
		mechanism = mechanisms[0]
	}
	if mechanism == "OAUTHBEARER" {
		if password == "" {
			return nil, Usagef("--sasl-mechanism %s: no token in --password or $%s", mechanism, envPassword)
		}
		return oauth.Auth{Token: password}.AsMechanism(), nil
	}
	if user == "" || password == "" {
		return nil, Usagef("--sasl-mechanism %s: no user or no password: --user or $%s, --password or $%s", mechanism, envUser, envPassword)
	}
	switch mechanism {
	case "PLAIN":
		return plain.Auth{User: user, Pass: password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: user, Pass: password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: user, Pass: password}.AsSha512Mechanism(), nil
	}
	return nil, Usagef("--sasl-mechanism %s: want one of %s", mechanism, strings.Join(mechanisms, ", "))
}
