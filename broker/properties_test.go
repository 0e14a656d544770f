// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/broker"
)

func TestSet(t *testing.T) {
	cfg := broker.Config{Logger: quiet}
	for name, value := range map[string]string{
		"num.partitions": "7", "max.connections": "12", "connections.max.idle.ms": "90000", "offsets.retention.minutes": "60",
		"auto.create.topics.enable": "true", "group.consumer.migration.policy": "UPGRADE", "log.roll.hours": "2",
		"log.retention.minutes": "3", "compression.type": "lz4", "advertised.listeners": "PLAINTEXT://kafka.example.com:9092",
		"group.initial.rebalance.delay.ms": "0",
	} {
		if err := cfg.Set(name, value); err != nil {
			t.Error(err)
		}
	}
	if cfg.NumPartitions != 7 || cfg.MaxConnections != 12 || cfg.IdleTimeout != 90*time.Second || cfg.OffsetsRetention != time.Hour ||
		!cfg.AutoCreateTopics || cfg.ConsumerMigration != broker.MigrateUp || cfg.SegmentAge != 2*time.Hour || cfg.Advertise != "kafka.example.com:9092" {
		t.Errorf("%+v", cfg)
	}
	c := dial(t, open(t, cfg))
	mustCreate(c, "t", 1)
	want := []string{
		"compression.type=lz4 STATIC_BROKER_CONFIG [compression.type=lz4 STATIC_BROKER_CONFIG] [compression.type=producer DEFAULT_CONFIG]",
		"retention.ms=180000 STATIC_BROKER_CONFIG [log.retention.ms=180000 STATIC_BROKER_CONFIG] [log.retention.hours=168 DEFAULT_CONFIG]",
	}
	if diff := cmp.Diff(want, described(c, ofTopic, "t", "retention.ms", "compression.type")); diff != "" {
		t.Error(diff)
	}
}

func TestSetRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		unknown     bool
	}{
		{"no.such", "1", true},
		{"retention.ms", "1", true}, // the topic's name
		{"log.cleaner.threads", "2", true},
		{"num.partitions", "0", false},
		{"num.partitions", "many", false},
		{"node.id", "3000000000", false},
		{"connections.max.idle.ms", "-1", false},
		{"listeners", "SSL://:9092", false},
		{"listeners", "PLAINTEXT://:9092,CONTROLLER://:9093", false},
		{"log.dirs", "", false},
		{"compression.type", "brotli", false},
		{"auto.create.topics.enable", "maybe", false},
		{"group.consumer.migration.policy", "sideways", false},
		{"log.cleaner.io.max.bytes.per.second", "NaN", false},
	} {
		cfg := broker.Config{NumPartitions: 3}
		err := cfg.Set(tt.name, tt.value)
		if err == nil || errors.Is(err, broker.ErrUnknownProperty) != tt.unknown {
			t.Errorf("Set(%q, %q) = %v", tt.name, tt.value, err)
		}
		if !reflect.DeepEqual(cfg, broker.Config{NumPartitions: 3}) {
			t.Errorf("Set(%q, %q) left %+v", tt.name, tt.value, cfg)
		}
	}
}
