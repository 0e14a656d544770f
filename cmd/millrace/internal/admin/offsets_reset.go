// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// A move is what a reset does to one partition.
type move struct {
	topicPartition
	From int64 `json:"from"` // -1: nothing is committed
	To   int64 `json:"to"`
}

// A resetReport is what "offsets reset --json" prints.
type resetReport struct {
	Group    string `json:"group"`
	Executed bool   `json:"executed"`
	Offsets  []move `json:"offsets"`
}

func newOffsetsReset(f *cli.Flags) *cobra.Command {
	var s selection
	var to target
	var execute bool
	cmd := &cobra.Command{
		Use: "reset GROUP {--topic T | --all-topics | --from-file F} {--to-... | --shift N}", Short: "Move the committed offsets of a group",
		Long: `Move the committed offsets of a group that has no members. Without --execute it only
shows what it would do. Offsets are kept within what the log has.`,
		Example: `  millrace offsets reset billing --topic orders --to-earliest
  millrace offsets reset billing --topic orders:0,1 --to-datetime 2026-11-01T00:00:00Z --execute
  millrace offsets export billing > offsets.csv
  millrace offsets reset billing --from-file offsets.csv --execute`,
		Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := to.check(cmd, &s); err != nil {
				return err
			}
			return f.Admin(cmd.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
				return resetOffsets(ctx, f, adm, args[0], &s, &to, execute, cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: cli.First(f.Groups()),
	}
	s.add(f, cmd)
	to.add(cmd)
	cmd.Flags().BoolVar(&execute, "execute", false, "do it, instead of showing what would be done")
	return cmd
}

func resetOffsets(ctx context.Context, f *cli.Flags, adm *kadm.Client, group string, s *selection, to *target, execute bool, w io.Writer) error {
	if err := refuseMembers(ctx, adm, group); err != nil {
		return err
	}
	committed, err := adm.FetchOffsets(ctx, group)
	if err != nil {
		return fmt.Errorf("committed offsets: %w", err)
	}
	of := to.listed()
	if of == nil {
		if of, err = s.find(ctx, adm, committed); err != nil {
			return err
		}
	}
	moves, err := to.plan(ctx, adm, of, committed)
	if err != nil {
		return err
	}
	if execute {
		if err := commit(ctx, adm, group, moves); err != nil {
			return err
		}
	}
	return f.Print(w, resetReport{group, execute, moves}, func(w io.Writer) error {
		table := cli.NewTable("TOPIC", "#PARTITION", "#FROM", "#TO")
		for _, m := range moves {
			table.Row(m.Topic, m.Partition, known(m.From), m.To)
		}
		if err := table.Write(w); err != nil {
			return err
		}
		return dryRun(w, execute)
	})
}

// dryRun says that nothing was done.
func dryRun(w io.Writer, executed bool) error {
	if executed {
		return nil
	}
	_, err := fmt.Fprintln(w, "\nnothing was changed: add --execute to do it")
	return err
}

// refuseMembers fails if the group has members: their commits would undo ours.
func refuseMembers(ctx context.Context, adm *kadm.Client, group string) error {
	var unknown cli.Failures
	infos, err := describeGroups(ctx, adm, &unknown, group)
	if err != nil {
		return err
	}
	for _, g := range infos {
		if len(g.Members) > 0 {
			return fmt.Errorf("group %s has %d members: stop them first", group, len(g.Members))
		}
	}
	return nil // a group that does not exist will
}

func commit(ctx context.Context, adm *kadm.Client, group string, moves []move) error {
	var offsets kadm.Offsets
	for _, m := range moves {
		offsets.Add(kadm.Offset{Topic: m.Topic, Partition: m.Partition, At: m.To, LeaderEpoch: -1})
	}
	resps, err := adm.CommitOffsets(ctx, group, offsets)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	var failures cli.Failures
	for _, r := range resps.Sorted() {
		failures.Add(fmt.Sprintf("commit %s:%d", r.Topic, r.Partition), r.Err)
	}
	return failures.Err()
}

// plan says where each partition goes.
func (t *target) plan(ctx context.Context, adm *kadm.Client, of []topicPartition, committed kadm.OffsetResponses) ([]move, error) {
	starts, ends, err := ranges(ctx, adm, of)
	if err != nil {
		return nil, err
	}
	var after kadm.ListedOffsets
	if !t.at.IsZero() {
		if after, err = afterTime(ctx, adm, of, t.at); err != nil {
			return nil, err
		}
	}
	moves := []move{}
	for _, tp := range of {
		m := move{topicPartition: tp, From: -1}
		if o, ok := committed.Lookup(tp.Topic, tp.Partition); ok && o.Err == nil {
			m.From = o.At
		}
		start, end := offsetOf(starts, tp.Topic, tp.Partition), offsetOf(ends, tp.Topic, tp.Partition)
		if start < 0 || end < 0 {
			return nil, fmt.Errorf("%s:%d: where it begins and ends is unknown", tp.Topic, tp.Partition)
		}
		to, err := t.offset(m, start, end, offsetOf(after, tp.Topic, tp.Partition))
		if err != nil {
			return nil, err
		}
		m.To = min(max(to, start), end)
		moves = append(moves, m)
	}
	return moves, nil
}

func afterTime(ctx context.Context, adm *kadm.Client, of []topicPartition, at time.Time) (kadm.ListedOffsets, error) {
	var topics []string
	for i, tp := range of {
		if i == 0 || tp.Topic != of[i-1].Topic {
			topics = append(topics, tp.Topic)
		}
	}
	if len(topics) == 0 {
		return nil, nil
	}
	after, err := adm.ListOffsetsAfterMilli(ctx, at.UnixMilli(), topics...)
	if err != nil {
		return nil, fmt.Errorf("offsets by time: %w", err)
	}
	return after, nil
}
