// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// A groupResult is what became of one group.
type groupResult struct {
	Group string `json:"group"`
	Error string `json:"error,omitempty"`
}

func newGroupsDelete(f *cli.Flags) *cobra.Command {
	return &cobra.Command{
		Use: "delete GROUP...", Aliases: []string{"rm"}, Short: "Delete groups that have no members, with their offsets", Args: cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, groups []string) error {
			return f.Admin(cmd.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
				return deleteGroups(ctx, f, adm, groups, cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: f.Groups(),
	}
}

func deleteGroups(ctx context.Context, f *cli.Flags, adm *kadm.Client, groups []string, w io.Writer) error {
	resps, err := adm.DeleteGroups(ctx, groups...)
	if err != nil {
		return err
	}
	all := []groupResult{}
	var failures cli.Failures
	for _, r := range resps {
		err := cli.Explain(r.Err, r.ErrMessage)
		failures.Add("group "+r.Group, err)
		all = append(all, groupResult{r.Group, errorText(err)})
	}
	slices.SortFunc(all, func(a, b groupResult) int { return cmp.Compare(a.Group, b.Group) })
	err = f.Print(w, all, func(w io.Writer) error {
		for _, g := range all {
			if g.Error == "" {
				fmt.Fprintf(w, "deleted %s\n", g.Group)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return failures.Err()
}
