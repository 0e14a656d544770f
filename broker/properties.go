// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrUnknownProperty says that no broker config of this name is honoured.
var ErrUnknownProperty = errors.New("unknown broker config")

// Set sets what Apache Kafka calls name in its server.properties: the field of c
// whose comment has the name, or the default of a config of topics
// (log.retention.ms, say), which is told as a static config of the broker. A name
// that nothing looks at is an [ErrUnknownProperty], a value that makes no sense an
// error too, and c is as before.
func (c *Config) Set(name, value string) error {
	value = strings.TrimSpace(value)
	if set, ok := properties()[name]; ok {
		if err := set(c, value); err != nil {
			return fmt.Errorf("%s=%.100s: %w", name, value, err)
		}
		return nil
	}
	o := brokerOption(name)
	if o == nil || o.topic == "" {
		return fmt.Errorf("%w: %.100s", ErrUnknownProperty, name)
	}
	return c.setDefaultOf(o, value)
}

// setDefaultOf sets what topics have unless they say otherwise.
func (c *Config) setDefaultOf(o *option, value string) error {
	if err := checkValue(o, o.broker, value); err != nil {
		return err
	}
	c.topicDefaults = replaceOne(c.topicDefaults, o.broker, &value)
	return nil
}

// A property sets one field.
type property func(c *Config, value string) error

// properties are the names with a field, and those that say the same in another unit.
// It is a function since the options refer to Config.
func properties() map[string]property {
	return map[string]property{
		"advertised.listeners": listenerOf(func(c *Config) *string { return &c.Advertise }),
		"listeners":            listenerOf(func(c *Config) *string { return &c.Listen }),
		"log.dir":              text(func(c *Config) *string { return &c.Dir }),
		"log.dirs":             text(func(c *Config) *string { return &c.Dir }),
		"node.id":              number(func(c *Config) *int32 { return &c.NodeID }),
		"broker.id":            number(func(c *Config) *int32 { return &c.NodeID }),

		"auto.create.topics.enable": setAutoCreate,
		"num.partitions":            number(func(c *Config) *int32 { return &c.NumPartitions }),
		"log.segment.bytes":         number(func(c *Config) *int64 { return &c.SegmentBytes }),
		"log.roll.ms":               inUnits(time.Millisecond, func(c *Config) *time.Duration { return &c.SegmentAge }),
		"log.roll.hours":            inUnits(time.Hour, func(c *Config) *time.Duration { return &c.SegmentAge }),
		"log.retention.hours":       retention(time.Hour),
		"log.retention.minutes":     retention(time.Minute),
		"message.max.bytes":         number(func(c *Config) *int { return &c.MessageMaxBytes }),
		"fetch.max.bytes":           number(func(c *Config) *int { return &c.FetchMaxBytes }),

		"max.incremental.fetch.session.cache.slots": number(func(c *Config) *int { return &c.FetchSessions }),
		"socket.request.max.bytes":                  number(func(c *Config) *int { return &c.RequestMaxBytes }),
		"queued.max.request.bytes":                  number(func(c *Config) *int64 { return &c.RequestMemory }),
		"connections.max.idle.ms":                   inUnits(time.Millisecond, func(c *Config) *time.Duration { return &c.IdleTimeout }),
		"max.connections":                           number(func(c *Config) *int { return &c.MaxConnections }),

		"offsets.topic.num.partitions":     number(func(c *Config) *int32 { return &c.OffsetsPartitions }),
		"offsets.retention.minutes":        inUnits(time.Minute, func(c *Config) *time.Duration { return &c.OffsetsRetention }),
		"offset.metadata.max.bytes":        number(func(c *Config) *int { return &c.OffsetMetadataMaxBytes }),
		"group.initial.rebalance.delay.ms": setRebalanceDelay,
		"group.min.session.timeout.ms":     inUnits(time.Millisecond, func(c *Config) *time.Duration { return &c.GroupMinSessionTimeout }),
		"group.max.session.timeout.ms":     inUnits(time.Millisecond, func(c *Config) *time.Duration { return &c.GroupMaxSessionTimeout }),
		"group.max.size":                   number(func(c *Config) *int { return &c.GroupMaxSize }),

		"group.consumer.session.timeout.ms":        inUnits(time.Millisecond, func(c *Config) *time.Duration { return &c.ConsumerSessionTimeout }),
		"group.consumer.min.session.timeout.ms":    inUnits(time.Millisecond, func(c *Config) *time.Duration { return &c.ConsumerMinSessionTimeout }),
		"group.consumer.max.session.timeout.ms":    inUnits(time.Millisecond, func(c *Config) *time.Duration { return &c.ConsumerMaxSessionTimeout }),
		"group.consumer.heartbeat.interval.ms":     inUnits(time.Millisecond, func(c *Config) *time.Duration { return &c.ConsumerHeartbeatInterval }),
		"group.consumer.min.heartbeat.interval.ms": inUnits(time.Millisecond, func(c *Config) *time.Duration { return &c.ConsumerMinHeartbeatInterval }),
		"group.consumer.max.heartbeat.interval.ms": inUnits(time.Millisecond, func(c *Config) *time.Duration { return &c.ConsumerMaxHeartbeatInterval }),
		"group.consumer.max.size":                  number(func(c *Config) *int { return &c.ConsumerGroupMaxSize }),
		"group.consumer.migration.policy":          setMigration,

		"log.retention.check.interval.ms":     inUnits(time.Millisecond, func(c *Config) *time.Duration { return &c.RetentionCheckInterval }),
		"log.cleaner.backoff.ms":              inUnits(time.Millisecond, func(c *Config) *time.Duration { return &c.CleanerBackoff }),
		"log.cleaner.dedupe.buffer.size":      number(func(c *Config) *int64 { return &c.CleanerMapBytes }),
		"log.cleaner.io.max.bytes.per.second": setCleanerRate,
	}
}

