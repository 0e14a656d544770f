// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// A listedGroup is a row of "groups list".
type listedGroup struct {
	Group        string `json:"group"`
	Type         string `json:"type"`
	State        string `json:"state"`
	ProtocolType string `json:"protocol_type"`
	Coordinator  int32  `json:"coordinator"`
}

func newGroupsList(f *cli.Flags) *cobra.Command {
	var states []string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List groups", Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.Admin(cmd.Context(), func(ctx context.Context, _ *kadm.Client, cl *kgo.Client) error {
				return listGroups(ctx, f, cl, states, cmd.OutOrStdout())
			})
		},
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only groups in these `states`: Empty, Stable, ...")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(
		[]string{"Empty", "Stable", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "Dead"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func listGroups(ctx context.Context, f *cli.Flags, cl *kgo.Client, states []string, w io.Writer) error {
	all := []listedGroup{}
	var failures cli.Failures
	for _, shard := range cl.RequestSharded(ctx, kmsg.NewPtrListGroupsRequest()) {
		from := fmt.Sprintf("broker %d", shard.Meta.NodeID)
		if shard.Err != nil {
			failures.Add(from, shard.Err)
			continue
		}
		resp := shard.Resp.(*kmsg.ListGroupsResponse)
		failures.Add(from, kerr.ErrorForCode(resp.ErrorCode))
		for _, g := range resp.Groups {
			if len(states) > 0 && !slices.ContainsFunc(states, func(s string) bool { return strings.EqualFold(s, g.GroupState) }) {
				continue
			}
			all = append(all, listedGroup{g.Group, strings.ToLower(g.GroupType), g.GroupState, g.ProtocolType, shard.Meta.NodeID})
		}
	}
	slices.SortFunc(all, func(a, b listedGroup) int { return cmp.Compare(a.Group, b.Group) })
	err := f.Print(w, all, func(w io.Writer) error {
		table := cli.NewTable("GROUP", "TYPE", "STATE", "PROTOCOL", "#COORDINATOR")
		for _, g := range all {
			table.Row(g.Group, g.Type, g.State, g.ProtocolType, g.Coordinator)
		}
		return table.Write(w)
	})
	if err != nil {
		return err
	}
	return failures.Err()
}
