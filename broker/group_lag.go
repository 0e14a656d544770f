// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/group"
)

// maxLagSeries is how many pairs of a group and a topic a scrape may hold, and of
// how many groups it asks for offsets at all. Above either, lags are left out.
const maxLagSeries = 2000

// A groupTopic is a topic that a group has committed offsets of.
type groupTopic struct{ group, topic string }

// lags sends how far the committed offsets of the groups lie behind the high
// watermark, a series for each topic. A partition without a committed offset does
// not count: where its consumer will begin is the consumer's affair.
func (c *collector) lags(ctx context.Context, ch chan<- prometheus.Metric, groups []kmsg.ListGroupsResponseGroup) {
	if len(groups) == 0 || len(groups) > c.b.counts.maxLags {
		return
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = 8
	for _, g := range groups {
		rg := kmsg.NewOffsetFetchRequestGroup() // of null topics: all
		rg.Group = g.Group
		req.Groups = append(req.Groups, rg)
	}
	sums := make(map[groupTopic]int64)
	for _, g := range c.b.groups.OffsetFetch(ctx, group.Client{ID: "metrics"}, req).Groups {
		for i := range g.Topics {
			if lag, ok := c.b.lagOf(&g.Topics[i]); ok && g.ErrorCode == 0 {
				sums[groupTopic{g.Group, g.Topics[i].Topic}] = lag
			}
		}
	}
	if len(sums) > c.b.counts.maxLags {
		return
	}
	for _, of := range slices.SortedFunc(maps.Keys(sums), func(a, b groupTopic) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.topic, b.topic))
	}) {
		gauge(ch, c.desc.groupLag, sums[of], of.group, of.topic)
	}
}

// lagOf sums up the lags of a topic's partitions; ok is false if there are none.
func (b *Broker) lagOf(t *kmsg.OffsetFetchResponseGroupTopic) (lag int64, ok bool) {
	known := b.topics.named(t.Topic)
	if known == nil {
		return 0, false
	}
	for _, p := range t.Partitions {
		part := known.partition(p.Partition)
		if part == nil || p.Offset < 0 || p.ErrorCode != 0 {
			continue
		}
		lag, ok = lag+max(0, part.highWatermark()-p.Offset), true
	}
	return lag, ok
}
