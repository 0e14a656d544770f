// SPDX-License-Identifier: Apache-2.0

package perf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

func newProduce(f *cli.Flags) *cobra.Command {
	var l load
	cmd := &cobra.Command{
		Use: "produce TOPIC", Short: "Measure how fast records are acknowledged", Args: cli.Args(cobra.ExactArgs(1)),
		Long: `Measure how fast records are acknowledged. With --rate a record's latency counts from
when it was meant to be sent, without from when the client took it.`,
		Example: "  millrace perf produce bench --records 1000000 --size 100 --compression lz4",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := l.check(1); err != nil {
				return err
			}
			opts, err := l.Options()
			if err != nil {
				return err
			}
			cl, err := f.Client(cmd.Context(), append(opts, kgo.DefaultProduceTopic(args[0]), kgo.RecordDeliveryTimeout(f.Timeout),
				kgo.UnknownTopicRetries(0))...)
			if err != nil {
				return err
			}
			defer cl.Close()
			s := newSender(cl, linesOf(cmd.ErrOrStderr(), l.quiet))
			v := newValues(l.size)
			err = s.run(cmd.Context(), &l, func(time.Duration) []byte { return v.next() })
			r := s.result()
			return errors.Join(err, f.Print(cmd.OutOrStdout(), r, func(w io.Writer) error { return r.write(w, "latency") }))
		},
		ValidArgsFunction: cli.First(f.Topics()),
	}
	l.add(cmd, 100_000, 0, 5*time.Millisecond)
	return cmd
}

func linesOf(w io.Writer, quiet bool) io.Writer {
	if quiet {
		return nil
	}
	return w
}

// A sender sends a load and measures its acknowledgements.
type sender struct {
	cl *kgo.Client

	mu     sync.Mutex
	meter  *meter
	errors int64
	err    error // the first
	ended  time.Time
}

func newSender(cl *kgo.Client, lines io.Writer) *sender {
	return &sender{cl: cl, meter: newMeter(lines)}
}

// run sends l.records records and waits for their acknowledgements. value gets
// the time, since the start, at which a record is meant to be sent.
func (s *sender) run(ctx context.Context, l *load, value func(time.Duration) []byte) error {
	pace := cli.NewPace(l.rate)
	for n := range l.records {
		if err := pace.Wait(ctx, n); err != nil {
			break
		}
		due := pace.Due(n)
		v := value(due.Sub(s.meter.start))
		s.cl.Produce(ctx, &kgo.Record{Value: v}, func(_ *kgo.Record, err error) { s.done(due, len(v), err) })
	}
	flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	err := s.cl.Flush(flushing)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = time.Now()
	if s.err != nil {
		return fmt.Errorf("%d of %d records: %w", s.errors, l.records, s.err)
	}
	return errors.Join(err, ctx.Err())
}

// flushTimeout bounds the wait for the last acknowledgements.
const flushTimeout = 5 * time.Minute

func (s *sender) done(due time.Time, size int, err error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if s.errors++; s.err == nil {
			s.err = err
		}
		return
	}
	s.meter.count(1, int64(size))
	s.meter.took(now.Sub(due))
	s.meter.tick(now)
}

func (s *sender) result() result {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.meter.all.result(s.ended)
	r.Errors = s.errors
	return r
}

// acknowledged is how many records were.
func (s *sender) acknowledged() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meter.all.records
}
