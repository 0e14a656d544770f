// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/broker/internal/seglog"
)

// A cleaner removes and compacts old records, as the topics' configs say. It has
// two goroutines: one for retention, which is quick, and one that compacts, one
// partition at a time, those first that have most to gain.
type cleaner struct {
	topics *registry
	cfg    *Config
	log    *slog.Logger

	removed, compactions, failures, read, written atomic.Uint64

	compactor seglog.Cleaner           // run's
	retry     map[*partition]time.Time // run's: when a partition that failed is tried again
}

// retryFailed is how long a partition whose compaction has failed is left alone.
const retryFailed = 10 * time.Minute

func newCleaner(topics *registry, cfg *Config) *cleaner {
	return &cleaner{
		topics: topics, cfg: cfg, log: cfg.Logger,
		compactor: seglog.Cleaner{MapBytes: cfg.CleanerMapBytes, BytesPerSecond: float64(cfg.CleanerBytesPerSecond)},
		retry:     make(map[*partition]time.Time),
	}
}

// runRetention removes segments until ctx ends.
func (c *cleaner) runRetention(ctx context.Context) {
	every(ctx, c.cfg.RetentionCheckInterval, func() { c.retain(ctx, time.Now()) })
}

// run compacts until ctx ends.
func (c *cleaner) run(ctx context.Context) {
	every(ctx, c.cfg.CleanerBackoff, func() {
		now := time.Now()
		c.sweep(ctx, now)
		c.compact(ctx, now)
	})
}

// every calls fn again and again, with a pause before each call.
func every(ctx context.Context, pause time.Duration, fn func()) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		fn()
		timer.Reset(pause)
	}
}

// each calls fn for all partitions until ctx ends.
func (c *cleaner) each(ctx context.Context, fn func(p *partition, t *topicConfig)) {
	for _, t := range c.topics.all() {
		for _, p := range t.partitions() {
			if ctx.Err() != nil {
				return
			}
			fn(p, t.config())
		}
	}
}

// retain removes the segments that are too old or too many.
func (c *cleaner) retain(ctx context.Context, now time.Time) {
	c.each(ctx, func(p *partition, t *topicConfig) {
		if !t.remove {
			return
		}
		removed, err := p.log.Retain(t.retention(), p.highWatermark(), now)
		switch {
		case err != nil:
			c.tell("retention", p, err)
		case removed > 0:
			c.removed.Add(uint64(removed))
			c.log.Info("segments removed by retention", "topic", p.topic.name, "partition", p.index,
				"segments", removed, "log_start_offset", p.log.LogStartOffset())
		}
	})
}

// sweep removes the files of segments that nobody can find any more.
func (c *cleaner) sweep(ctx context.Context, now time.Time) {
	c.each(ctx, func(p *partition, _ *topicConfig) {
		if err := p.log.Sweep(now); err != nil {
			c.tell("remove files", p, err)
		}
	})
	c.closeFiles(ctx)
}

// closeFiles syncs logs until no more segment files are open than may be: one
// with unsynced bytes stays open, and with the flush policy of the operating system
// the active segment of each partition that was ever written to is such a one.
func (c *cleaner) closeFiles(ctx context.Context) {
	const atOnce = 64 // logs synced between two looks at the number
	handles, synced := c.topics.handles, 0
	open, limit := handles.Trim()
	c.each(ctx, func(p *partition, _ *topicConfig) {
		if open <= limit || p.log.FlushedOffset() == p.log.LogEndOffset() || p.log.Failure() != nil {
			return
		}
		if err := p.log.Flush(ctx, p.log.LogEndOffset()); err != nil {
			c.tell("flush", p, err)
			return
		}
		if synced++; synced%atOnce == 0 {
			open, limit = handles.Trim()
		}
	})
	if synced > 0 {
		handles.Trim()
	}
}

// A dirtyLog is a partition that is to be compacted.
type dirtyLog struct {
	p    *partition
	conf *topicConfig
	dirt seglog.Dirt
}

