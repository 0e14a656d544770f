// SPDX-License-Identifier: Apache-2.0

// Package linktest is the in-memory twin of the link: a cluster without a broker,
// a network or files, whose faults a test chooses. It works in a
// testing/synctest bubble.
package linktest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

// A Cluster holds topics and groups. Links to it are opened by Connect. Its methods
// may be called concurrently.
type Cluster struct {
	id string

	mu      sync.Mutex
	cond    *sync.Cond // something changed
	topics  map[string]*topic
	offsets map[string]map[link.Partition]link.Position // by group
	groups  map[string]*group
	away    bool
	held    bool // acknowledgements wait
	links   []*conn
	fault   func(step string, p link.Partition) error
	wg      sync.WaitGroup
}

type topic struct {
	info    link.Topic
	configs map[string]string
	logs    []*log
}

type log struct {
	start int64
	recs  []plan.Raw // of offsets that are there, ascending
	end   int64
	epoch int32
	cuts  map[int32]int64 // end of each epoch that is over
}

// New makes a cluster without topics.
func New(id string) *Cluster {
	c := &Cluster{
		id: id, topics: map[string]*topic{}, groups: map[string]*group{},
		offsets: map[string]map[link.Partition]link.Position{},
	}
	c.cond = sync.NewCond(&c.mu)
	return c
}

// Create makes a topic with an id of its own, in place of one of that name.
func (c *Cluster) Create(name string, partitions int32, configs map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.create(name, partitions, configs)
}

func (c *Cluster) create(name string, partitions int32, configs map[string]string) {
	t := &topic{info: link.Topic{Partitions: partitions}, configs: configs}
	copy(t.info.ID[:], fmt.Sprintf("%d-%s", len(c.topics)+len(c.links), name))
	for range partitions {
		t.logs = append(t.logs, &log{cuts: map[int32]int64{}})
	}
	c.topics[name] = t
	c.cond.Broadcast()
}

// Delete takes a topic away, with what groups have committed of it.
func (c *Cluster) Delete(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.topics, name)
	for _, offsets := range c.offsets {
		for p := range offsets {
			if p.Topic == name {
				delete(offsets, p)
			}
		}
	}
	c.cond.Broadcast()
}

// Grow adds partitions to a topic, up to so many.
func (c *Cluster) Grow(name string, partitions int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[name]
	for int32(len(t.logs)) < partitions {
		t.logs = append(t.logs, &log{cuts: map[int32]int64{}})
	}
	t.info.Partitions = partitions
	c.cond.Broadcast()
}

// Append adds a record to a partition, AnyPartition for that of its key.
func (c *Cluster) Append(topic string, partition int32, r plan.Raw) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.append(topic, partition, r)
}

func (c *Cluster) append(name string, partition int32, r plan.Raw) (link.Partition, int64) {
	t := c.topics[name]
	if partition == link.AnyPartition {
		partition = link.PartitionFor(r.Key, t.info.Partitions)
	}
	l := t.logs[partition]
	r.Offset, r.Epoch = l.end, l.epoch
	l.end++
	l.recs = append(l.recs, r)
	c.cond.Broadcast()
	return link.Partition{Topic: name, Num: partition}, r.Offset
}

// Skip leaves a gap of n offsets at the end of a log, as markers and compaction do.
func (c *Cluster) Skip(p link.Partition, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log(p).end += n
}

// Records gives what a partition's log holds.
func (c *Cluster) Records(p link.Partition) []plan.Raw {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]plan.Raw(nil), c.log(p).recs...)
}

// Start is the first offset of a partition's log.
func (c *Cluster) Start(p link.Partition) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log(p).start
}

// Truncate cuts a log at an offset and begins a new leader epoch: what an unclean
// election does.
func (c *Cluster) Truncate(p link.Partition, end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.log(p)
	for len(l.recs) > 0 && l.recs[len(l.recs)-1].Offset >= end {
		l.recs = l.recs[:len(l.recs)-1]
	}
	l.end = min(l.end, end)
	l.cuts[l.epoch] = l.end
	l.epoch++
}

// Committed gives a group's committed offset, -1 if there is none.
func (c *Cluster) Committed(groupID string, p link.Partition) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if pos, ok := c.offsets[groupID][p]; ok {
		return pos.Offset
	}
	return -1
}

// Topic describes a topic.
func (c *Cluster) Topic(name string) (link.Topic, map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.topics[name]; t != nil {
		return t.info, t.configs
	}
	return link.Topic{}, nil
}

// Fault installs a function that is asked before each step of a link: "append",
// "ack", "commit", "committed", "ranges", "ends", "read", "deliver", "delete". Its error
// is the step's. It is called without a lock and may Kill. Nil takes it away.
func (c *Cluster) Fault(fn func(step string, p link.Partition) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = fn
}

// Hold keeps acknowledgements back until it is called with false.
func (c *Cluster) Hold(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = on
	c.cond.Broadcast()
}

// Away makes all brokers unreachable, or reachable again: what waits for them
// waits.
func (c *Cluster) Away(on bool) {
	c.mu.Lock()
	c.away = on
	links := slices.DeleteFunc(slices.Clone(c.links), func(k *conn) bool { return k.closed || k.killed })
	c.cond.Broadcast()
	c.mu.Unlock()
	for _, k := range links {
		k.tellAway(on)
	}
}

// Kill ends all links at once, as the end of their processes would: nothing that
// they have begun takes effect any more, and their members are gone. lose tells
// whether what they have appended and not seen acknowledged never arrived.
func (c *Cluster) Kill(lose bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.links {
		k.killed = true
		for _, l := range k.lanes {
			if lose {
				l.lose()
			}
		}
	}
	c.links = nil
	c.groups = map[string]*group{}
	c.cond.Broadcast()
}

// Wait returns when the handlers that rebalances have called are done.
func (c *Cluster) Wait() { c.wg.Wait() }

// log gives a partition's log, nil if there is none.
func (c *Cluster) log(p link.Partition) *log {
	if t := c.topics[p.Topic]; t != nil && int(p.Num) < len(t.logs) {
		return t.logs[p.Num]
	}
	return nil
}

// wait blocks under c.mu until ready, an end of ctx, or the end of the link.
func (c *Cluster) wait(ctx context.Context, k *conn, ready func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cond.Broadcast()
	})
	defer stop()
	for {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case k.closed || k.killed:
			return link.ErrClosed
		case !c.away && ready():
			return nil
		}
		c.cond.Wait()
	}
}
