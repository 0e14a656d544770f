// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"net"
)

// What the tests of the package's outside see of its inside.

// SetFollower makes node an in-sync follower of a partition that has all
// records before end.
func (b *Broker) SetFollower(topic string, partition, node int32, end int64) {
	b.topics.named(topic).partition(partition).acknowledge(node, end)
}

// HighWatermark is that of a partition.
func (b *Broker) HighWatermark(topic string, partition int32) int64 {
	return b.topics.named(topic).partition(partition).highWatermark()
}

// LogEndOffset is that of a partition.
func (b *Broker) LogEndOffset(topic string, partition int32) int64 {
	return b.topics.named(topic).partition(partition).log.LogEndOffset()
}

// Waiters is how many wait for a partition's high watermark.
func (b *Broker) Waiters(topic string, partition int32) int {
	p := b.topics.named(topic).partition(partition)
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiters)
}

// RequestMemoryInUse is what all requests hold now.
func (b *Broker) RequestMemoryInUse() int64 { return b.mem.inUse() }

// AnswerMemoryInUse is what all long answers hold now.
func (b *Broker) AnswerMemoryInUse() int64 { return b.answers.inUse() }

// Connections is how many are open.
func (b *Broker) Connections() int { return len(b.slots) }

// HandleFrame gives the dispatcher a frame, as from a client on the other end
// of nc.
func (b *Broker) HandleFrame(ctx context.Context, nc net.Conn, frame []byte) ([]byte, error) {
	a := answer{charge: charge{mem: b.answers}}
	defer a.release()
	if err := b.handle(ctx, newConn(b, nc), frame, &a); err != nil {
		return nil, err
	}
	var all []byte
	at := 0
	for i := range a.pieces {
		p := &a.pieces[i]
		all = append(all, a.buf[at:p.at]...)
		at = p.at
		b := make([]byte, p.slice.Len())
		if _, err := p.slice.ReadAt(b, 0); err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	return append(all, a.buf[at:]...), nil
}

// FetchSessions is how many there are, and how many partitions they have.
func (b *Broker) FetchSessions() (n, partitions int) {
	b.sessions.mu.Lock()
	defer b.sessions.mu.Unlock()
	return len(b.sessions.byID), b.sessions.parts
}

// SetFetchEpoch sets the epoch that a fetch session waits for.
func (b *Broker) SetFetchEpoch(id, epoch int32) { b.sessions.byID[id].epoch = epoch }

// MetadataFile decodes a metadata file and encodes it again.
func MetadataFile(b []byte) ([]byte, error) {
	m, err := decodeMetadata(b)
	if err != nil {
		return nil, err
	}
	return m.encode()
}

// LimitMetrics says how many topics have metrics of their own, up to how many
// partitions logs are told one by one, and how many lags of groups are. It is called
// before topics are made.
func (b *Broker) LimitMetrics(topics, partitions, lags int) {
	b.counts.topics.Limit(topics)
	b.counts.maxPartitions, b.counts.maxLags = partitions, lags
}

// FrameBuffers is what buffers of long frames take beside the memory for requests,
// and how much of that nobody uses.
func (b *Broker) FrameBuffers() (used, free int) {
	p := b.frames
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, buf := range p.free {
		free += cap(buf)
	}
	return p.used, free
}
