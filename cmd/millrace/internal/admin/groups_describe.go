// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// A groupDescription is a group and how far it is.
type groupDescription struct {
	groupInfo
	Lag        int64          `json:"lag"` // of all partitions whose lag is known
	Partitions []partitionLag `json:"partitions"`
}

type partitionLag struct {
	topicPartition
	Committed int64  `json:"committed"` // -1: nothing
	Start     int64  `json:"start"`
	End       int64  `json:"end"`
	Lag       int64  `json:"lag"` // -1: unknown
	Metadata  string `json:"metadata,omitempty"`
	Member    string `json:"member,omitempty"`
	Client    string `json:"client,omitempty"`
	Host      string `json:"host,omitempty"`
}

func newGroupsDescribe(f *cli.Flags) *cobra.Command {
	return &cobra.Command{
		Use: "describe GROUP...", Short: "Show committed offsets and lag of groups", Args: cli.Args(cobra.MinimumNArgs(1)),
		Long: `Show committed offsets and lag of groups: all partitions that have a committed
offset or a member. Without a committed offset the lag is counted from the start.`,
		RunE: func(cmd *cobra.Command, groups []string) error {
			return f.Admin(cmd.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
				return describeLags(ctx, f, adm, groups, cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: f.Groups(),
	}
}

func describeLags(ctx context.Context, f *cli.Flags, adm *kadm.Client, groups []string, w io.Writer) error {
	var failures cli.Failures
	infos, err := describeGroups(ctx, adm, &failures, groups...)
	if err != nil {
		return err
	}
	all := []groupDescription{}
	for _, g := range infos {
		d, err := lagOf(ctx, adm, g)
		failures.Add("group "+g.Group, err)
		if err == nil {
			all = append(all, d)
		}
	}
	err = f.Print(w, all, func(w io.Writer) error {
		for i := range all {
			if i > 0 {
				fmt.Fprintln(w)
			}
			if err := all[i].write(w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return failures.Err()
}

func lagOf(ctx context.Context, adm *kadm.Client, g groupInfo) (groupDescription, error) {
	d := groupDescription{groupInfo: g, Partitions: []partitionLag{}}
	committed, err := adm.FetchOffsets(ctx, g.Group)
	if err != nil {
		return d, fmt.Errorf("committed offsets: %w", err)
	}
	var of []topicPartition
	for _, m := range g.Members {
		of = append(of, m.Assigned...)
	}
	committed.Each(func(o kadm.OffsetResponse) { of = append(of, topicPartition{o.Topic, o.Partition}) })
	sortPartitions(of)
	of = slices.Compact(of)
	starts, ends, err := ranges(ctx, adm, of)
	if err != nil {
		return d, err
	}
	for _, tp := range of {
		m := g.memberOf(tp)
		p := partitionLag{
			topicPartition: tp, Committed: -1, Lag: -1, Member: m.Member, Client: m.Client, Host: m.Host,
			Start: offsetOf(starts, tp.Topic, tp.Partition), End: offsetOf(ends, tp.Topic, tp.Partition),
		}
		if o, ok := committed.Lookup(tp.Topic, tp.Partition); ok && o.Err == nil {
			p.Committed, p.Metadata = o.At, o.Metadata
		}
		if p.Start >= 0 && p.End >= 0 {
			p.Lag = max(p.End-max(p.Committed, p.Start), 0)
			d.Lag += p.Lag
		}
		d.Partitions = append(d.Partitions, p)
	}
	return d, nil
}

// ranges lists where the partitions' topics begin and end.
func ranges(ctx context.Context, adm *kadm.Client, of []topicPartition) (starts, ends kadm.ListedOffsets, err error) {
	var topics []string
	for _, tp := range of {
		topics = append(topics, tp.Topic)
	}
	topics = slices.Compact(topics)
	if len(topics) == 0 {
		return nil, nil, nil
	}
	if starts, err = adm.ListStartOffsets(ctx, topics...); err != nil {
		return nil, nil, fmt.Errorf("start offsets: %w", err)
	}
	if ends, err = adm.ListEndOffsets(ctx, topics...); err != nil {
		return nil, nil, fmt.Errorf("end offsets: %w", err)
	}
	return starts, ends, nil
}

func (d *groupDescription) write(w io.Writer) error {
	fmt.Fprintf(w, "group        %s\ntype         %s\nstate        %s\nassignor     %s\ncoordinator  %d\nmembers      %d\nlag          %d\n",
		cli.Clean(d.Group), d.Type, d.State, dash(d.Assignor), d.Coordinator, len(d.Members), d.Lag)
	if len(d.Partitions) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	table := cli.NewTable("TOPIC", "#PARTITION", "#COMMITTED", "#START", "#END", "#LAG", "CLIENT", "HOST", "MEMBER")
	for _, p := range d.Partitions {
		table.Row(p.Topic, p.Partition, known(p.Committed), known(p.Start), known(p.End), known(p.Lag), p.Client, p.Host, p.Member)
	}
	return table.Write(w)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return cli.Clean(s)
}
