// SPDX-License-Identifier: Apache-2.0

package records

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// NewProduce is "millrace produce".
func NewProduce(f *cli.Flags) *cobra.Command {
	var in input
	var how cli.Producing
	var rate float64
	cmd := &cobra.Command{
		Use: "produce TOPIC", Short: "Write lines of standard input to a topic", Args: cli.Args(cobra.ExactArgs(1)),
		Long: `Write lines of standard input to a topic, a record each, and say how many were
acknowledged. The first record that fails ends it.`,
		Example: `  printf 'alice:1\nbob:2\n' | millrace produce orders --key-separator :
  millrace consume orders --json --exit | millrace produce copy --input json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if rate < 0 {
				return cli.Usagef("--rate %v: must not be negative", rate)
			}
			if err := in.check(); err != nil {
				return err
			}
			opts, err := how.Options()
			if err != nil {
				return err
			}
			opts = append(opts, kgo.DefaultProduceTopic(args[0]), kgo.UnknownTopicRetries(0))
			if in.kind == "lines" {
				opts = append(opts, kgo.RecordDeliveryTimeout(f.Timeout))
			}
			if in.manual() {
				opts = append(opts, kgo.RecordPartitioner(mixedPartitioner()))
			}
			cl, err := f.Client(cmd.Context(), opts...)
			if err != nil {
				return err
			}
			defer cl.Close()
			p := &producer{cl: cl, rate: rate, timeout: f.Timeout, progress: cli.NewProgress(cmd.ErrOrStderr())}
			lines := in.open(cmd.InOrStdin())
			defer lines.close()
			err = p.run(cmd.Context(), lines.next)
			return p.report(f, cmd.OutOrStdout(), args[0], err)
		},
		ValidArgsFunction: cli.First(f.Topics()),
	}
	f.Add(cmd)
	in.add(cmd)
	how.Add(cmd, 5*time.Millisecond)
	cmd.Flags().Float64Var(&rate, "rate", 0, "records a second; 0: as fast as can be")
	return cmd
}

// A producer sends records and counts what becomes of them.
type producer struct {
	cl       *kgo.Client
	rate     float64
	timeout  time.Duration // of a record
	progress *cli.Progress

	mu    sync.Mutex
	acked int64
	bytes int64 // keys and values acknowledged
	err   error // the first
}

// run sends all that next returns, until that says io.EOF, and waits for the
// acknowledgements.
func (p *producer) run(ctx context.Context, next func(context.Context) (*kgo.Record, error)) error {
	failed, stop := context.WithCancel(ctx)
	defer stop()
	pace := cli.NewPace(p.rate)
	var sent int64
	var ended error
	for ended == nil {
		var r *kgo.Record
		if r, ended = next(failed); ended != nil {
			break
		}
		if ended = pace.Wait(failed, sent); ended != nil {
			break
		}
		sent++
		size := len(r.Key) + len(r.Value)
		delivery, cancel := p.delivery(ctx, r)
		p.cl.Produce(delivery, r, func(_ *kgo.Record, err error) {
			cancel()
			if p.done(size, err) {
				stop()
			}
		})
		p.progress.Show("%d records sent", sent)
	}
	// What was read is to arrive even if the user has had enough.
	flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if err := p.cl.Flush(flushing); err != nil {
		return fmt.Errorf("wait for acknowledgements: %w", err)
	}
	p.progress.Clear()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.err != nil:
		return fmt.Errorf("produce: %w", p.err)
	case ended == io.EOF: //nolint:errorlint // next's own word, never wrapped
		return nil
	default:
		return ended
	}
}

// delivery bounds how long a record may take. The user's interruption is no part
// of it: what was read is to arrive. kgo's own timeout counts from the record's
// timestamp, which serves only as long as that is now.
func (p *producer) delivery(ctx context.Context, r *kgo.Record) (context.Context, context.CancelFunc) {
	ctx = context.WithoutCancel(ctx)
	if r.Timestamp.IsZero() {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, p.timeout)
}

// flushTimeout bounds the wait for acknowledgements at the end; records have
// their own, --timeout, which is usually shorter.
const flushTimeout = 5 * time.Minute

// done counts one answer. It reports whether it was a failure.
func (p *producer) done(size int, err error) (failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if p.err == nil {
			p.err = err
		}
		return true
	}
	p.acked++
	p.bytes += int64(size)
	return false
}

// report tells what was acknowledged, also if err has ended it.
func (p *producer) report(f *cli.Flags, w io.Writer, topic string, err error) error {
	v := struct {
		Topic   string `json:"topic"`
		Records int64  `json:"records"`
		Bytes   int64  `json:"bytes"` // of keys and values
		Error   string `json:"error,omitempty"`
	}{Topic: topic, Records: p.acked, Bytes: p.bytes}
	if err != nil {
		v.Error = err.Error()
	}
	printed := f.Print(w, v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d records to %s\n", v.Records, cli.Clean(topic))
		return err
	})
	if err != nil {
		return err
	}
	return printed
}
