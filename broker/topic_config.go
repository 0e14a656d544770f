// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/seglog"
)

var errInvalidConfig = errors.New("invalid config")

// topicKey is a configuration key of topics, with Kafka's name.
type topicKey struct {
	name     string
	kind     kmsg.ConfigType
	broker   string // the broker's key that gives the default, if there is one
	value    func(c *Config) string
	min, max int64    // of numbers
	allowed  []string // of strings and of list elements
}

func fixed(v string) func(*Config) string { return func(*Config) string { return v } }

const (
	noLimit   = math.MaxInt64
	maxInt32  = math.MaxInt32
	typeLong  = kmsg.ConfigTypeLong
	typeInt   = kmsg.ConfigTypeInt
	typeStr   = kmsg.ConfigTypeString
	typeList  = kmsg.ConfigTypeList
	typeBool  = kmsg.ConfigTypeBoolean
	typeFloat = kmsg.ConfigTypeDouble
)

// topicKeys has the keys that a topic may set, by name. Those of retention and
// compaction are kept and told but have no effect yet: see the package comment.
// A key, or a value, that would promise something that is not done is refused.
var topicKeys = []topicKey{
	{name: "cleanup.policy", kind: typeList, broker: "log.cleanup.policy", value: fixed("delete"), allowed: []string{"delete", "compact"}},
	{name: "compression.type", kind: typeStr, broker: "compression.type", value: fixed("producer"), allowed: []string{"producer"}},
	{name: "delete.retention.ms", kind: typeLong, broker: "log.cleaner.delete.retention.ms", value: fixed("86400000"), max: noLimit},
	{name: "file.delete.delay.ms", kind: typeLong, broker: "log.segment.delete.delay.ms", value: fixed("60000"), max: noLimit},
	{name: "flush.messages", kind: typeLong, broker: "log.flush.interval.messages", value: fixed("9223372036854775807"), min: 1, max: noLimit},
	{name: "flush.ms", kind: typeLong, broker: "log.flush.interval.ms", value: fixed("9223372036854775807"), max: noLimit},
	{name: "index.interval.bytes", kind: typeInt, broker: "log.index.interval.bytes", value: fixed("4096"), min: 1, max: maxInt32},
	{name: "max.compaction.lag.ms", kind: typeLong, broker: "log.cleaner.max.compaction.lag.ms", value: fixed("9223372036854775807"), min: 1, max: noLimit},
	{name: "max.message.bytes", kind: typeInt, broker: "message.max.bytes", value: func(c *Config) string { return strconv.Itoa(c.MessageMaxBytes) }, max: maxInt32},
	{name: "message.timestamp.type", kind: typeStr, broker: "log.message.timestamp.type", value: fixed("CreateTime"), allowed: []string{"CreateTime"}},
	{name: "min.cleanable.dirty.ratio", kind: typeFloat, broker: "log.cleaner.min.cleanable.ratio", value: fixed("0.5"), max: 1},
	{name: "min.compaction.lag.ms", kind: typeLong, broker: "log.cleaner.min.compaction.lag.ms", value: fixed("0"), max: noLimit},
	{name: "min.insync.replicas", kind: typeInt, broker: "min.insync.replicas", value: fixed("1"), min: 1, max: maxInt32},
	{name: "preallocate", kind: typeBool, broker: "log.preallocate", value: fixed("false"), allowed: []string{"false"}},
	{name: "retention.bytes", kind: typeLong, broker: "log.retention.bytes", value: fixed("-1"), min: -1, max: noLimit},
	{name: "retention.ms", kind: typeLong, broker: "log.retention.ms", value: fixed("604800000"), min: -1, max: noLimit},
	{name: "segment.bytes", kind: typeInt, broker: "log.segment.bytes", value: func(c *Config) string { return strconv.FormatInt(c.SegmentBytes, 10) }, min: 14, max: maxInt32},
	{name: "segment.index.bytes", kind: typeInt, broker: "log.index.size.max.bytes", value: fixed("10485760"), min: 4, max: maxInt32},
	{name: "segment.jitter.ms", kind: typeLong, broker: "log.roll.jitter.ms", value: fixed("0"), max: noLimit},
	{name: "segment.ms", kind: typeLong, broker: "log.roll.ms", value: func(c *Config) string { return strconv.FormatInt(c.SegmentAge.Milliseconds(), 10) }, min: 1, max: noLimit},
	{name: "unclean.leader.election.enable", kind: typeBool, broker: "unclean.leader.election.enable", value: fixed("false"), allowed: []string{"false"}},
}

func findTopicKey(name string) *topicKey {
	i, ok := slices.BinarySearchFunc(topicKeys, name, func(k topicKey, n string) int { return strings.Compare(k.name, n) })
	if !ok {
		return nil
	}
	return &topicKeys[i]
}

// checkTopicConfig refuses a key or a value that the broker does not know.
func checkTopicConfig(name, value string) error {
	k := findTopicKey(name)
	if k == nil {
		return fmt.Errorf("%w: unknown topic config name: %.100q", errInvalidConfig, name)
	}
	if !k.accepts(value) {
		return fmt.Errorf("%w: invalid value %.100q for configuration %s", errInvalidConfig, value, name)
	}
	return nil
}

func (k *topicKey) accepts(value string) bool {
	switch k.kind {
	case typeLong, typeInt:
		n, err := strconv.ParseInt(value, 10, 64)
		return err == nil && n >= k.min && n <= k.max
	case typeFloat:
		f, err := strconv.ParseFloat(value, 64)
		return err == nil && f >= float64(k.min) && f <= float64(k.max)
	case typeList:
		for v := range strings.SplitSeq(value, ",") {
			if !slices.Contains(k.allowed, strings.TrimSpace(v)) {
				return false
			}
		}
		return true
	default:
		return slices.Contains(k.allowed, value)
	}
}

// topicValue is the value of key for a topic with the given configs.
func (c *Config) topicValue(configs map[string]string, key string) string {
	if v, ok := configs[key]; ok {
		return v
	}
	if k := findTopicKey(key); k != nil {
		return k.value(c)
	}
	return ""
}

// topicNumber is topicValue of a number; values were checked when they came in,
// but the metadata file may have been written by hand.
func (c *Config) topicNumber(configs map[string]string, key string) int64 {
	if n, err := strconv.ParseInt(c.topicValue(configs, key), 10, 64); err == nil {
		return n
	}
	n, _ := strconv.ParseInt(findTopicKey(key).value(c), 10, 64)
	return n
}

// seglog is the configuration of a partition's log.
func (c *Config) seglog(configs map[string]string, dir string) seglog.Config {
	ageMs := min(c.topicNumber(configs, "segment.ms"), math.MaxInt64/int64(time.Millisecond))
	return seglog.Config{
		FS:                 c.FS,
		Dir:                dir,
		SegmentBytes:       c.topicNumber(configs, "segment.bytes"),
		SegmentAge:         time.Duration(ageMs) * time.Millisecond,
		IndexIntervalBytes: int(c.topicNumber(configs, "index.interval.bytes")),
		MaxBatchBytes:      c.RequestMaxBytes, // max.message.bytes may shrink later: what is in the log stays readable
		Flush:              c.Flush.seglog(),
		Logger:             c.Logger,
	}
}
