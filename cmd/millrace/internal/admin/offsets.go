// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// NewOffsets is "millrace offsets".
func NewOffsets(f *cli.Flags) *cobra.Command {
	cmd := cli.Group("offsets", "List offsets of topics; reset, delete and export those of groups",
		newOffsetsList(f), newOffsetsReset(f), newOffsetsDelete(f), newOffsetsExport(f))
	f.Add(cmd)
	return cmd
}

// A selection is what of a group's offsets a command is about.
type selection struct {
	topics []string // "orders" or "orders:0,3"
	all    bool     // what the group has committed
}

func (s *selection) add(f *cli.Flags, cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&s.topics, "topic", "t", nil, "`topic`, or topic:0,3 for some of its partitions; may be repeated")
	cmd.Flags().BoolVar(&s.all, "all-topics", false, "all that the group has committed")
	_ = cmd.RegisterFlagCompletionFunc("topic", f.Topics())
}

// check finds mistakes before the cluster is asked.
func (s *selection) check() error {
	if s.all == (len(s.topics) > 0) {
		return cli.Usagef("want one of --topic and --all-topics")
	}
	for _, t := range s.topics {
		if _, _, err := splitTopic(t); err != nil {
			return err
		}
	}
	return nil
}

// splitTopic reads "topic" or "topic:0,3".
func splitTopic(s string) (topic string, partitions []int32, err error) {
	topic, list, some := strings.Cut(s, ":")
	if !some {
		return topic, nil, nil
	}
	for p := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil {
			return "", nil, cli.Usagef("--topic %q: want topic or topic:0,3", s)
		}
		partitions = append(partitions, int32(n))
	}
	return topic, partitions, nil
}

// find turns the selection into partitions, in order, each once.
func (s *selection) find(ctx context.Context, adm *kadm.Client, committed kadm.OffsetResponses) ([]topicPartition, error) {
	var all []topicPartition
	if s.all {
		committed.Each(func(o kadm.OffsetResponse) { all = append(all, topicPartition{o.Topic, o.Partition}) })
	}
	for _, arg := range s.topics {
		topic, partitions, err := splitTopic(arg)
		if err != nil {
			return nil, err
		}
		details, err := adm.ListTopicsWithInternal(ctx, topic)
		if err != nil {
			return nil, err
		}
		if err := details[topic].Err; err != nil {
			return nil, fmt.Errorf("topic %s: %w", topic, err)
		}
		if partitions == nil {
			partitions = details[topic].Partitions.Numbers()
		}
		for _, p := range partitions {
			if _, ok := details[topic].Partitions[p]; !ok {
				return nil, fmt.Errorf("topic %s has no partition %d", topic, p)
			}
			all = append(all, topicPartition{topic, p})
		}
	}
	sortPartitions(all)
	return slices.Compact(all), nil
}
