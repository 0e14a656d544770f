// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

func newGroupsMembers(f *cli.Flags) *cobra.Command {
	return &cobra.Command{
		Use: "members GROUP", Short: "Show the members of a group and what they are assigned", Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, groups []string) error {
			return f.Admin(cmd.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
				return showMembers(ctx, f, adm, groups[0], cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: cli.First(f.Groups()),
	}
}

func showMembers(ctx context.Context, f *cli.Flags, adm *kadm.Client, group string, w io.Writer) error {
	var failures cli.Failures
	all, err := describeGroups(ctx, adm, &failures, group)
	if err != nil {
		return err
	}
	if err := failures.Err(); err != nil {
		return err
	}
	g := all[0]
	return f.Print(w, g, func(w io.Writer) error {
		table := cli.NewTable("MEMBER", "INSTANCE", "CLIENT", "HOST", "#PARTITIONS", "ASSIGNED")
		for _, m := range g.Members {
			table.Row(m.Member, m.Instance, m.Client, m.Host, len(m.Assigned), assignment(m.Assigned))
		}
		return table.Write(w)
	})
}

// assignment is "orders:0,1 payments:4".
func assignment(all []topicPartition) string {
	var b strings.Builder
	for i, tp := range all {
		switch {
		case i == 0:
			fmt.Fprintf(&b, "%s:%d", tp.Topic, tp.Partition)
		case tp.Topic == all[i-1].Topic:
			fmt.Fprintf(&b, ",%d", tp.Partition)
		default:
			fmt.Fprintf(&b, " %s:%d", tp.Topic, tp.Partition)
		}
	}
	return b.String()
}
