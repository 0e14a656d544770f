// SPDX-License-Identifier: Apache-2.0

package perf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// A latencyResult is what "perf latency" prints.
type latencyResult struct {
	result
	EndToEnd *latency `json:"end_to_end_ms"`
	Received int64    `json:"received"`
}

func newLatency(f *cli.Flags) *cobra.Command {
	var l load
	cmd := &cobra.Command{
		Use: "latency TOPIC", Short: "Measure how long records take from producer to consumer", Args: cli.Args(cobra.ExactArgs(1)),
		Long: `Measure how long records take: until they are acknowledged, and until a consumer of the
topic has them. Both count from when a record was meant to be sent at the rate
asked for, however late it was.`,
		Example: "  millrace perf latency bench --rate 1000 --records 30000",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := l.check(stampBytes); err != nil {
				return err
			}
			if l.rate == 0 {
				return cli.Usagef("--rate must be above 0: without one there is no time at which a record is meant to be sent")
			}
			r, err := measureLatency(cmd.Context(), f, args[0], &l, linesOf(cmd.ErrOrStderr(), l.quiet))
			if r == nil {
				return err
			}
			return errors.Join(err, f.Print(cmd.OutOrStdout(), r, r.write))
		},
		ValidArgsFunction: cli.First(f.Topics()),
	}
	l.add(cmd, 10_000, 1000, 0)
	return cmd
}

func (r *latencyResult) write(w io.Writer) error {
	if err := r.result.write(w, "produce"); err != nil || r.EndToEnd == nil {
		return err
	}
	return r.EndToEnd.write(w, "end-to-end")
}

func measureLatency(ctx context.Context, f *cli.Flags, topic string, l *load, lines io.Writer) (*latencyResult, error) {
	at, err := endOf(ctx, f, topic)
	if err != nil {
		return nil, err
	}
	opts, err := l.Options()
	if err != nil {
		return nil, err
	}
	producing, err := f.Client(ctx, append(opts, kgo.DefaultProduceTopic(topic), kgo.RecordDeliveryTimeout(f.Timeout))...)
	if err != nil {
		return nil, err
	}
	defer producing.Close()
	consuming, err := f.Client(ctx, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}))
	if err != nil {
		return nil, err
	}
	defer consuming.Close()

	s := newSender(producing, lines)
	rec := &receiver{cl: consuming, run: rand.Uint64(), start: s.meter.start, want: l.records}
	receiving, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { rec.receive(receiving) })
	v := newValues(l.size)
	sent := s.run(ctx, l, func(due time.Duration) []byte { return v.stamped(rec.run, int64(due)) })
	if s.acknowledged() < l.records {
		stop() // what failed does not arrive
	}
	late := time.AfterFunc(f.Timeout, stop)
	wg.Wait()
	late.Stop()
	r := &latencyResult{result: s.result(), EndToEnd: latencyOf(&rec.took), Received: int64(rec.took.Count())}
	if sent == nil && r.Received < l.records && rec.err == nil {
		rec.err = fmt.Errorf("%d of %d records arrived within %v of the last acknowledgement", r.Received, l.records, f.Timeout)
	}
	return r, errors.Join(sent, rec.err)
}

// endOf is where a topic ends now.
func endOf(ctx context.Context, f *cli.Flags, topic string) (map[int32]kgo.Offset, error) {
	at := make(map[int32]kgo.Offset)
	err := f.Admin(ctx, func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
		ends, err := adm.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return fmt.Errorf("end offsets: %w", err)
		}
		ends.Each(func(o kadm.ListedOffset) { at[o.Partition] = kgo.NewOffset().At(o.Offset) })
		return nil
	})
	return at, err
}

// A receiver takes the records of one run and notes how old they are.
type receiver struct {
	cl    *kgo.Client
	run   uint64
	start time.Time // of the run
	want  int64
	took  Histogram
	err   error
}

// receive returns when all are there, or ctx ends. Fields are to be read only
// after that.
func (r *receiver) receive(ctx context.Context) {
	for r.took.Count() < uint64(r.want) {
		fetches := r.cl.PollFetches(ctx)
		now := time.Since(r.start)
		if ctx.Err() != nil {
			return
		}
		if r.err = fetchError(fetches); r.err != nil {
			return
		}
		for it := fetches.RecordIter(); !it.Done(); {
			if run, ns, ok := unstamp(it.Next().Value); ok && run == r.run {
				r.took.Add(now - time.Duration(ns))
			}
		}
	}
}
