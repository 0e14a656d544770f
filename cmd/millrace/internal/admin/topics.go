// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"context"
	"encoding/base64"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// NewTopics is "millrace topics".
func NewTopics(f *cli.Flags) *cobra.Command {
	cmd := cli.Group("topics", "List, create, describe and delete topics",
		newTopicsList(f), newTopicsCreate(f), newTopicsDescribe(f), newTopicsDelete(f), newTopicsAddPartitions(f))
	f.Add(cmd)
	return cmd
}

// A topicResult is what became of one topic.
type topicResult struct {
	Topic             string `json:"topic"`
	ID                string `json:"id,omitempty"`
	Partitions        int    `json:"partitions,omitempty"`
	ReplicationFactor int    `json:"replication_factor,omitempty"`
	Error             string `json:"error,omitempty"`
}

func sortTopics(all []topicResult) {
	slices.SortFunc(all, func(a, b topicResult) int { return cmp.Compare(a.Topic, b.Topic) })
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// topicID is an id as Kafka's tools write it, "" if there is none.
func topicID(id kadm.TopicID) string {
	if id == (kadm.TopicID{}) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// splitConfigs turns "key=value" into pairs.
func splitConfigs(flag string, pairs []string) (map[string]*string, error) {
	all := make(map[string]*string)
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, cli.Usagef("%s %q: want key=value", flag, p)
		}
		all[k] = &v
	}
	return all, nil
}

func newTopicsList(f *cli.Flags) *cobra.Command {
	var internal bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List topics", Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.Admin(cmd.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
				return listTopics(ctx, f, adm, internal, cmd.OutOrStdout())
			})
		},
	}
	cmd.Flags().BoolVar(&internal, "internal", false, "internal topics too")
	return cmd
}

func listTopics(ctx context.Context, f *cli.Flags, adm *kadm.Client, internal bool, w io.Writer) error {
	list := adm.ListTopics
	if internal {
		list = adm.ListTopicsWithInternal
	}
	topics, err := list(ctx)
	if err != nil {
		return err
	}
	all := []topicResult{}
	var failures cli.Failures
	for _, t := range topics.Sorted() {
		failures.Add(t.Topic, t.Err)
		all = append(all, topicResult{
			Topic: t.Topic, ID: topicID(t.ID), Partitions: len(t.Partitions),
			ReplicationFactor: t.Partitions.NumReplicas(), Error: errorText(t.Err),
		})
	}
	err = f.Print(w, all, func(w io.Writer) error {
		table := cli.NewTable("TOPIC", "#PARTITIONS", "#REPLICATION")
		for _, t := range all {
			table.Row(t.Topic, t.Partitions, t.ReplicationFactor)
		}
		return table.Write(w)
	})
	if err != nil {
		return err
	}
	return failures.Err()
}
