// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

// steps is a reader of pieces of one record; after so many it fails.
type steps struct {
	n, reads int
	err      error
}

func (s *steps) Next(ctx context.Context) ([]plan.Raw, link.Position, error) {
	if ctx.Err() != nil {
		return nil, link.Position{}, ctx.Err()
	}
	s.reads++
	if s.reads > s.n {
		return nil, link.Position{}, s.err
	}
	return []plan.Raw{{Offset: int64(s.reads)}}, link.Position{Offset: int64(s.reads) + 1}, nil
}

func TestAChangelogIsReadOnePieceAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &steps{n: 3, err: io.EOF}
		a := readAhead(t.Context(), r)
		defer a.close()
		for i := range 3 {
			synctest.Wait()
			if r.reads != i+1 {
				t.Errorf("%d reads before piece %d is taken", r.reads, i)
			}
			recs, next, err := a.next(t.Context())
			if err != nil || len(recs) != 1 || recs[0].Offset != int64(i+1) || next.Offset != int64(i+2) {
				t.Errorf("piece %d is %v, %v, %v", i, recs, next, err)
			}
		}
		if _, _, err := a.next(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("after the last piece: %v", err)
		}
	})
}

func TestReadingAheadEndsWithWhoReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		readAhead(t.Context(), &steps{n: 3}).close() // with a piece that nobody takes

		ctx, cancel := context.WithCancel(t.Context())
		a := readAhead(ctx, stuck{})
		cancel()
		if _, _, err := a.next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("the end of a read that was given up: %v", err)
		}
		a.close()
	})
}

// stuck is a reader that gets no answer.
type stuck struct{}

func (stuck) Next(ctx context.Context) ([]plan.Raw, link.Position, error) {
	<-ctx.Done()
	return nil, link.Position{}, ctx.Err()
}
