// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// A deleteReport is what "offsets delete --json" prints.
type deleteReport struct {
	Group    string           `json:"group"`
	Executed bool             `json:"executed"`
	Offsets  []topicPartition `json:"offsets"`
}

func newOffsetsDelete(f *cli.Flags) *cobra.Command {
	var s selection
	var execute bool
	cmd := &cobra.Command{
		Use: "delete GROUP {--topic T | --all-topics}", Aliases: []string{"rm"}, Short: "Forget committed offsets of a group",
		Long: `Forget committed offsets of a group, of topics that no member subscribes to. Without
--execute it only shows what it would do.`,
		Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.check(); err != nil {
				return err
			}
			return f.Admin(cmd.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
				return deleteOffsets(ctx, f, adm, args[0], &s, execute, cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: cli.First(f.Groups()),
	}
	s.add(f, cmd)
	cmd.Flags().BoolVar(&execute, "execute", false, "do it, instead of showing what would be done")
	return cmd
}

func deleteOffsets(ctx context.Context, f *cli.Flags, adm *kadm.Client, group string, s *selection, execute bool, w io.Writer) error {
	committed, err := adm.FetchOffsets(ctx, group)
	if err != nil {
		return fmt.Errorf("committed offsets: %w", err)
	}
	found, err := s.find(ctx, adm, committed)
	if err != nil {
		return err
	}
	of := []topicPartition{}
	for _, tp := range found {
		if _, ok := committed.Lookup(tp.Topic, tp.Partition); ok {
			of = append(of, tp)
		}
	}
	if execute && len(of) > 0 {
		var set kadm.TopicsSet
		for _, tp := range of {
			set.Add(tp.Topic, tp.Partition)
		}
		resps, err := adm.DeleteOffsets(ctx, group, set)
		if err != nil {
			return err
		}
		if err := resps.Error(); err != nil {
			return err
		}
	}
	return f.Print(w, deleteReport{group, execute, of}, func(w io.Writer) error {
		table := cli.NewTable("TOPIC", "#PARTITION", "#COMMITTED")
		for _, tp := range of {
			o, _ := committed.Lookup(tp.Topic, tp.Partition)
			table.Row(tp.Topic, tp.Partition, o.At)
		}
		if err := table.Write(w); err != nil {
			return err
		}
		return dryRun(w, execute)
	})
}
