// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/group"
	"github.com/millrace/millrace/broker/internal/metrics"
)

// A collector reads the broker's metrics for a scrape. Counters are read as
// they are; gauges are asked of those who know.
type collector struct {
	b    *Broker
	desc descs
	all  []*prometheus.Desc
}

// descs are the names of the metrics, as docs/guide/metrics.md tells them.
type descs struct {
	info, connections, accepted, refused, memory, memoryLimit                 *prometheus.Desc
	requests, requestBytes, responseBytes, requestSeconds                     *prometheus.Desc
	topicInBytes, topicInRecords, topicOutBytes, topicOutRecords, topicBad    *prometheus.Desc
	topics, partitions, underReplicated, offline, topicPartitions, topicBytes *prometheus.Desc
	logBytes, logStart, logEnd, highWatermark                                 *prometheus.Desc
	groups, groupLag, flushSeconds, flushFailures, underMinISR                *prometheus.Desc
}

// groupsTimeout is how long a scrape waits for the coordinator.
const groupsTimeout = time.Second

func newCollector(b *Broker) *collector {
	c := &collector{b: b}
	d := func(name, help string, labels ...string) *prometheus.Desc {
		desc := prometheus.NewDesc("millrace_broker_"+name, help, labels, nil)
		c.all = append(c.all, desc)
		return desc
	}
	c.desc = descs{
		info:        d("info", "1, labelled with who the broker is.", "cluster_id", "node_id"),
		connections: d("connections", "Connections that are open."),
		accepted:    d("connections_accepted_total", "Connections that were accepted."),
		refused:     d("connections_refused_total", "Connections that were closed at once, being too many."),
		memory:      d("request_memory_bytes", "Bytes of all requests that are read or handled."),
		memoryLimit: d("request_memory_limit_bytes", "What request_memory_bytes may come to."),

		requests:       d("requests_total", "Requests that were answered.", "api"),
		requestBytes:   d("request_bytes_total", "Bytes of requests, as framed.", "api"),
		responseBytes:  d("response_bytes_total", "Bytes of answers, as framed.", "api"),
		requestSeconds: d("request_seconds", "Time of requests by stage: queue, handle, wait, write, total.", "api", "stage"),

		topicInBytes:    d("topic_in_bytes_total", "Bytes of batches appended.", "topic"),
		topicInRecords:  d("topic_in_records_total", "Records appended.", "topic"),
		topicOutBytes:   d("topic_out_bytes_total", "Bytes of batches sent to consumers.", "topic"),
		topicOutRecords: d("topic_out_records_total", "Records of the batches sent to consumers.", "topic"),
		topicBad:        d("topic_refused_batches_total", "Batches answered with an error.", "topic"),

		topics:          d("topics", "Topics, internal ones included."),
		partitions:      d("partitions", "Partitions of all topics."),
		underReplicated: d("under_replicated_partitions", "Partitions with fewer in-sync replicas than replicas."),
		underMinISR:     d("under_min_isr_partitions", "Partitions with fewer in-sync replicas than min.insync.replicas, or than there are if that is more."),
		offline:         d("offline_partitions", "Partitions that take no appends since their disk has failed."),
		topicPartitions: d("topic_partitions", "Partitions of a topic.", "topic"),
		topicBytes:      d("topic_log_bytes", "Bytes of the logs of a topic.", "topic"),
		logBytes:        d("log_bytes", "Bytes of a partition's log.", "topic", "partition"),
		logStart:        d("log_start_offset", "First offset that can be read.", "topic", "partition"),
		logEnd:          d("log_end_offset", "Offset that the next record gets.", "topic", "partition"),
		highWatermark:   d("high_watermark", "Offset below which all is acknowledged.", "topic", "partition"),

		groups:        d("groups", "Groups by type and state.", "type", "state"),
		groupLag:      d("group_lag", "Records between the committed offsets of a group and the high watermark.", "group", "topic"),
		flushSeconds:  d("flush_seconds", "Time of fsyncs of logs."),
		flushFailures: d("flush_failures_total", "Fsyncs of logs that failed."),
	}
	return c
}

// Describe sends the names of all metrics.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.all {
		ch <- d
	}
	for _, m := range c.b.counts.more {
		m.Describe(ch)
	}
}

// Collect sends all metrics as of now. It is safe for concurrent use.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.node(ch)
	c.requests(ch)
	c.traffic(ch)
	c.logs(ch)
	c.groups(ch)
	for _, m := range c.b.counts.more {
		m.Collect(ch)
	}
}

func gauge[N int | int64](ch chan<- prometheus.Metric, d *prometheus.Desc, v N, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
}

