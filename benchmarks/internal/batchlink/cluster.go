// SPDX-License-Identifier: Apache-2.0

// Package batchlink is the prototype behind docs/design/batches.md: a link that works
// on record batches. It decodes what was fetched straight into the engine's records,
// and encodes what is appended straight into the batches that are sent, where the
// real one goes through a kgo.Record for each. Group, restore and administration
// are those of the real link.
//
// It is there to be measured. It knows one broker, no transactions and no
// moving leaders, and it does not try again: what fails ends the application.
package batchlink

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/runtime/link"
)

type cluster struct {
	link.Cluster
	cfg    link.Config
	client *kgo.Client
	ctx    context.Context // of the goroutines; ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	topics map[string]link.Topic
	broker int // -1: not known yet
}

// Connect opens a link: for runtime.Config.Connect.
func Connect(cfg link.Config) (link.Cluster, error) {
	inner, err := link.Open(cfg)
	if err != nil {
		return nil, err
	}
	opts := []kgo.Opt{kgo.SeedBrokers(cfg.Brokers...)}
	if cfg.Dialer != nil {
		opts = append(opts, kgo.Dialer(cfg.Dialer))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		inner.Close()
		return nil, fmt.Errorf("open a client: %w", err)
	}
	c := &cluster{Cluster: inner, cfg: cfg, client: client, topics: map[string]link.Topic{}, broker: -1}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// ConnectReads opens a link that fetches batches and sends as the real one does.
func ConnectReads(cfg link.Config) (link.Cluster, error) {
	c, err := Connect(cfg)
	if err != nil {
		return nil, err
	}
	return reads{c.(*cluster)}, nil
}

type reads struct{ *cluster }

func (r reads) Lane() link.Lane { return r.cluster.Cluster.Lane() }

func (c *cluster) Close() {
	c.cancel()
	c.wg.Wait()
	c.client.Close()
	c.Cluster.Close()
}

// topic describes a topic; the cluster is asked once.
func (c *cluster) topic(name string) (link.Topic, error) {
	c.mu.Lock()
	t, ok := c.topics[name]
	c.mu.Unlock()
	if ok {
		return t, nil
	}
	found, err := c.Topics(c.ctx, name)
	if err != nil {
		return link.Topic{}, err
	}
	t, ok = found[name]
	if !ok {
		return link.Topic{}, fmt.Errorf("topic %s does not exist", name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.topics[name] = t
	return t, nil
}

// request asks the one broker.
func (c *cluster) request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	c.mu.Lock()
	broker := c.broker
	c.mu.Unlock()
	if broker < 0 {
		resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, c.client)
		if err != nil {
			return nil, fmt.Errorf("look for the broker: %w", err)
		}
		if len(resp.Brokers) != 1 {
			return nil, errors.New("the prototype knows clusters of one broker only")
		}
		broker = int(resp.Brokers[0].NodeID)
		c.mu.Lock()
		c.broker = broker
		c.mu.Unlock()
	}
	return c.client.Broker(broker).Request(ctx, req)
}
