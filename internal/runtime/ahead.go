// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"sync"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

// An ahead reads a changelog one piece ahead: the next one is fetched and decoded while
// who has the last one works on it. So two of them are in memory at a time.
type ahead struct {
	pieces chan piece
	stop   context.CancelFunc
	reads  sync.WaitGroup
}

// A piece is what one call of a reader gave.
type piece struct {
	recs []plan.Raw
	next link.Position
	err  error
}

// readAhead begins to read r. The ahead is to be closed.
func readAhead(ctx context.Context, r link.Reader) *ahead {
	ctx, stop := context.WithCancel(ctx)
	a := &ahead{pieces: make(chan piece), stop: stop}
	a.reads.Go(func() {
		for {
			var p piece
			p.recs, p.next, p.err = r.Next(ctx)
			select {
			case a.pieces <- p:
			case <-ctx.Done():
				return
			}
			if p.err != nil {
				return
			}
		}
	})
	return a
}

// next is [link.Reader.Next]. After an error it is not called again.
func (a *ahead) next(ctx context.Context) ([]plan.Raw, link.Position, error) {
	select {
	case p := <-a.pieces:
		return p.recs, p.next, p.err
	case <-ctx.Done():
		return nil, link.Position{}, ctx.Err()
	}
}

// close ends the reading, and waits for it.
func (a *ahead) close() {
	a.stop()
	a.reads.Wait()
}
