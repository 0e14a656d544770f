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

// growth is how many partitions topics get: some more, or a number in all.
type growth struct {
	by, to       int
	validateOnly bool
}

func newTopicsAddPartitions(f *cli.Flags) *cobra.Command {
	var g growth
	cmd := &cobra.Command{
		Use: "add-partitions TOPIC... {--by N | --to N}", Short: "Give topics more partitions", Args: cli.Args(cobra.MinimumNArgs(1)),
		Long: `Give topics more partitions. What is in the topics stays where it is: records with
the same key may go to another partition from then on.`,
		RunE: func(cmd *cobra.Command, topics []string) error {
			if (g.by > 0) == (g.to > 0) {
				return cli.Usagef("want one of --by and --to, above 0")
			}
			return f.Admin(cmd.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
				return addPartitions(ctx, f, adm, topics, g, cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: f.Topics(),
	}
	cmd.Flags().IntVar(&g.by, "by", 0, "how many more")
	cmd.Flags().IntVar(&g.to, "to", 0, "how many in all")
	cmd.Flags().BoolVar(&g.validateOnly, "validate-only", false, "only ask whether it could be done")
	return cmd
}

func addPartitions(ctx context.Context, f *cli.Flags, adm *kadm.Client, topics []string, g growth, w io.Writer) error {
	had, err := adm.ListTopics(ctx, topics...)
	if err != nil {
		return err
	}
	grow, n, did := adm.CreatePartitions, g.by, "now has"
	switch {
	case g.validateOnly && g.by > 0:
		grow, did = adm.ValidateCreatePartitions, "could have"
	case g.validateOnly:
		grow, n, did = adm.ValidateUpdatePartitions, g.to, "could have"
	case g.to > 0:
		grow, n = adm.UpdatePartitions, g.to
	}
	resps, err := grow(ctx, n, topics...)
	if err != nil {
		return err
	}
	all := []topicResult{}
	var failures cli.Failures
	for _, r := range resps {
		err := cli.Explain(r.Err, r.ErrMessage)
		failures.Add(r.Topic, err)
		t := topicResult{Topic: r.Topic, Error: errorText(err), Partitions: g.to}
		if g.by > 0 {
			t.Partitions = len(had[r.Topic].Partitions) + g.by
		}
		all = append(all, t)
	}
	sortTopics(all)
	err = f.Print(w, all, func(w io.Writer) error {
		for _, t := range all {
			if t.Error == "" {
				fmt.Fprintf(w, "%s %s %d partitions\n", t.Topic, did, t.Partitions)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return failures.Err()
}
