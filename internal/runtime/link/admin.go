// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ID implements [Cluster].
func (k *Kafka) ID(ctx context.Context) (string, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := req.RequestWith(ctx, asker{k.main})
	if err != nil {
		return "", fmt.Errorf("ask for the cluster id: %w", err)
	}
	if resp.ClusterID == nil {
		return "", nil
	}
	return *resp.ClusterID, nil
}

// Topics implements [Cluster].
func (k *Kafka) Topics(ctx context.Context, names ...string) (map[string]Topic, error) {
	found := make(map[string]Topic, len(names))
	if len(names) == 0 {
		return found, nil
	}
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	return found, k.describe(ctx, req, found)
}

// AllTopics implements [Cluster].
func (k *Kafka) AllTopics(ctx context.Context) (map[string]Topic, error) {
	found := map[string]Topic{}
	return found, k.describe(ctx, kmsg.NewPtrMetadataRequest(), found) // no topics are all
}

func (k *Kafka) describe(ctx context.Context, req *kmsg.MetadataRequest, found map[string]Topic) error {
	resp, err := req.RequestWith(ctx, asker{k.main})
	if err != nil {
		return fmt.Errorf("describe topics: %w", err)
	}
	for _, t := range resp.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		if t.Topic == nil || errors.Is(err, kerr.UnknownTopicOrPartition) {
			continue
		}
		if err != nil && !errors.Is(err, kerr.LeaderNotAvailable) {
			return fmt.Errorf("describe topic %q: %w", *t.Topic, err)
		}
		if len(t.Partitions) > 0 {
			found[*t.Topic] = Topic{ID: t.TopicID, Partitions: int32(len(t.Partitions)), Private: t.IsInternal}
		}
	}
	return nil
}

// CreateTopics implements [Cluster].
func (k *Kafka) CreateTopics(ctx context.Context, topics []NewTopic) error {
	if len(topics) == 0 {
		return nil
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 30_000
	for _, nt := range topics {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = nt.Name, nt.Partitions, nt.Replication
		for key, value := range nt.Configs {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = key, kmsg.StringPtr(value)
			t.Configs = append(t.Configs, c)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, asker{k.main})
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	var errs []error
	for _, t := range resp.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		if errors.Is(err, kerr.InvalidConfig) {
			err = fmt.Errorf("%w: %w", ErrConfig, err)
		}
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			errs = append(errs, fmt.Errorf("create topic %q: %w%s", t.Topic, err, detail(t.ErrorMessage)))
		}
	}
	return errors.Join(errs...)
}

// detail is what a broker says beside an error's code.
func detail(message *string) string {
	if message == nil || *message == "" {
		return ""
	}
	return " (" + *message + ")"
}

// TopicConfig implements [Cluster].
func (k *Kafka) TopicConfig(ctx context.Context, topic, key string) (string, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, topic, []string{key}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, asker{k.main})
	if err != nil {
		return "", fmt.Errorf("describe the configs of topic %q: %w", topic, err)
	}
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return "", fmt.Errorf("describe the configs of topic %q: %w%s", topic, err, detail(r.ErrorMessage))
		}
		for _, c := range r.Configs {
			if c.Name == key && c.Value != nil {
				return *c.Value, nil
			}
		}
	}
	return "", nil
}

// DeleteRecords implements [Cluster].
func (k *Kafka) DeleteRecords(ctx context.Context, before map[Partition]int64) error {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 30_000
	for topic, parts := range byTopic(before) {
		t := kmsg.NewDeleteRecordsRequestTopic()
		t.Topic = topic
		for _, p := range parts {
			rp := kmsg.NewDeleteRecordsRequestTopicPartition()
			rp.Partition, rp.Offset = p.Num, before[p]
			t.Partitions = append(t.Partitions, rp)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, asker{k.main})
	if err != nil {
		return fmt.Errorf("delete records: %w", err)
	}
	var errs []error
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				errs = append(errs, fmt.Errorf("delete records of %s-%d: %w", t.Topic, p.Partition, err))
			}
		}
	}
	return errors.Join(errs...)
}

// byTopic groups partitions for a request.
func byTopic[V any](parts map[Partition]V) map[string][]Partition {
	m := make(map[string][]Partition)
	for p := range parts {
		m[p.Topic] = append(m[p.Topic], p)
	}
	return m
}
