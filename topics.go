// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// CreateTopics makes topics that do not exist yet, with the brokers' default
// replication, and returns when they are known. It waits for brokers that are away
// as long as ctx allows, and logs that it does.
func (i *Instance) CreateTopics(ctx context.Context, partitions int32, names ...string) error {
	client, err := i.NewClient(kgo.WithHooks(&patience{log: i.log}))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	made, err := admin.CreateTopics(ctx, partitions, -1, nil, names...)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for _, topic := range made.Sorted() {
		if topic.Err != nil && !errors.Is(topic.Err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %q: %w", topic.Topic, topic.Err)
		}
	}
	return known(ctx, admin, names)
}

// known waits until the brokers that are asked know topics: on a cluster the answer
// to who makes one comes before all have heard of it.
func known(ctx context.Context, admin *kadm.Client, names []string) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		topics, err := admin.ListTopics(ctx, names...)
		if err != nil {
			return fmt.Errorf("look for the topics that were created: %w", err)
		}
		if err := topics.Error(); err == nil || !kerr.IsRetriable(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again.C:
		}
	}
}

// patience says once that a client waits for a broker.
type patience struct {
	log  *slog.Logger
	told atomic.Bool
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (p *patience) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil && p.told.CompareAndSwap(false, true) {
		p.log.Warn("no broker can be reached: waiting for one", "cause", err)
	}
}
