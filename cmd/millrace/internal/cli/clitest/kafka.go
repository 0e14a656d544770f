// SPDX-License-Identifier: Apache-2.0

package clitest

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
	"github.com/millrace/millrace/internal/kafkatest"
)

// Both runs a test on this broker and on Apache Kafka, without topics and without
// groups that have no members.
func Both(t *testing.T, test func(t *testing.T, f *cli.Flags)) {
	t.Run("on this broker", func(t *testing.T) { test(t, Broker(t)) })
	t.Run("on Apache Kafka", func(t *testing.T) {
		k := kafkatest.Shared(t)
		t.Setenv("MILLRACE_BROKERS", k.Addr)
		f := &cli.Flags{Brokers: k.Addr, Timeout: time.Minute}
		empty(t, f)
		test(t, f)
	})
}

// empty deletes what other tests have left, and waits until groups are served: Apache
// Kafka makes the topic of offsets when somebody asks for a group first.
func empty(t *testing.T, f *cli.Flags) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := f.Admin(ctx, func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
		for ctx.Err() == nil {
			if _, err := adm.FetchOffsets(ctx, "nobody"); err == nil {
				break
			}
		}
		groups, err := adm.ListGroups(ctx)
		if err != nil {
			return err
		}
		if _, err := adm.DeleteGroups(ctx, groups.Groups()...); err != nil {
			t.Logf("delete groups: %v", err) // one of them has members
		}
		topics, err := adm.ListTopics(ctx)
		if err != nil {
			return err
		}
		_, err = adm.DeleteTopics(ctx, topics.Names()...)
		return err
	})
	if err != nil {
		t.Fatalf("empty the cluster: %v", err)
	}
	Await(t, f, func(topics kadm.TopicDetails) bool { return len(topics) == 0 })
}

// Await waits until the cluster tells of topics what ok wants: a broker of Apache
// Kafka does so some time after its controller has made a change.
func Await(t testing.TB, f *cli.Flags, ok func(topics kadm.TopicDetails) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := f.Admin(ctx, func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
		for {
			topics, err := adm.ListTopics(ctx)
			if err != nil || ok(topics) {
				return err
			}
		}
	})
	if err != nil {
		t.Fatalf("wait for topics: %v", err)
	}
}

// AwaitTopics waits until the cluster tells of topics that were created.
func AwaitTopics(t testing.TB, f *cli.Flags, names ...string) {
	t.Helper()
	Await(t, f, func(topics kadm.TopicDetails) bool {
		for _, name := range names {
			if d, there := topics[name]; !there || d.Err != nil || d.Partitions.Numbers() == nil {
				return false
			}
		}
		return true
	})
}
