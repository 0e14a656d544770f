// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/metrics"
)

// What a scrape may hold: above this, topics share their counters, and logs are
// told by topic only. See docs/guide/metrics.md.
const (
	maxTopicSeries     = 1000
	maxPartitionSeries = 2000
)

// brokerMetrics is what the parts of a broker count into.
type brokerMetrics struct {
	topics            *metrics.Topics
	flushes           metrics.Histogram
	flushFailures     atomic.Uint64
	accepted, refused atomic.Uint64 // connections

	maxPartitions int
	maxLags       int

	// more are the metrics of parts that count by themselves (the cleaner): set
	// before the broker registers, described and collected with the rest. A
	// collector here is called from many goroutines and must not block.
	more []prometheus.Collector
}

func newBrokerMetrics() *brokerMetrics {
	return &brokerMetrics{topics: metrics.NewTopics(maxTopicSeries), maxPartitions: maxPartitionSeries, maxLags: maxLagSeries}
}

// flushed counts one fsync of a log.
func (m *brokerMetrics) flushed(took time.Duration, err error) {
	if err != nil {
		m.flushFailures.Add(1)
		return
	}
	m.flushes.Observe(took)
}

// coordinated tells whether a request's handler does nothing but ask a group's
// coordinator: all its time is spent waiting, for the coordinator's log or for
// other members.
func coordinated(key kmsg.Key) bool {
	switch key {
	case kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.JoinGroup, kmsg.Heartbeat, kmsg.LeaveGroup, kmsg.SyncGroup,
		kmsg.DescribeGroups, kmsg.ListGroups, kmsg.DeleteGroups, kmsg.OffsetDelete,
		kmsg.ConsumerGroupHeartbeat, kmsg.ConsumerGroupDescribe:
		return true
	default:
		return false
	}
}

func (b *Broker) registerMetrics() error {
	if b.cfg.Metrics == nil {
		return nil
	}
	c := newCollector(b)
	if err := b.cfg.Metrics.Register(c); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	b.registered = c
	return nil
}

func (b *Broker) unregisterMetrics() {
	if b.registered != nil {
		b.cfg.Metrics.Unregister(b.registered)
	}
}

// errClosing is Health's answer while and after Close.
var errClosing = errors.New("broker is closed")

// Health is nil as long as the broker serves and every log takes appends. A log
// whose disk has failed takes none until the broker is opened anew.
func (b *Broker) Health() error {
	if b.closing.Load() {
		return errClosing
	}
	offline, first := 0, error(nil)
	for _, t := range b.topics.all() {
		for _, p := range t.partitions() {
			if err := p.log.Failure(); err != nil {
				if offline++; first == nil {
					first = fmt.Errorf("%s-%d: %w", t.name, p.index, err)
				}
			}
		}
	}
	if offline > 0 {
		return fmt.Errorf("%d partitions are offline: %w", offline, first)
	}
	return nil
}
