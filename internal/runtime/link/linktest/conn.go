// SPDX-License-Identifier: Apache-2.0

package linktest

import (
	"context"
	"errors"
	"io"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

// conn is one process's link.
type conn struct {
	c      *Cluster
	cfg    link.Config
	closed bool // guarded by c.mu, as what follows
	killed bool
	lanes  []*lane
}

var _ link.Cluster = (*conn)(nil)

// Connect opens a link: for runtime.Config.Connect.
func (c *Cluster) Connect(cfg link.Config) (link.Cluster, error) {
	k := &conn{c: c, cfg: cfg}
	c.mu.Lock()
	c.links = append(c.links, k)
	away := c.away
	c.mu.Unlock()
	if away {
		k.tellAway(true)
	}
	return k, nil
}

var errAway = errors.New("connection refused")

func (k *conn) tellAway(away bool) {
	switch {
	case k.cfg.OnAway == nil:
	case away:
		k.cfg.OnAway(errAway)
	default:
		k.cfg.OnAway(nil)
	}
}

// step waits for the broker and asks for a fault.
func (k *conn) step(ctx context.Context, name string, p link.Partition) error {
	k.c.mu.Lock()
	err := k.c.wait(ctx, k, func() bool { return true })
	fault := k.c.fault
	k.c.mu.Unlock()
	if err == nil && fault != nil {
		err = fault(name, p)
	}
	return err
}

// do is step, then fn under the lock, unless the link has ended meanwhile.
func (k *conn) do(ctx context.Context, name string, p link.Partition, fn func()) error {
	if err := k.step(ctx, name, p); err != nil {
		return err
	}
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if k.closed || k.killed {
		return link.ErrClosed
	}
	fn()
	return nil
}

func (k *conn) ID(ctx context.Context) (string, error) {
	return k.c.id, k.step(ctx, "id", link.Partition{})
}

func (k *conn) Topics(ctx context.Context, names ...string) (map[string]link.Topic, error) {
	found := map[string]link.Topic{}
	err := k.do(ctx, "topics", link.Partition{}, func() {
		for _, n := range names {
			if t := k.c.topics[n]; t != nil {
				found[n] = t.info
			}
		}
	})
	return found, err
}

func (k *conn) AllTopics(ctx context.Context) (map[string]link.Topic, error) {
	found := map[string]link.Topic{}
	err := k.do(ctx, "topics", link.Partition{}, func() {
		for n, t := range k.c.topics {
			found[n] = t.info
		}
	})
	return found, err
}

func (k *conn) CreateTopics(ctx context.Context, topics []link.NewTopic) error {
	return k.do(ctx, "create", link.Partition{}, func() {
		for _, t := range topics {
			if k.c.topics[t.Name] == nil {
				k.c.create(t.Name, t.Partitions, t.Configs)
			}
		}
	})
}

func (k *conn) TopicConfig(ctx context.Context, name, key string) (v string, err error) {
	err = k.do(ctx, "config", link.Partition{}, func() {
		if t := k.c.topics[name]; t != nil {
			v = t.configs[key]
		}
	})
	return v, err
}

func (k *conn) Committed(ctx context.Context, parts []link.Partition) (map[link.Partition]link.Position, error) {
	found := map[link.Partition]link.Position{}
	err := k.do(ctx, "committed", parts[0], func() {
		for _, p := range parts {
			if pos, ok := k.c.offsets[k.cfg.Group][p]; ok {
				found[p] = pos
			}
		}
	})
	return found, err
}

func (k *conn) Ranges(ctx context.Context, parts []link.Partition) (map[link.Partition]link.Range, error) {
	found := map[link.Partition]link.Range{}
	err := k.do(ctx, "ranges", parts[0], func() {
		for _, p := range parts {
			if l := k.c.log(p); l != nil {
				found[p] = link.Range{Start: l.start, End: l.end}
			}
		}
	})
	return found, err
}

func (k *conn) Ends(ctx context.Context, parts []link.Partition) (map[link.Partition]link.Position, error) {
	found := map[link.Partition]link.Position{}
	err := k.do(ctx, "ends", parts[0], func() {
		for _, p := range parts {
			if l := k.c.log(p); l != nil {
				found[p] = link.Position{Offset: l.end, Epoch: l.epoch}
			}
		}
	})
	return found, err
}

func (k *conn) EpochEnd(ctx context.Context, p link.Partition, epoch int32) (pos link.Position, err error) {
	err = k.do(ctx, "epoch", p, func() {
		l := k.c.log(p)
		pos = link.Position{Offset: l.end, Epoch: l.epoch}
		if end, ok := l.cuts[epoch]; ok {
			pos = link.Position{Offset: end, Epoch: epoch}
		}
	})
	return pos, err
}

func (k *conn) DeleteRecords(ctx context.Context, before map[link.Partition]int64) error {
	return k.do(ctx, "delete", link.Partition{}, func() {
		for p, offset := range before {
			l := k.c.log(p)
			l.start = max(l.start, offset)
			for len(l.recs) > 0 && l.recs[0].Offset < l.start {
				l.recs = l.recs[1:]
			}
		}
	})
}

func (k *conn) Read(p link.Partition, _ [16]byte, from, end int64) link.Reader {
	return &reader{k: k, p: p, next: link.Position{Offset: from, Epoch: -1}, end: end}
}

// Limit implements link.Cluster: this one takes records of any size.
func (k *conn) Limit(string, int32) {}

// Close implements link.Cluster.
func (k *conn) Close() {
	k.c.mu.Lock()
	k.closed = true
	k.c.cond.Broadcast()
	k.c.mu.Unlock()
	k.c.wg.Wait()
}

type reader struct {
	k    *conn
	p    link.Partition
	next link.Position
	end  int64
}

// chunk is how many records a read or a poll brings of a partition.
const chunk = 100

func (r *reader) Next(ctx context.Context) (recs []plan.Raw, _ link.Position, err error) {
	if r.next.Offset >= r.end {
		return nil, r.next, io.EOF
	}
	err = r.k.do(ctx, "read", r.p, func() {
		l := r.k.c.log(r.p)
		if r.next.Offset < l.start {
			err = &link.OutOfRangeError{Partition: r.p, Offset: r.next.Offset}
			return
		}
		recs, r.next.Offset = l.read(r.next.Offset, r.end)
		if n := len(recs); n > 0 {
			r.next.Epoch = recs[n-1].Epoch
		}
	})
	return recs, r.next, err
}

// read gives up to chunk records of [from, end) and the offset after them.
func (l *log) read(from, end int64) ([]plan.Raw, int64) {
	var recs []plan.Raw
	for _, r := range l.recs {
		if r.Offset < from {
			continue
		}
		if r.Offset >= end {
			return recs, end
		}
		if len(recs) == chunk {
			return recs, recs[chunk-1].Offset + 1
		}
		recs = append(recs, r)
	}
	return recs, min(end, l.end)
}
