// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Config says how to reach a cluster. The zero value of a field means the
// default in its comment.
type Config struct {
	Brokers  []string // host:port; required
	Group    string   // group id; required
	ClientID string   // the group id

	TLS  *tls.Config // none: plain text
	SASL SASL        // none

	// Dialer opens connections: a broker in the same process gives one.
	Dialer func(ctx context.Context, network, address string) (net.Conn, error)

	// MaxInFlight bounds the bytes that are appended and not acknowledged. 32 MiB.
	MaxInFlight int64
	// MaxRecordBytes is the largest batch, and with it the largest record, that is sent
	// to a topic that Limit was not told of. 1,000,012: max.message.bytes' default.
	MaxRecordBytes int32
	// ReadMemory is what one fetch of a Reader may take in memory, in bytes: less is asked
	// for where batches grow when they are decoded. At least a batch comes. 64 MiB.
	ReadMemory int64
	// Linger is how long a batch may wait for more records. 5ms; NoLinger sends at once.
	Linger time.Duration

	Log *slog.Logger // discards

	// OnAway is called when no broker can be reached, with the cause, and with nil
	// when one answers again. It must not block.
	OnAway func(cause error)

	// Extra is an escape to franz-go: options that are applied last.
	Extra []kgo.Opt

	// ByRecord sends and fetches through the client's own records, which costs more than
	// batches do. Extra options that only the client's own ways know have it go so, too, and
	// [Env] set to [Records] in the environment has the same effect.
	ByRecord bool
}

// Env is the environment variable that chooses how all links go, for a comparison, and for
// whoever suspects a fault.
const (
	Env     = "MILLRACE_LINK"
	Records = "records"
)

// NoLinger is the Linger of who wants each record sent at once.
const NoLinger time.Duration = -1

// A SASL is how to authenticate. The zero value is not at all.
type SASL struct {
	Mechanism string // "", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512" or "OAUTHBEARER"
	User      string
	Password  string
	// Token gives the token for OAUTHBEARER, each time a connection needs one.
	Token func(ctx context.Context) (string, error)
}

// Check returns all that is wrong with the configuration.
func (c *Config) Check() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("no broker address is given"))
	}
	if c.Group == "" {
		errs = append(errs, errors.New("no group id is given"))
	}
	if _, err := c.SASL.mechanism(); err != nil {
		errs = append(errs, err)
	}
	if err := kgo.ValidateOpts(c.Extra...); err != nil {
		errs = append(errs, fmt.Errorf("extra client options: %w", err))
	}
	return errors.Join(errs...)
}

func (s SASL) mechanism() (sasl.Mechanism, error) {
	switch s.Mechanism {
	case "":
		return nil, nil
	case "PLAIN":
		return plain.Auth{User: s.User, Pass: s.Password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: s.User, Pass: s.Password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: s.User, Pass: s.Password}.AsSha512Mechanism(), nil
	case "OAUTHBEARER":
		if s.Token == nil {
			return nil, errors.New("SASL mechanism OAUTHBEARER needs a token function")
		}
		return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			token, err := s.Token(ctx)
			return oauth.Auth{Token: token}, err
		}), nil
	}
	return nil, fmt.Errorf("SASL mechanism %q is not one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER", s.Mechanism)
}

// ClientOptions are the options of a franz-go client for the same cluster: the way
// to it, its security, and the extra options. Requests are tried again for as long
// as their context allows: a broker that is away is waited for, and it is the caller
// who says for how long.
func (c Config) ClientOptions() []kgo.Opt { return append(c.access(), c.Extra...) }

func (c *Config) access() []kgo.Opt {
	id := c.ClientID
	if id == "" {
		id = c.Group
	}
	opts := []kgo.Opt{kgo.SeedBrokers(c.Brokers...)}
	if id != "" {
		opts = append(opts, kgo.ClientID(id))
	}
	opts = append(opts,
		kgo.Dialer(c.persistent),
		kgo.RequestRetries(math.MaxInt32),
		kgo.RetryTimeout(0),
		kgo.RetryBackoffFn(backoff),
		kgo.AlwaysRetryEOF(), // a broker that is stopping closes what it has just accepted
	)
	if m, err := c.SASL.mechanism(); err == nil && m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return opts
}

// options are those that every client of the engine has.
func (c *Config) options() []kgo.Opt {
	return append(c.access(),
		kgo.SoftwareNameAndVersion("millrace", "0"),
		kgo.DisableClientMetrics(),
		kgo.WithLogger(clientLog{c.Log}),
	)
}

// dial opens a connection, with TLS over it if there is any.
func (c *Config) dial(ctx context.Context, network, address string) (net.Conn, error) {
	open := c.Dialer
	if open == nil {
		open = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	conn, err := open(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if c.TLS == nil {
		return conn, nil
	}
	conf := c.TLS.Clone()
	if conf.ServerName == "" {
		if host, _, err := net.SplitHostPort(address); err == nil {
			conf.ServerName = host
		}
	}
	secure := tls.Client(conn, conf)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's failure says it all
		return nil, &tlsError{err}
	}
	return secure, nil
}

// tlsError keeps a failed handshake from being taken for a broker that is away.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "tls handshake: " + e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// persistent is dial, with failures that the client tries again: of its own accord
// it gives up at once if the only address it knows refuses.
func (c *Config) persistent(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, address)
	if _, ok := errors.AsType[*tlsError](err); err == nil || ok || ctx.Err() != nil {
		return conn, err
	}
	return nil, &dialError{text: err.Error(), op: net.OpError{Op: "dial", Net: network, Err: errUnreachable}}
}

var errUnreachable = errors.New("unreachable")

// dialError is a failed dial in the shape that the client takes for a passing one:
// temporary, and a *net.OpError of "dial", which makes it look the coordinator and
// the controller up again.
type dialError struct {
	text string
	op   net.OpError
}

func (e *dialError) Error() string   { return e.text }
func (e *dialError) Temporary() bool { return true }
func (e *dialError) Unwrap() error   { return &e.op }

// backoff is the wait before try n of a request, from 1: 100 ms, doubled up to 2 s.
func backoff(n int) time.Duration {
	return min(100*time.Millisecond<<min(max(n, 1)-1, 5), 2*time.Second)
}

// clientLog passes what the client says on as debugging help: whatever matters to
// the application comes back from it as an error or an event.
type clientLog struct{ log *slog.Logger }

func (l clientLog) Level() kgo.LogLevel {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelNone
}

func (l clientLog) Log(_ kgo.LogLevel, msg string, args ...any) {
	l.log.Debug("kafka client: "+msg, args...)
}