func text(field func(*Config) *string) property {
	return func(c *Config, v string) error {
		if v == "" {
			return errors.New("it is empty")
		}
		*field(c) = v
		return nil
	}
}

// number takes numbers from 1 on: 0 would mean the default.
func number[T int | int32 | int64](field func(*Config) *T) property {
	return func(c *Config, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 1 || int64(T(n)) != n {
			return errors.New("want a number above 0")
		}
		*field(c) = T(n)
		return nil
	}
}

// units parses a number of unit, at least least.
func units(v string, unit time.Duration, least int64) (time.Duration, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < least {
		return 0, fmt.Errorf("want a number from %d on", least)
	}
	return time.Duration(min(n, math.MaxInt64/int64(unit))) * unit, nil
}

func inUnits(unit time.Duration, field func(*Config) *time.Duration) property {
	return func(c *Config, v string) error {
		d, err := units(v, unit, 1)
		if err == nil {
			*field(c) = d
		}
		return err
	}
}

func setRebalanceDelay(c *Config, v string) (err error) {
	d, err := units(v, time.Millisecond, 0)
	if err == nil {
		c.GroupInitialRebalanceDelay = d
	}
	return err
}

// retention is log.retention.ms in another unit.
func retention(unit time.Duration) property {
	return func(c *Config, v string) error {
		d, err := units(v, unit, -1)
		if err != nil {
			return err
		}
		value := ms(d)
		if d < 0 {
			value = "-1"
		}
		return c.setDefaultOf(brokerOption("log.retention.ms"), value)
	}
}

func setAutoCreate(c *Config, v string) error {
	if !(&option{kind: kmsg.ConfigTypeBoolean}).accepts(v) {
		return errors.New("want true or false")
	}
	c.AutoCreateTopics = strings.EqualFold(v, "true")
	return nil
}

func setMigration(c *Config, v string) error {
	for p := MigrateBothWays; p <= MigrateNever; p++ {
		if strings.EqualFold(p.String(), v) {
			c.ConsumerMigration = p
			return nil
		}
	}
	return errors.New("want bidirectional, upgrade, downgrade or disabled")
}

func setCleanerRate(c *Config, v string) error {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(f) || f < 1 {
		return errors.New("want a number from 1 on")
	}
	c.CleanerBytesPerSecond = int64(min(f, math.MaxInt64/2))
	return nil
}

// listenerOf takes one listener without encryption, "PLAINTEXT://host:port".
func listenerOf(field func(*Config) *string) property {
	return func(c *Config, v string) error {
		addr, ok := strings.CutPrefix(v, "PLAINTEXT://")
		if !ok || strings.Contains(addr, ",") {
			return errors.New("want one PLAINTEXT://host:port")
		}
		*field(c) = addr
		return nil
	}
}
