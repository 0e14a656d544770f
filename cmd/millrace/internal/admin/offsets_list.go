// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// An offsetRange is a row of "offsets list".
type offsetRange struct {
	topicPartition
	Start   int64  `json:"start"`
	End     int64  `json:"end"`
	At      *int64 `json:"at,omitempty"` // with --at: the first offset of that time or later
	Records int64  `json:"records"`      // End - Start; compaction and transactions may have left fewer
	Error   string `json:"error,omitempty"`
}

func newOffsetsList(f *cli.Flags) *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use: "list TOPIC...", Aliases: []string{"ls"}, Short: "List where the partitions of topics begin and end", Args: cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, topics []string) error {
			var when time.Time
			if at != "" {
				var err error
				if when, err = cli.ParseTime(at, time.Now()); err != nil {
					return err
				}
			}
			return f.Admin(cmd.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
				return listOffsets(ctx, f, adm, topics, when, cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: f.Topics(),
	}
	cmd.Flags().StringVar(&at, "at", "", "also the first offset at this `time` or later: 2006-01-02T15:04:05Z, ms since the epoch, -90m")
	return cmd
}

func listOffsets(ctx context.Context, f *cli.Flags, adm *kadm.Client, topics []string, at time.Time, w io.Writer) error {
	starts, err := adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	ends, err := adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	var ats kadm.ListedOffsets
	if !at.IsZero() {
		if ats, err = adm.ListOffsetsAfterMilli(ctx, at.UnixMilli(), topics...); err != nil {
			return err
		}
	}
	all := []offsetRange{}
	var failures cli.Failures
	for _, o := range starts.Offsets().Sorted() {
		r := offsetRange{topicPartition: topicPartition{o.Topic, o.Partition}, Start: o.At, End: offsetOf(ends, o.Topic, o.Partition)}
		r.Records = max(r.End-r.Start, 0)
		if !at.IsZero() {
			v := offsetOf(ats, o.Topic, o.Partition)
			r.At = &v
		}
		all = append(all, r)
	}
	starts.Each(func(o kadm.ListedOffset) { failures.Add(o.Topic, o.Err) })
	err = f.Print(w, all, func(w io.Writer) error { return writeRanges(w, all, !at.IsZero()) })
	if err != nil {
		return err
	}
	return failures.Err()
}

func writeRanges(w io.Writer, all []offsetRange, withAt bool) error {
	head := []string{"TOPIC", "#PARTITION", "#START", "#END", "#RECORDS"}
	if withAt {
		head = append(head, "#AT")
	}
	table := cli.NewTable(head...)
	for _, r := range all {
		row := []any{r.Topic, r.Partition, known(r.Start), known(r.End), r.Records}
		if withAt {
			row = append(row, known(*r.At))
		}
		table.Row(row...)
	}
	return table.Write(w)
}
