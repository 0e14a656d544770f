// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// NewGroups is "millrace groups".
func NewGroups(f *cli.Flags) *cobra.Command {
	cmd := cli.Group("groups", "List, describe and delete consumer groups",
		newGroupsList(f), newGroupsDescribe(f), newGroupsMembers(f), newGroupsDelete(f))
	f.Add(cmd)
	return cmd
}

// A groupInfo is a group of the classic protocol or of KIP-848's.
type groupInfo struct {
	Group       string       `json:"group"`
	Type        string       `json:"type"` // classic or consumer
	State       string       `json:"state"`
	Assignor    string       `json:"assignor"`
	Coordinator int32        `json:"coordinator"`
	Members     []memberInfo `json:"members"`
}

type memberInfo struct {
	Member   string           `json:"member"`
	Instance string           `json:"instance,omitempty"`
	Client   string           `json:"client"`
	Host     string           `json:"host"`
	Epoch    int32            `json:"epoch,omitempty"` // of KIP-848
	Assigned []topicPartition `json:"assigned"`
}

type topicPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

// describeGroups tells of groups by name. Those that could not be described are
// in failures.
func describeGroups(ctx context.Context, adm *kadm.Client, failures *cli.Failures, names ...string) ([]groupInfo, error) {
	classic, err := adm.DescribeGroups(ctx, names...)
	if err != nil {
		return nil, err
	}
	var all []groupInfo
	for _, name := range names {
		g, ok := classic[name]
		if ok && g.Err == nil && g.State != "Dead" {
			all = append(all, classicGroup(&g))
			continue
		}
		consumer, err := adm.DescribeConsumerGroups(ctx, name)
		if c, ok := consumer[name]; ok && err == nil && c.Err == nil {
			all = append(all, consumerGroup(&c))
			continue
		}
		err = cli.Explain(g.Err, g.ErrMessage)
		if err == nil {
			err = kerr.GroupIDNotFound
		}
		failures.Add("group "+name, err)
	}
	return all, nil
}

func classicGroup(g *kadm.DescribedGroup) groupInfo {
	info := groupInfo{
		Group: g.Group, Type: "classic", State: g.State, Assignor: g.Protocol, Coordinator: g.Coordinator.NodeID,
		Members: []memberInfo{},
	}
	for _, m := range g.Members {
		of := memberInfo{Member: m.MemberID, Client: m.ClientID, Host: m.ClientHost, Assigned: []topicPartition{}}
		if m.InstanceID != nil {
			of.Instance = *m.InstanceID
		}
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range a.Topics {
				for _, p := range t.Partitions {
					of.Assigned = append(of.Assigned, topicPartition{t.Topic, p})
				}
			}
		}
		sortPartitions(of.Assigned)
		info.Members = append(info.Members, of)
	}
	return info
}

func consumerGroup(g *kadm.DescribedConsumerGroup) groupInfo {
	info := groupInfo{
		Group: g.Group, Type: "consumer", State: g.State, Assignor: g.AssignorName, Coordinator: g.Coordinator.NodeID,
		Members: []memberInfo{},
	}
	for _, m := range g.Members {
		of := memberInfo{Member: m.MemberID, Client: m.ClientID, Host: m.ClientHost, Epoch: m.MemberEpoch, Assigned: []topicPartition{}}
		if m.InstanceID != nil {
			of.Instance = *m.InstanceID
		}
		m.Assignment.Each(func(t string, p int32) { of.Assigned = append(of.Assigned, topicPartition{t, p}) })
		sortPartitions(of.Assigned)
		info.Members = append(info.Members, of)
	}
	return info
}

func sortPartitions(all []topicPartition) { slices.SortFunc(all, comparePartitions) }

func comparePartitions(a, b topicPartition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// memberOf finds who is assigned a partition.
func (g *groupInfo) memberOf(tp topicPartition) memberInfo {
	for _, m := range g.Members {
		if slices.Contains(m.Assigned, tp) {
			return m
		}
	}
	return memberInfo{}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
