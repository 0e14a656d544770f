// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"fmt"
	"sync"
)

// producerIDBlock is how many ids one write of the metadata file reserves. A
// restart forgets the rest of a block.
const producerIDBlock = 1000

// producerIDs gives out ids that were never given out before.
type producerIDs struct {
	reserve func(ctx context.Context, n int64) (first int64, err error)

	mu        sync.Mutex
	next, end int64 // unused ids of the block
}

// take returns a new id.
func (p *producerIDs) take(ctx context.Context) (int64, error) {
	for {
		if id, ok := p.fromBlock(); ok {
			return id, nil
		}
		first, err := p.reserve(ctx, producerIDBlock)
		if err != nil {
			return 0, fmt.Errorf("reserve producer ids: %w", err)
		}
		// Two may have reserved at the same time: the later block wins, the
		// other is lost.
		p.mu.Lock()
		if first >= p.end {
			p.next, p.end = first, first+producerIDBlock
		}
		p.mu.Unlock()
	}
}

func (p *producerIDs) fromBlock() (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == p.end {
		return 0, false
	}
	p.next++
	return p.next - 1, true
}
