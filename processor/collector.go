// SPDX-License-Identifier: Apache-2.0

package processor

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector gives the App's metrics to a Prometheus registry: the state, lags, times,
// stores and restores of its tasks, commits, and what was dropped. They are read when
// they are asked for; a record costs nothing. Labels are the application id and, as
// "task", the task; several Apps of a process may be in one registry.
//
//	registry.MustRegister(app.Collector())
func (a *App) Collector() prometheus.Collector {
	c := &collector{app: a}
	labels := prometheus.Labels{"app": a.id}
	d := func(name, help string, names ...string) *prometheus.Desc {
		desc := prometheus.NewDesc("millrace_app_"+name, help, names, labels)
		c.all = append(c.all, desc)
		return desc
	}
	c.state = d("state", "1 for the state that the application is in.", "state")
	c.tasks = d("tasks", "Tasks of this instance.", "phase")
	c.commits = d("commits_total", "Commits that ended well.")
	c.commitTime = d("commit_seconds", "How long commits have taken, from sealing the stores until the offsets are committed.")
	c.restarts = d("restarts_total", "Restarts of tasks after a failure.")
	c.limit = d("memory_limit_bytes", "Config.MemoryLimit.")
	c.used = d("memory_bytes", "Memory that counts against the limit, but for the caches of the stores' backend.", "kind")
	c.stops = d("memory_stops_total", "How often records had to wait for a commit to make room.")
	c.records = d("task_records_total", "Records processed since the task was assigned.", "task")
	c.dropped = d("task_dropped_records_total", "Records dropped by the rules of a step, or by the policy for failures.", "task", "step", "reason")
	c.streamTime = d("task_stream_time_ms", "Stream time in ms since the Unix epoch.", "task")
	c.toRestore = d("task_restore_remaining_records", "Changelog offsets still to be read.", "task")
	c.restoreLeft = d("task_restore_left_seconds", "Estimate of how long the restore will still take.", "task")
	c.memory = d("task_state_bytes", "Memory of the task's stores as of the last commit.", "task", "kind")
	c.lag = d("input_lag_records", "Offsets of an input not processed yet.", "task", "topic", "partition")
	c.globalLag = d("global_lag_records", "Offsets of a global table's topic not read yet, as of the last look.", "topic", "partition")
	c.uncommitted = d("input_uncommitted_records", "Offsets of an input processed and not committed.", "task", "topic", "partition")
	return c
}

type collector struct {
	app *App
	all []*prometheus.Desc

	state, tasks, commits, restarts                 *prometheus.Desc
	commitTime                                      *prometheus.Desc
	limit, used, stops                              *prometheus.Desc
	records, dropped, streamTime, toRestore, memory *prometheus.Desc
	restoreLeft                                     *prometheus.Desc
	lag, uncommitted, globalLag                     *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.all {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	p := c.app.Progress()
	gauge(c.state, 1, p.State.String())
	counter(c.commits, p.Commits)
	ch <- prometheus.MustNewConstSummary(c.commitTime, uint64(p.Commits), p.CommitTime.Seconds(), nil)
	counter(c.restarts, p.Restarts)
	gauge(c.limit, p.Memory.Limit)
	gauge(c.used, p.Memory.Uncommitted, "uncommitted")
	gauge(c.used, p.Memory.Cached, "cached")
	gauge(c.used, p.Memory.Queued, "queued")
	counter(c.stops, p.Memory.Stops)
	running := int64(0)
	for _, t := range p.Tasks {
		id := t.ID.String()
		if t.Running {
			running++
		}
		counter(c.records, t.Records, id)
		for drop, n := range t.Dropped {
			counter(c.dropped, n, id, drop.Node, drop.Reason)
		}
		if t.StreamTime >= 0 {
			gauge(c.streamTime, t.StreamTime, id)
		}
		gauge(c.toRestore, max(0, t.ToRestore-t.Restored), id)
		ch <- prometheus.MustNewConstMetric(c.restoreLeft, prometheus.GaugeValue, t.RestoreLeft.Seconds(), id)
		gauge(c.memory, t.StateDirty, id, "uncommitted")
		gauge(c.memory, t.StateCached, id, "cached")
		for _, in := range t.Inputs {
			partition := strconv.Itoa(int(in.Partition))
			gauge(c.lag, in.Lag(), id, in.Topic, partition)
			gauge(c.uncommitted, max(0, in.Position-max(in.Committed, 0)), id, in.Topic, partition)
		}
	}
	for _, in := range p.Globals {
		gauge(c.globalLag, in.Lag(), in.Topic, strconv.Itoa(int(in.Partition)))
	}
	gauge(c.tasks, running, "running")
	gauge(c.tasks, int64(len(p.Tasks))-running, "starting")
}
