// SPDX-License-Identifier: Apache-2.0

package batchlink

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/runtime/link"
)

// What the client of the real link asks for.
const (
	fetchBytes     = 16 << 20
	partitionBytes = 1 << 20
	fetchWaitMs    = 500
)

// member fetches by itself what the real member, whose partitions stay paused, owns.
type member struct {
	link.Member
	c      *cluster
	out    chan []link.Batch // capacity 1: a fetch ahead of the one that is handed on
	wake   chan struct{}     // capacity 1: a partition flows
	decomp kgo.Decompressor

	mu    sync.Mutex
	parts map[link.Partition]*position
	err   error
	ended chan struct{} // closed when the fetcher has ended
}

type position struct {
	next   int64 // -1: where the group has committed
	paused bool
}

func (c *cluster) Join(cfg link.MemberConfig) (link.Member, error) {
	m := &member{
		c: c, out: make(chan []link.Batch, 1), wake: make(chan struct{}, 1), decomp: kgo.DefaultDecompressor(),
		parts: map[link.Partition]*position{}, ended: make(chan struct{}),
	}
	assigned, revoked, lost := cfg.Assigned, cfg.Revoked, cfg.Lost
	cfg.Assigned = func(parts []link.Partition) {
		m.mu.Lock()
		for _, p := range parts {
			m.parts[p] = &position{next: -1, paused: true}
		}
		m.mu.Unlock()
		assigned(parts)
	}
	cfg.Revoked = func(parts []link.Partition) {
		m.drop(parts)
		revoked(parts)
	}
	cfg.Lost = func(parts []link.Partition) {
		m.drop(parts)
		lost(parts)
	}
	var err error
	if m.Member, err = c.Cluster.Join(cfg); err != nil {
		return nil, err
	}
	c.wg.Go(m.run)
	return m, nil
}

func (m *member) drop(parts []link.Partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range parts {
		delete(m.parts, p)
	}
}

func (m *member) run() {
	defer close(m.ended)
	for m.c.ctx.Err() == nil {
		batches, err := m.fetch()
		if err != nil {
			m.mu.Lock()
			m.err = err
			m.mu.Unlock()
			return
		}
		if len(batches) == 0 {
			continue
		}
		select {
		case m.out <- batches:
		case <-m.c.ctx.Done():
		}
	}
}

// Poll implements link.Member.
func (m *member) Poll(ctx context.Context) ([]link.Batch, error) {
	select {
	case b := <-m.out:
		return b, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-m.ended:
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.err == nil || m.c.ctx.Err() != nil {
			return nil, link.ErrClosed
		}
		return nil, m.err
	}
}

// Delivered implements link.Member: nothing holds a rebalance back here.
func (m *member) Delivered() {}

// Pause implements link.Member. What is fetched already comes all the same.
func (m *member) Pause(parts ...link.Partition) { m.set(true, parts) }

// Resume implements link.Member.
func (m *member) Resume(parts ...link.Partition) {
	m.set(false, parts)
	select {
	case m.wake <- struct{}{}:
	default: // it is awake already
	}
}

func (m *member) set(paused bool, parts []link.Partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range parts {
		if at := m.parts[p]; at != nil {
			at.paused = paused
		}
	}
}

// fetch asks for all partitions that flow; it waits for one that does.
func (m *member) fetch() ([]link.Batch, error) {
	next, err := m.flowing()
	if err != nil {
		return nil, err
	}
	if len(next) == 0 {
		select {
		case <-m.wake:
		case <-m.c.ctx.Done():
		}
		return nil, nil
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = -1
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = fetchWaitMs, 1, fetchBytes
	req.IsolationLevel, req.SessionEpoch = 1, -1
	names := map[[16]byte]string{}
	for p, offset := range next {
		t, err := m.c.topic(p.Topic)
		if err != nil {
			return nil, err
		}
		names[t.ID] = p.Topic
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = p.Num, offset, partitionBytes
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic, rt.TopicID, rt.Partitions = p.Topic, t.ID, append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
	}
	kresp, err := m.c.request(m.c.ctx, req)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	resp := kresp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	var batches []link.Batch
	for i := range resp.Topics {
		t := &resp.Topics[i]
		name := t.Topic
		if name == "" {
			name = names[t.TopicID]
		}
		for j := range t.Partitions {
			b, err := m.take(link.Partition{Topic: name, Num: t.Partitions[j].Partition}, &t.Partitions[j], next)
			if err != nil {
				return nil, err
			}
			if len(b.Records) > 0 {
				batches = append(batches, b)
			}
		}
	}
	return batches, nil
}

// flowing is where the partitions stand that are not paused.
func (m *member) flowing() (map[link.Partition]int64, error) {
	m.mu.Lock()
	next := map[link.Partition]int64{}
	var fresh []link.Partition
	for p, at := range m.parts {
		if !at.paused {
			next[p] = at.next
			if at.next < 0 {
				fresh = append(fresh, p)
			}
		}
	}
	m.mu.Unlock()
	if len(fresh) == 0 {
		return next, nil
	}
	committed, err := m.c.Committed(m.c.ctx, fresh)
	if err != nil {
		return nil, err
	}
	ranges, err := m.c.Ranges(m.c.ctx, fresh)
	if err != nil {
		return nil, err
	}
	for _, p := range fresh {
		next[p] = ranges[p].Start
		if at, ok := committed[p]; ok {
			next[p] = at.Offset
		}
	}
	return next, nil
}

func (m *member) take(p link.Partition, rp *kmsg.FetchResponseTopicPartition, next map[link.Partition]int64) (link.Batch, error) {
	if err := kerr.ErrorForCode(rp.ErrorCode); err != nil {
		return link.Batch{}, fmt.Errorf("fetch %s: %w", p, err)
	}
	b := link.Batch{Partition: p, End: rp.LastStableOffset}
	after, err := decode(&b, rp.RecordBatches, next[p], m.decomp)
	if err != nil {
		return link.Batch{}, fmt.Errorf("fetch %s: %w", p, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := m.parts[p]; at != nil {
		at.next = after
	}
	return b, nil
}
