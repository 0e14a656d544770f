// SPDX-License-Identifier: Apache-2.0

package records

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// consumeFlags are those of "consume".
type consumeFlags struct {
	offset, format, null, group string
	partitions                  []int32
	count                       int64
	exit, committed             bool

	start start
	print func(dst []byte, r *kgo.Record) []byte
}

// NewConsume is "millrace consume".
func NewConsume(f *cli.Flags) *cobra.Command {
	var c consumeFlags
	cmd := &cobra.Command{
		Use: "consume TOPIC...", Short: "Print the records of topics", Args: cli.Args(cobra.MinimumNArgs(1)),
		Long: "Print the records of topics, by default all of them and then those that come, until\ninterrupted.\n\n" + formatHelp + `

With --json each record is an object on a line of its own.`,
		Example: `  millrace consume orders --offset end
  millrace consume orders --offset -10 --exit --format '%p:%o %k=%v\n'
  millrace consume orders --offset @2026-11-01T00:00:00Z --count 100 --json
  millrace consume orders --group billing`,
		RunE: func(cmd *cobra.Command, topics []string) error {
			if err := c.check(f.JSON); err != nil {
				return err
			}
			return consume(cmd.Context(), f, topics, &c, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
		ValidArgsFunction: f.Topics(),
	}
	f.Add(cmd)
	p := cmd.Flags()
	p.StringVarP(&c.offset, "offset", "o", "beginning", "where to begin: beginning, end, an `offset`, -N for the last N of each partition, or @time; with --group only where nothing is committed")
	p.Int32SliceVarP(&c.partitions, "partition", "p", nil, "only these `partitions`")
	p.Int64VarP(&c.count, "count", "n", 0, "end after so many records; 0: don't")
	p.BoolVarP(&c.exit, "exit", "e", false, "end where the topics end now")
	p.StringVarP(&c.format, "format", "f", `%v\n`, "how a record is printed")
	p.StringVarP(&c.null, "null", "Z", "", "what is printed for null")
	p.StringVarP(&c.group, "group", "g", "", "read as a member of this group, and commit what was printed")
	p.BoolVar(&c.committed, "committed", false, "leave out what transactions have not committed")
	_ = cmd.RegisterFlagCompletionFunc("group", f.Groups())
	_ = cmd.RegisterFlagCompletionFunc("offset", cobra.FixedCompletions([]string{"beginning", "end"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *consumeFlags) check(asJSON bool) error {
	var err error
	if c.start, err = parseStart(c.offset, time.Now()); err != nil {
		return err
	}
	if c.count < 0 {
		return cli.Usagef("--count %d: must not be negative", c.count)
	}
	if c.group != "" && len(c.partitions) > 0 {
		return cli.Usagef("a group says by itself which partitions: no --partition with --group")
	}
	f, err := parseFormat(c.format, c.null)
	if err != nil {
		return err
	}
	c.print = f.appendTo
	if asJSON {
		c.print = appendJSON
	}
	return nil
}

// consume prints until c says that it is enough, or ctx ends.
func consume(ctx context.Context, f *cli.Flags, topics []string, c *consumeFlags, out, errs io.Writer) error {
	var spans map[topicPartition]span
	err := f.Admin(ctx, func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) (err error) {
		spans, err = c.start.spans(ctx, adm, topics, c.partitions, c.committed)
		return err
	})
	if err != nil {
		return err
	}
	track := trackAll(spans)
	opts := []kgo.Opt{kgo.KeepControlRecords(), kgo.FetchMaxWait(500 * time.Millisecond)}
	if c.committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if c.group != "" {
		track = newTracker(spans)
		opts = append(opts, track.groupOptions(c.group, spans)...)
		opts = append(opts, kgo.ConsumerGroup(c.group), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(c.start.reset()),
			kgo.AutoCommitMarks(), kgo.BlockRebalanceOnPoll())
	} else {
		opts = append(opts, kgo.ConsumePartitions(offsets(spans)))
	}
	if c.exit && track.done() {
		return nil
	}
	cl, err := f.Client(ctx, opts...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	p := &printer{c: c, cl: cl, track: track, out: bufio.NewWriterSize(out, 64<<10), progress: cli.NewProgress(errs)}
	if cli.IsTerminal(out) {
		p.progress = cli.NewProgress(nil) // the records are progress enough
	}
	err = p.run(ctx)
	p.progress.Clear()
	if c.group != "" {
		err = errors.Join(err, p.commit(ctx, f.Timeout))
	}
	return err
}

func offsets(spans map[topicPartition]span) map[string]map[int32]kgo.Offset {
	all := make(map[string]map[int32]kgo.Offset)
	for tp, s := range spans {
		if all[tp.topic] == nil {
			all[tp.topic] = make(map[int32]kgo.Offset)
		}
		all[tp.topic][tp.partition] = kgo.NewOffset().At(s.from)
	}
	return all
}

// A printer prints what a client fetches.
type printer struct {
	c        *consumeFlags
	cl       *kgo.Client
	track    *tracker
	out      *bufio.Writer
	progress *cli.Progress

	printed int64
	line    []byte
}

// pollFor is how long a poll waits before the printer looks whether it is done:
// a group may have assigned it nothing.
const pollFor = 500 * time.Millisecond

// run prints until it is done. That the user interrupts it is no failure: it is
// how an endless command ends.
func (p *printer) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if p.c.exit && p.track.done() {
			return nil
		}
		polling, cancel := context.WithTimeout(ctx, pollFor)
		fetches := p.cl.PollFetches(polling)
		cancel()
		done, err := p.all(fetches)
		if p.c.group != "" {
			p.cl.AllowRebalance()
		}
		if err == nil {
			err = p.out.Flush()
		}
		if done || err != nil {
			return err
		}
		p.progress.Show("%d records", p.printed)
	}
	if p.c.exit || p.c.count > 0 {
		return ctx.Err()
	}
	return nil
}

// all prints what was fetched. done says that it was enough.
func (p *printer) all(fetches kgo.Fetches) (done bool, err error) {
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled) {
			return true, fmt.Errorf("fetch %s:%d: %w", e.Topic, e.Partition, e.Err)
		}
	}
	for it := fetches.RecordIter(); !it.Done(); {
		r := it.Next()
		if before := p.track.seen(r); p.c.exit && !before {
			continue
		}
		if !r.Attrs.IsControl() {
			p.line = p.c.print(p.line[:0], r)
			if _, err := p.out.Write(p.line); err != nil {
				return true, err
			}
			p.printed++
		}
		p.cl.MarkCommitRecords(r)
		if p.c.count > 0 && p.printed >= p.c.count {
			return true, nil
		}
	}
	return false, nil
}

// commit commits what was printed, also after an interruption.
func (p *printer) commit(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	if err := p.cl.CommitMarkedOffsets(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
