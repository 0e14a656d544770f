// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

func newTopicsDelete(f *cli.Flags) *cobra.Command {
	var ifExists bool
	cmd := &cobra.Command{
		Use: "delete TOPIC...", Aliases: []string{"rm"}, Short: "Delete topics with all that is in them", Args: cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, topics []string) error {
			return f.Admin(cmd.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
				return deleteTopics(ctx, f, adm, topics, ifExists, cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: f.Topics(),
	}
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "a topic that does not exist is no error")
	return cmd
}

func deleteTopics(ctx context.Context, f *cli.Flags, adm *kadm.Client, topics []string, ifExists bool, w io.Writer) error {
	resps, err := adm.DeleteTopics(ctx, topics...)
	if err != nil {
		return err
	}
	all := []topicResult{}
	var failures cli.Failures
	for _, r := range resps {
		if ifExists && errors.Is(r.Err, kerr.UnknownTopicOrPartition) {
			continue
		}
		err := cli.Explain(r.Err, r.ErrMessage)
		failures.Add(r.Topic, err)
		all = append(all, topicResult{Topic: r.Topic, Error: errorText(err)})
	}
	sortTopics(all)
	err = f.Print(w, all, func(w io.Writer) error {
		for _, t := range all {
			if t.Error == "" {
				fmt.Fprintf(w, "deleted %s\n", t.Topic)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return failures.Err()
}
