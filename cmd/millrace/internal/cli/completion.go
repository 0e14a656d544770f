// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// completionTimeout is how long a user's TAB waits for the cluster.
const completionTimeout = 2 * time.Second

// A Completion is the shape of cobra's ValidArgsFunction.
type Completion = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// Topics completes names of topics that are not among the arguments yet.
func (f *Flags) Topics() Completion {
	return f.complete(func(ctx context.Context, adm *kadm.Client) ([]string, error) {
		all, err := adm.ListTopics(ctx)
		return all.Names(), err
	})
}

// Groups completes ids of groups that are not among the arguments yet.
func (f *Flags) Groups() Completion {
	return f.complete(func(ctx context.Context, adm *kadm.Client) ([]string, error) {
		all, err := adm.ListGroups(ctx)
		return all.Groups(), err
	})
}

// First completes the first argument only.
func First(c Completion) Completion {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c(cmd, args, toComplete)
	}
}

// complete asks the cluster for names. Without an answer there is nothing to
// complete: a shell is no place for errors.
func (f *Flags) complete(names func(context.Context, *kadm.Client) ([]string, error)) Completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		quick := *f
		quick.Timeout = min(f.Timeout, completionTimeout)
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		var all []string
		err := quick.Admin(ctx, func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) (err error) {
			all, err = names(ctx, adm)
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all = slices.DeleteFunc(all, func(name string) bool { return slices.Contains(args, name) })
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}
