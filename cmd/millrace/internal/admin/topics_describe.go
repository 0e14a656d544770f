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
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// A topicDescription is what "topics describe" tells of a topic.
type topicDescription struct {
	Topic      string                 `json:"topic"`
	ID         string                 `json:"id"`
	Internal   bool                   `json:"internal"`
	Configs    map[string]string      `json:"configs"` // those set on the topic
	Partitions []partitionDescription `json:"partitions"`
}

type partitionDescription struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leader_epoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	Offline     []int32 `json:"offline"`
	Start       int64   `json:"start"` // -1: unknown
	End         int64   `json:"end"`   // -1: unknown
	Error       string  `json:"error,omitempty"`
}

func newTopicsDescribe(f *cli.Flags) *cobra.Command {
	return &cobra.Command{
		Use: "describe TOPIC...", Short: "Show partitions, replicas, offsets and configs of topics", Args: cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, topics []string) error {
			return f.Admin(cmd.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
				return describeTopics(ctx, f, adm, topics, cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: f.Topics(),
	}
}

func describeTopics(ctx context.Context, f *cli.Flags, adm *kadm.Client, topics []string, w io.Writer) error {
	details, err := adm.ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return err
	}
	var failures cli.Failures
	var found []string
	for _, t := range details.Sorted() {
		failures.Add(t.Topic, t.Err)
		if t.Err == nil {
			found = append(found, t.Topic)
		}
	}
	all := []topicDescription{}
	if len(found) > 0 {
		starts, err := adm.ListStartOffsets(ctx, found...)
		failures.Add("start offsets", err)
		ends, err := adm.ListEndOffsets(ctx, found...)
		failures.Add("end offsets", err)
		configs, err := adm.DescribeTopicConfigs(ctx, found...)
		failures.Add("configs", err)
		for _, name := range found {
			all = append(all, describeTopic(details[name], starts, ends, configs))
		}
	}
	err = f.Print(w, all, func(w io.Writer) error {
		for i, t := range all {
			if i > 0 {
				fmt.Fprintln(w)
			}
			if err := t.write(w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return failures.Err()
}

func describeTopic(t kadm.TopicDetail, starts, ends kadm.ListedOffsets, configs kadm.ResourceConfigs) topicDescription {
	d := topicDescription{Topic: t.Topic, ID: topicID(t.ID), Internal: t.IsInternal, Configs: map[string]string{}}
	for _, r := range configs {
		for _, c := range r.Configs {
			if r.Name == t.Topic && c.Source == kmsg.ConfigSourceDynamicTopicConfig {
				d.Configs[c.Key] = c.MaybeValue()
			}
		}
	}
	for _, p := range t.Partitions.Sorted() {
		d.Partitions = append(d.Partitions, partitionDescription{
			Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch,
			Replicas: p.Replicas, ISR: p.ISR, Offline: p.OfflineReplicas,
			Start: offsetOf(starts, t.Topic, p.Partition), End: offsetOf(ends, t.Topic, p.Partition), Error: errorText(p.Err),
		})
	}
	return d
}

// offsetOf is -1 if it is unknown.
func offsetOf(all kadm.ListedOffsets, topic string, partition int32) int64 {
	if o, ok := all.Lookup(topic, partition); ok && o.Err == nil {
		return o.Offset
	}
	return -1
}

func (d *topicDescription) write(w io.Writer) error {
	fmt.Fprintf(w, "topic       %s\nid          %s\n", cli.Clean(d.Topic), d.ID)
	if d.Internal {
		fmt.Fprintln(w, "internal    yes")
	}
	for i, k := range sortedKeys(d.Configs) {
		title := ""
		if i == 0 {
			title = "configs"
		}
		fmt.Fprintf(w, "%-11s %s=%s\n", title, k, cli.Clean(d.Configs[k]))
	}
	fmt.Fprintln(w)
	table := cli.NewTable("#PARTITION", "#LEADER", "#EPOCH", "REPLICAS", "ISR", "OFFLINE", "#START", "#END")
	for _, p := range d.Partitions {
		table.Row(p.Partition, p.Leader, p.LeaderEpoch, ids(p.Replicas), ids(p.ISR), ids(p.Offline), known(p.Start), known(p.End))
	}
	return table.Write(w)
}

// ids is "1,2,3".
func ids(all []int32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(all), " ", ","), "[]")
}

// known is an offset, or "" for one that is not known.
func known(offset int64) string {
	if offset < 0 {
		return ""
	}
	return fmt.Sprint(offset)
}
