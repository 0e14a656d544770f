// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// A logDir is one folder of one broker.
type logDir struct {
	Broker     int32          `json:"broker"`
	Dir        string         `json:"dir"`
	Bytes      int64          `json:"bytes"`        // of the logs asked for
	Total      int64          `json:"total_bytes"`  // of the disk; -1: not told
	Usable     int64          `json:"usable_bytes"` // of the disk; -1: not told
	Error      string         `json:"error,omitempty"`
	Partitions []logDirectory `json:"partitions"`
}

type logDirectory struct {
	topicPartition
	Bytes  int64 `json:"bytes"`
	Lag    int64 `json:"lag"` // of a replica that follows
	Future bool  `json:"future"`
}

// NewLogDirs is "millrace logdirs".
func NewLogDirs(f *cli.Flags) *cobra.Command {
	var summary bool
	var brokers []int32
	cmd := &cobra.Command{
		Use: "logdirs [TOPIC...]", Short: "Show how much disk the logs take", Args: cli.Args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, topics []string) error {
			return f.Admin(cmd.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
				return showLogDirs(ctx, f, adm, topics, brokers, summary, cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: f.Topics(),
	}
	f.Add(cmd)
	cmd.Flags().BoolVarP(&summary, "summary", "s", false, "a line for each folder, not for each partition")
	cmd.Flags().Int32SliceVar(&brokers, "broker", nil, "only brokers with these node `ids`")
	return cmd
}

func showLogDirs(ctx context.Context, f *cli.Flags, adm *kadm.Client, topics []string, brokers []int32, summary bool, w io.Writer) error {
	var of kadm.TopicsSet
	if len(topics) > 0 {
		details, err := adm.ListTopicsWithInternal(ctx, topics...)
		if err != nil {
			return err
		}
		if err := details.Error(); err != nil {
			return err
		}
		of = details.TopicsSet()
	}
	described, err := adm.DescribeAllLogDirs(ctx, of)
	if err != nil {
		return err
	}
	all := []logDir{}
	var failures cli.Failures
	for _, d := range described.Sorted() {
		if len(brokers) > 0 && !slices.Contains(brokers, d.Broker) {
			continue
		}
		failures.Add(d.Dir, d.Err)
		all = append(all, logDirOf(&d))
	}
	err = f.Print(w, all, func(w io.Writer) error {
		if summary {
			return writeSummary(w, all)
		}
		table := cli.NewTable("#BROKER", "TOPIC", "#PARTITION", "#BYTES", "#LAG", "FUTURE", "DIR")
		for _, d := range all {
			for _, p := range d.Partitions {
				future := ""
				if p.Future {
					future = "yes"
				}
				table.Row(d.Broker, p.Topic, p.Partition, p.Bytes, p.Lag, future, d.Dir)
			}
		}
		return table.Write(w)
	})
	if err != nil {
		return err
	}
	return failures.Err()
}

func logDirOf(d *kadm.DescribedLogDir) logDir {
	l := logDir{Broker: d.Broker, Dir: d.Dir, Total: d.TotalBytes, Usable: d.UsableBytes, Error: errorText(d.Err), Partitions: []logDirectory{}}
	d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
		l.Bytes += p.Size
		l.Partitions = append(l.Partitions, logDirectory{topicPartition{p.Topic, p.Partition}, p.Size, p.OffsetLag, p.IsFuture})
	})
	slices.SortFunc(l.Partitions, func(a, b logDirectory) int {
		return cmp.Or(comparePartitions(a.topicPartition, b.topicPartition), cmp.Compare(a.Bytes, b.Bytes))
	})
	return l
}

func writeSummary(w io.Writer, all []logDir) error {
	table := cli.NewTable("#BROKER", "#PARTITIONS", "#SIZE", "#DISK", "#USABLE", "DIR")
	size := func(n int64) string {
		if n < 0 {
			return ""
		}
		return cli.Bytes(float64(n))
	}
	for _, d := range all {
		table.Row(d.Broker, len(d.Partitions), size(d.Bytes), size(d.Total), size(d.Usable), d.Dir)
	}
	return table.Write(w)
}