func counter(ch chan<- prometheus.Metric, d *prometheus.Desc, v uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (c *collector) node(ch chan<- prometheus.Metric) {
	b, m := c.b, c.b.counts
	gauge(ch, c.desc.info, 1, b.topics.clusterID, strconv.Itoa(int(b.cfg.NodeID)))
	gauge(ch, c.desc.connections, len(b.slots))
	counter(ch, c.desc.accepted, m.accepted.Load())
	counter(ch, c.desc.refused, m.refused.Load())
	gauge(ch, c.desc.memory, b.mem.inUse())
	gauge(ch, c.desc.memoryLimit, b.cfg.RequestMemory)
	ch <- m.flushes.Metric(c.desc.flushSeconds)
	counter(ch, c.desc.flushFailures, m.flushFailures.Load())
}

// requests sends the keys that somebody has used.
func (c *collector) requests(ch chan<- prometheus.Metric) {
	for _, a := range c.b.apis {
		r := a.metrics
		if r.Count.Load() == 0 {
			continue
		}
		api := a.key.Name()
		counter(ch, c.desc.requests, r.Count.Load(), api)
		counter(ch, c.desc.requestBytes, r.InBytes.Load(), api)
		counter(ch, c.desc.responseBytes, r.OutBytes.Load(), api)
		for _, s := range metrics.Stages() {
			ch <- r.Took(s).Metric(c.desc.requestSeconds, api, s.String())
		}
	}
}

func (c *collector) traffic(ch chan<- prometheus.Metric) {
	for _, t := range c.b.counts.topics.All() {
		counter(ch, c.desc.topicInBytes, t.InBytes.Load(), t.Name())
		counter(ch, c.desc.topicInRecords, t.InRecords.Load(), t.Name())
		counter(ch, c.desc.topicOutBytes, t.OutBytes.Load(), t.Name())
		counter(ch, c.desc.topicOutRecords, t.OutRecords.Load(), t.Name())
		counter(ch, c.desc.topicBad, t.Refused.Load(), t.Name())
	}
}

// logs sends the gauges of topics and partitions, topics without counters of
// their own as one.
func (c *collector) logs(ch chan<- prometheus.Metric) {
	type sum struct{ partitions, bytes int64 }
	var all, rest sum
	offline, hasRest := 0, false
	topics := c.b.topics.all()
	detailed := c.b.topics.partitionCount() <= c.b.counts.maxPartitions
	for _, t := range topics {
		var of sum
		for _, p := range t.partitions() {
			size := p.log.Size()
			of.partitions, of.bytes = of.partitions+1, of.bytes+size
			if p.log.Failure() != nil {
				offline++
			}
			if detailed {
				c.partition(ch, p, size)
			}
		}
		all.partitions, all.bytes = all.partitions+of.partitions, all.bytes+of.bytes
		if t.metrics.Name() == metrics.Rest {
			rest.partitions, rest.bytes, hasRest = rest.partitions+of.partitions, rest.bytes+of.bytes, true
			continue
		}
		gauge(ch, c.desc.topicPartitions, of.partitions, t.name)
		gauge(ch, c.desc.topicBytes, of.bytes, t.name)
	}
	if hasRest {
		gauge(ch, c.desc.topicPartitions, rest.partitions, metrics.Rest)
		gauge(ch, c.desc.topicBytes, rest.bytes, metrics.Rest)
	}
	gauge(ch, c.desc.topics, len(topics))
	gauge(ch, c.desc.partitions, all.partitions)
	gauge(ch, c.desc.underReplicated, 0) // every replica that there is is in sync
	gauge(ch, c.desc.underMinISR, 0)     // where more are asked for than there are, all are enough
	gauge(ch, c.desc.offline, offline)
}

func (c *collector) partition(ch chan<- prometheus.Metric, p *partition, size int64) {
	index := strconv.Itoa(int(p.index))
	gauge(ch, c.desc.logBytes, size, p.topic.name, index)
	gauge(ch, c.desc.logStart, p.log.LogStartOffset(), p.topic.name, index)
	gauge(ch, c.desc.logEnd, p.log.LogEndOffset(), p.topic.name, index)
	gauge(ch, c.desc.highWatermark, p.highWatermark(), p.topic.name, index)
}

// groups counts groups as ListGroups tells them, and tells their lags. While the coordinator loads,
// those that are not loaded yet are missing.
func (c *collector) groups(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), groupsTimeout)
	defer cancel()
	req := kmsg.NewPtrListGroupsRequest()
	req.Version = 5
	type kind struct{ typ, state string }
	n := make(map[kind]int)
	groups := c.b.groups.ListGroups(ctx, group.Client{ID: "metrics"}, req).Groups
	for _, g := range groups {
		n[kind{strings.ToLower(g.GroupType), g.GroupState}]++
	}
	for k, v := range n {
		gauge(ch, c.desc.groups, v, k.typ, k.state)
	}
	c.lags(ctx, ch, groups)
}