// compact compacts the partitions that are dirty enough, what is overdue first, then
// the dirtiest first.
func (c *cleaner) compact(ctx context.Context, now time.Time) {
	list := c.dirty(ctx, now)
	slices.SortStableFunc(list, func(a, b dirtyLog) int {
		if a.dirt.Overdue != b.dirt.Overdue {
			if a.dirt.Overdue {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.dirt.Ratio(), a.dirt.Ratio())
	})
	for _, d := range list {
		if ctx.Err() != nil {
			return
		}
		c.compactOne(ctx, d)
	}
}

// dirty lists the partitions that are to be compacted.
func (c *cleaner) dirty(ctx context.Context, now time.Time) []dirtyLog {
	for p, at := range c.retry {
		if now.After(at) {
			delete(c.retry, p)
		}
	}
	var list []dirtyLog
	c.each(ctx, func(p *partition, t *topicConfig) {
		if _, waits := c.retry[p]; !t.compact || waits {
			return
		}
		var err error
		if t.maxCompactionLag < forever {
			err = p.log.RollOlder(t.maxCompactionLag, now)
		}
		d := dirtyLog{p: p, conf: t}
		if err == nil {
			d.dirt, err = p.log.Dirt(t.compaction(p.highWatermark()), now)
		}
		switch {
		case err != nil:
			c.failed(p, err)
		case d.dirt.Cleanable > 0 && (d.dirt.Overdue || d.dirt.Ratio() > t.minDirtyRatio):
			list = append(list, d)
		}
	})
	return list
}

func (c *cleaner) compactOne(ctx context.Context, d dirtyLog) {
	start := time.Now()
	done, err := c.compactor.Compact(ctx, d.p.log, d.conf.compaction(d.p.highWatermark()), start)
	c.read.Add(uint64(done.BytesRead))
	c.written.Add(uint64(done.BytesWritten))
	if err != nil {
		c.failed(d.p, err)
		return
	}
	c.compactions.Add(1)
	c.log.Info("compacted", "topic", d.p.topic.name, "partition", d.p.index, "dirty_ratio", d.dirt.Ratio(),
		"bytes_before", done.BytesRead, "bytes_after", done.BytesWritten, "dropped", done.Dropped, "rounds", done.Rounds, "took", time.Since(start))
}

// failed leaves a partition alone for some time.
func (c *cleaner) failed(p *partition, err error) {
	if c.tell("compaction", p, err) {
		c.failures.Add(1)
		c.retry[p] = time.Now().Add(retryFailed)
	}
}

// tell logs an error, unless it is that the partition or the broker is closed.
func (c *cleaner) tell(what string, p *partition, err error) bool {
	if errors.Is(err, seglog.ErrClosed) || errors.Is(err, context.Canceled) || p.isGone() {
		return false
	}
	c.log.Error(what+" has failed", "topic", p.topic.name, "partition", p.index, "err", err)
	return true
}

// collectors are the cleaner's metrics.
func (c *cleaner) collectors() []prometheus.Collector {
	counter := func(name, help string, v *atomic.Uint64) prometheus.Collector {
		opts := prometheus.CounterOpts{Namespace: "millrace", Subsystem: "broker", Name: name, Help: help}
		return prometheus.NewCounterFunc(opts, func() float64 { return float64(v.Load()) })
	}
	return []prometheus.Collector{
		counter("retention_segments_total", "Segments removed by retention.", &c.removed),
		counter("compactions_total", "Partitions compacted.", &c.compactions),
		counter("compaction_failures_total", "Compactions that have failed.", &c.failures),
		counter("compaction_read_bytes_total", "Bytes of segments that compactions have written anew.", &c.read),
		counter("compaction_written_bytes_total", "Bytes that compactions have written in their place.", &c.written),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "millrace", Subsystem: "broker", Name: "open_segment_files", Help: "Segment files that are open.",
		}, func() float64 { return float64(c.topics.handles.Open()) }),
	}
}

// retention is what the topic lets its logs keep.
func (t *topicConfig) retention() seglog.Retention {
	r := seglog.Retention{Age: -1, Bytes: t.retentionBytes}
	if t.retentionMs >= 0 && t.retentionMs < math.MaxInt64/int64(time.Millisecond) {
		r.Age = time.Duration(t.retentionMs) * time.Millisecond
	}
	return r
}

// compaction is how the topic's logs are compacted below the high watermark hw.
func (t *topicConfig) compaction(hw int64) seglog.Compaction {
	c := seglog.Compaction{MinLag: t.minCompactionLag, TombstoneLifetime: t.tombstoneLifetime, Limit: hw}
	if t.maxCompactionLag < forever {
		c.MaxLag = t.maxCompactionLag
	}
	return c
}
