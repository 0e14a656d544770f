// SPDX-License-Identifier: Apache-2.0

package link

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// growth measures how much memory what is fetched takes for each byte of it as it
// comes: compressed perhaps, and with small records that cost more than their bytes.
// It is an average that forgets.
type growth struct{ memory, fetched float64 }

const (
	// firstGrowth is what is assumed before anything is known, and firstBytes how
	// much weight that has.
	firstGrowth = 8
	firstBytes  = 64 << 10
	// knownBytes is how much of what came last counts, about.
	knownBytes = 1 << 20

	// leastFetch is what is asked for of a partition at least, in bytes.
	leastFetch = 16 << 10
	// clientRecord is the memory of a record besides its bytes while the client has it.
	clientRecord = 192
	// batchHead is the size of the head of a batch.
	batchHead = 61
)

func newGrowth() growth { return growth{firstGrowth * firstBytes, firstBytes} }

// add counts something that came as fetched bytes, and takes memory.
func (g *growth) add(fetched, memory int) {
	g.memory += float64(memory)
	g.fetched += float64(fetched)
	if g.fetched > 2*knownBytes {
		scale := knownBytes / g.fetched
		g.memory, g.fetched = g.memory*scale, g.fetched*scale
	}
}

// bytes is how much may be asked for, so that it takes up to memory bytes. 0 bytes of
// memory are no bound. It is between least and most.
func (g *growth) bytes(memory int64, least, most int32) int32 {
	if memory <= 0 {
		return most
	}
	n := float64(memory) * g.fetched / g.memory
	return int32(min(max(n, float64(least)), float64(most)))
}

// fetchSize keeps the memory of what a client fetches within bounds: by what its
// batches have taken so far, it asks for less. It is a hook of the client's, so that
// the next request is as large as what came last allows.
type fetchSize struct {
	all, part int64 // in memory, for a broker's answer and for a partition of it

	mu                sync.Mutex
	growth            growth
	client            *kgo.Client // nil before use
	mostAll, mostPart int32       // as they come
}

// newFetchSize makes the bounds for a client that use is called for.
func newFetchSize(all, part int64) *fetchSize {
	return &fetchSize{all: all, part: part, growth: newGrowth()}
}

// use sets the client, before it fetches: its own sizes are those that are never exceeded.
func (s *fetchSize) use(client *kgo.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mostAll = client.OptValue(kgo.FetchMaxBytes).(int32)
	s.mostPart = client.OptValue(kgo.FetchMaxPartitionBytes).(int32)
	s.client = client
	s.update()
}

// OnFetchBatchRead implements kgo.HookFetchBatchRead.
func (s *fetchSize) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	s.add(batchHead+m.CompressedBytes, m.UncompressedBytes+clientRecord*m.NumRecords)
}

// add counts something that came as fetched bytes, and takes memory.
func (s *fetchSize) add(fetched, memory int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.growth.add(fetched, memory)
	if s.client != nil {
		s.update()
	}
}

// bounds gives how much to ask a broker for, and of it for a partition, in bytes. It is called
// after use.
func (s *fetchSize) bounds() (all, part int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *fetchSize) now() (all, part int32) {
	part = s.growth.bytes(s.part, leastFetch, s.mostPart)
	return s.growth.bytes(s.all, part, s.mostAll), part
}

// update is called with the lock: the client takes the numbers without one.
func (s *fetchSize) update() { s.client.UpdateFetchMaxBytes(s.now()) }
