// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// fill loads the inputs of a workload.
func fill(ctx context.Context, brokers string, w workload) error {
	for _, in := range []input{w.input, w.table} {
		if err := load(ctx, brokers, in); err != nil {
			return err
		}
	}
	return nil
}

// load makes and fills the topic of an input, if it does not exist. The zero
// input is none.
func load(ctx context.Context, brokers string, in input) error {
	if in == (input{}) {
		return nil
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers),
		kgo.DefaultProduceTopic(in.topic()),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	if err != nil {
		return fmt.Errorf("open a client: %w", err)
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	if there, err := adm.ListTopics(ctx, in.topic()); err != nil {
		return fmt.Errorf("look for %s: %w", in.topic(), err)
	} else if there.Has(in.topic()) {
		return nil
	}
	if err := create(ctx, adm, in.topic()); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, uint64(in.keys)))
	failed := make(chan error, 1)
	for i := range in.records {
		key, value, timestamp := in.record(i, r)
		client.Produce(ctx, &kgo.Record{Key: key, Value: value, Timestamp: time.UnixMilli(timestamp)}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default: // the first is enough
				}
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("fill %s: %w", in.topic(), err)
	}
	select {
	case err := <-failed:
		return fmt.Errorf("fill %s: %w", in.topic(), err)
	default:
		return nil
	}
}

func create(ctx context.Context, adm *kadm.Client, topic string) error {
	made, err := adm.CreateTopic(ctx, partitions, 1, nil, topic)
	if err == nil {
		err = made.Err
	}
	if err != nil {
		return fmt.Errorf("make topic %s: %w", topic, err)
	}
	return nil
}
