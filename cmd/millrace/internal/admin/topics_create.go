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

// createFlags are those of "topics create".
type createFlags struct {
	partitions   int32
	replication  int16
	configs      []string
	validateOnly bool
	ifNotExists  bool
}

func newTopicsCreate(f *cli.Flags) *cobra.Command {
	var c createFlags
	cmd := &cobra.Command{
		Use: "create TOPIC...", Short: "Create topics", Args: cli.Args(cobra.MinimumNArgs(1)),
		Example: "  millrace topics create orders --partitions 6 --config retention.ms=86400000",
		RunE: func(cmd *cobra.Command, topics []string) error {
			return f.Admin(cmd.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
				return createTopics(ctx, f, adm, topics, c, cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	p := cmd.Flags()
	p.Int32VarP(&c.partitions, "partitions", "p", -1, "partitions; -1: the broker's default")
	p.Int16VarP(&c.replication, "replication", "r", -1, "replicas of each partition; -1: the broker's default")
	p.StringArrayVarP(&c.configs, "config", "c", nil, "`key=value` of the topic's configuration; may be repeated")
	p.BoolVar(&c.validateOnly, "validate-only", false, "only ask whether it could be done")
	p.BoolVar(&c.ifNotExists, "if-not-exists", false, "a topic that exists is no error")
	return cmd
}

func createTopics(ctx context.Context, f *cli.Flags, adm *kadm.Client, topics []string, c createFlags, w io.Writer) error {
	configs, err := splitConfigs("--config", c.configs)
	if err != nil {
		return err
	}
	create, did := adm.CreateTopics, "created"
	if c.validateOnly {
		create, did = adm.ValidateCreateTopics, "could create"
	}
	resps, err := create(ctx, c.partitions, c.replication, configs, topics...)
	if err != nil {
		return err
	}
	all := []topicResult{}
	var failures cli.Failures
	for _, r := range resps {
		if c.ifNotExists && errors.Is(r.Err, kerr.TopicAlreadyExists) {
			continue
		}
		err := cli.Explain(r.Err, r.ErrMessage)
		failures.Add(r.Topic, err)
		all = append(all, topicResult{
			Topic: r.Topic, ID: topicID(r.ID), Partitions: int(max(r.NumPartitions, 0)),
			ReplicationFactor: int(max(r.ReplicationFactor, 0)), Error: errorText(err),
		})
	}
	sortTopics(all)
	err = f.Print(w, all, func(w io.Writer) error {
		for _, t := range all {
			if t.Error == "" {
				fmt.Fprintf(w, "%s %s: partitions %d, replication %d\n", did, t.Topic, t.Partitions, t.ReplicationFactor)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return failures.Err()
}
