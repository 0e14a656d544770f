// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/millrace/millrace/broker/internal/seglog"
)

// A topicConfig is what a topic's configs and the broker's come to, by type.
// Nothing in it changes: a changed topic gets a new one.
type topicConfig struct {
	set map[string]string // on the topic itself

	compact, remove bool  // cleanup.policy has compact, and delete
	retentionMs     int64 // -1: no limit
	retentionBytes  int64 // below 0: no limit
	fileDeleteDelay time.Duration

	minDirtyRatio     float64 // 0 to 1
	minCompactionLag  time.Duration
	maxCompactionLag  time.Duration
	tombstoneLifetime time.Duration // delete.retention.ms

	segmentBytes  int64
	segmentAge    time.Duration // segment.ms
	segmentJitter time.Duration // at most what segmentAge is shortened by
	indexBytes    int           // segment.index.bytes
	indexInterval int           // bytes

	flushMessages int64         // math.MaxInt64: no limit
	flushAfter    time.Duration // flush.ms

	maxMessageBytes int
	logAppendTime   bool
	beforeMaxMs     int64
	afterMaxMs      int64
	packing         seglog.Packing
}

// topicConfigOf is the effective configuration of a topic that has set.
func (l *brokerLayers) topicConfigOf(set map[string]string) *topicConfig {
	v := &layers{topic: set, brokerLayers: l}
	policy := elements(v.string("cleanup.policy"))
	return &topicConfig{
		set:               set,
		compact:           slices.Contains(policy, "compact"),
		remove:            slices.Contains(policy, "delete"),
		retentionMs:       v.number("retention.ms"),
		retentionBytes:    v.number("retention.bytes"),
		fileDeleteDelay:   v.duration("file.delete.delay.ms"),
		minDirtyRatio:     v.float("min.cleanable.dirty.ratio"),
		minCompactionLag:  v.duration("min.compaction.lag.ms"),
		maxCompactionLag:  v.duration("max.compaction.lag.ms"),
		tombstoneLifetime: v.duration("delete.retention.ms"),
		segmentBytes:      v.number("segment.bytes"),
		segmentAge:        v.duration("segment.ms"),
		segmentJitter:     v.duration("segment.jitter.ms"),
		indexBytes:        int(v.number("segment.index.bytes")),
		indexInterval:     int(v.number("index.interval.bytes")),
		flushMessages:     v.number("flush.messages"),
		flushAfter:        v.duration("flush.ms"),
		maxMessageBytes:   int(v.number("max.message.bytes")),
		logAppendTime:     v.string("message.timestamp.type") == "LogAppendTime",
		beforeMaxMs:       v.number("message.timestamp.before.max.ms"),
		afterMaxMs:        v.number("message.timestamp.after.max.ms"),
		packing:           v.packing(),
	}
}

// duration is the value of an option in ms, as long as a Duration can be.
func (l *layers) duration(name string) time.Duration {
	return time.Duration(min(l.number(name), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// packing is how batches are stored.
func (l *layers) packing() seglog.Packing {
	switch l.string("compression.type") {
	case "uncompressed":
		return seglog.Packing{Repack: true, Codec: seglog.CodecNone}
	case "gzip":
		return seglog.Packing{Repack: true, Codec: seglog.CodecGzip, Level: int(l.number("compression.gzip.level"))}
	case "snappy":
		return seglog.Packing{Repack: true, Codec: seglog.CodecSnappy}
	case "lz4":
		return seglog.Packing{Repack: true, Codec: seglog.CodecLZ4, Level: int(l.number("compression.lz4.level"))}
	case "zstd":
		return seglog.Packing{Repack: true, Codec: seglog.CodecZstd, Level: int(l.number("compression.zstd.level"))}
	default:
		return seglog.Packing{}
	}
}

// seglog is the configuration of a log of the topic.
func (t *topicConfig) seglog(c *Config, dir string) seglog.Config {
	return seglog.Config{FS: c.FS, Dir: dir, MaxBatchBytes: c.maxBatchBytes(), Logger: c.Logger}.With(t.tuning(c))
}

// maxBatchBytes bounds what a log may hold: max.message.bytes may shrink later,
// and what is in the log stays readable.
func (c *Config) maxBatchBytes() int { return c.RequestMaxBytes }

// tuning is what can change while the log is open. Of flush policies the
// broker's and the topic's both hold.
func (t *topicConfig) tuning(c *Config) seglog.Tuning {
	flush := c.Flush.seglog()
	if flush.Mode != seglog.FlushBatch && t.flushAfter < forever {
		if flush.Mode != seglog.FlushInterval || t.flushAfter < flush.Interval {
			flush = seglog.FlushPolicy{Mode: seglog.FlushInterval, Interval: max(t.flushAfter, time.Millisecond)}
		}
	}
	age := t.segmentAge
	if t.compact {
		age = min(age, t.maxCompactionLag)
	}
	if jitter := min(t.segmentJitter, age-1); jitter > 0 {
		age -= rand.N(jitter)
	}
	return seglog.Tuning{
		SegmentBytes:       t.segmentBytes,
		SegmentAge:         age,
		IndexIntervalBytes: max(t.indexInterval, 1),
		MaxIndexBytes:      t.indexBytes,
		Flush:              flush,
		LogAppendTime:      t.logAppendTime,
		FileDeleteDelay:    t.fileDeleteDelay,
	}
}

// forever is a duration of so many ms that it means none.
const forever = time.Duration(math.MaxInt64/int64(time.Millisecond)) * time.Millisecond
