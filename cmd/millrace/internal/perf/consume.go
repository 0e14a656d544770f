// SPDX-License-Identifier: Apache-2.0

package perf

import (
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

func newConsume(f *cli.Flags) *cobra.Command {
	var records int64
	var quiet bool
	cmd := &cobra.Command{
		Use: "consume TOPIC", Short: "Measure how fast a topic is read", Args: cli.Args(cobra.ExactArgs(1)),
		Long: `Measure how fast a topic is read, from the beginning: so many records, or all that are in
it now. The time counts from the first answer with records.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if records < 0 {
				return cli.Usagef("--records %d: must not be negative", records)
			}
			m, err := measureConsume(cmd.Context(), f, args[0], records, linesOf(cmd.ErrOrStderr(), quiet))
			if err != nil {
				return err
			}
			r := m.all.result(time.Now())
			return f.Print(cmd.OutOrStdout(), r, func(w io.Writer) error { return r.write(w, "") })
		},
		ValidArgsFunction: cli.First(f.Topics()),
	}
	cmd.Flags().Int64VarP(&records, "records", "n", 0, "end after so many records; 0: all that are there now")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no line each second on standard error")
	return cmd
}

// measureConsume reads records of a topic, 0 for all. The time until the first
// answer, in which the client gets to know the cluster, is left out.
func measureConsume(ctx context.Context, f *cli.Flags, topic string, records int64, lines io.Writer) (*meter, error) {
	ends, begin, err := reach(ctx, f, topic)
	if err != nil {
		return nil, err
	}
	if records == 0 && len(ends) == 0 {
		return nil, fmt.Errorf("topic %s is empty", topic)
	}
	cl, err := f.Client(ctx, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: begin}), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var m *meter
	for {
		fetches := cl.PollFetches(ctx)
		if err := fetchError(fetches); err != nil {
			return nil, err
		}
		if m == nil {
			m = newMeter(lines)
		}
		n, bytes := int64(0), int64(0)
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if !r.Attrs.IsControl() {
				n, bytes = n+1, bytes+int64(len(r.Key)+len(r.Value))
			}
			if end, ok := ends[r.Partition]; ok && r.Offset+1 >= end {
				delete(ends, r.Partition)
			}
		}
		m.count(n, bytes)
		m.tick(time.Now())
		if records > 0 && m.all.records >= records || records == 0 && len(ends) == 0 {
			return m, nil
		}
	}
}

func fetchError(fetches kgo.Fetches) error {
	var errs []error
	fetches.EachError(func(topic string, p int32, err error) {
		errs = append(errs, fmt.Errorf("fetch %s:%d: %w", topic, p, err))
	})
	return errors.Join(errs...)
}

// reach finds where the partitions of a topic begin, and where those that are
// not empty end.
func reach(ctx context.Context, f *cli.Flags, topic string) (ends map[int32]int64, begin map[int32]kgo.Offset, err error) {
	ends, begin = make(map[int32]int64), make(map[int32]kgo.Offset)
	err = f.Admin(ctx, func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
		first, err := adm.ListStartOffsets(ctx, topic)
		if err == nil {
			err = first.Error()
		}
		if err != nil {
			return fmt.Errorf("start offsets: %w", err)
		}
		last, err := adm.ListEndOffsets(ctx, topic)
		if err == nil {
			err = last.Error()
		}
		if err != nil {
			return fmt.Errorf("end offsets: %w", err)
		}
		first.Each(func(o kadm.ListedOffset) {
			begin[o.Partition] = kgo.NewOffset().At(o.Offset)
			if end, ok := last.Lookup(o.Topic, o.Partition); ok && end.Offset > o.Offset {
				ends[o.Partition] = end.Offset
			}
		})
		return nil
	})
	return ends, begin, err
}
