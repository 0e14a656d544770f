// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/runtime/link"
)

// turns is how often a second member comes and goes.
const turns = 6

// shared is what the members of a group have read.
type shared struct {
	mu      sync.Mutex
	read    map[link.Partition]int // the next number of a partition that nobody has read
	err     error
	changed chan struct{} // capacity 1
}

func (s *shared) took(b link.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rec := range b.Records {
		switch n := int(rec.Offset); {
		case string(rec.Value) != fmt.Sprint(n):
			s.err = fmt.Errorf("%v brings %s at offset %d", b.Partition, rec.Value, n)
		case n > s.read[b.Partition]:
			s.err = fmt.Errorf("%v brings %d, and nobody has read %d", b.Partition, n, s.read[b.Partition])
		case n == s.read[b.Partition]:
			s.read[b.Partition]++
		}
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// await waits until so many records of each partition have been read.
func (s *shared) await(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	for {
		s.mu.Lock()
		err, behind := s.err, 0
		for num := range int32(parts) {
			if s.read[link.Partition{Topic: "t", Num: num}] < n {
				behind++
			}
		}
		read := maps.Clone(s.read)
		s.mu.Unlock()
		switch {
		case err != nil:
			t.Fatal(err)
		case behind == 0:
			return
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			t.Fatalf("it stands still at %v, there are %d of each", read, n)
		}
	}
}

// reading joins the group and reads until it is told to leave: what is polled is committed when
// partitions are given up.
func reading(t *testing.T, k *link.Kafka, s *shared) (leave func()) {
	t.Helper()
	joined := make(chan struct{})
	next := map[link.Partition]link.Position{}
	var mu sync.Mutex
	var m link.Member
	give := func(parts []link.Partition) {
		mu.Lock()
		at := map[link.Partition]link.Position{}
		for _, p := range parts {
			if pos, ok := next[p]; ok {
				at[p] = pos
				delete(next, p)
			}
		}
		mu.Unlock()
		if err := m.Commit(context.Background(), at); err != nil {
			t.Error(err)
		}
	}
	m, err := k.Join(link.MemberConfig{
		Topics: []string{"t"}, SessionTimeout: 6 * time.Second, FetchMemory: 64 << 10, PartitionMemory: 16 << 10,
		Assigned: func(parts []link.Partition) { <-joined; m.Resume(parts...) },
		Revoked:  give, Lost: func([]link.Partition) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	close(joined)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			batches, err := m.Poll(ctx)
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
				return
			}
			mu.Lock()
			for _, b := range batches {
				last := b.Records[len(b.Records)-1]
				next[b.Partition] = link.Position{Offset: last.Offset + 1, Epoch: -1}
			}
			mu.Unlock()
			for _, b := range batches {
				s.took(b)
			}
			m.Delivered()
		}
	})
	return func() {
		t.Helper()
		cancel()
		wg.Wait()
		if err := m.Leave(within(t), false); err != nil {
			t.Error(err)
		}
	}
}

// All that is appended is read, whoever comes and goes, and however leaders move.
func TestMembersThatComeAndGoReadOn(t *testing.T) {
	ways(t, func(t *testing.T, byRecord bool) {
		c := cluster(t)
		k := open(t, c, byRecord)
		s := &shared{read: map[link.Partition]int{}, changed: make(chan struct{}, 1)}
		rng := rand.New(rand.NewPCG(5, 6))
		ctx := within(t)
		l := k.Lane()
		var dests []*link.Dest
		for num := range int32(parts) {
			dests = append(dests, link.NewDest("t", num))
		}
		n := 0
		more := func() {
			for range 20 {
				for _, d := range dests {
					if err := l.Append(d, nil, fmt.Append(nil, n), int64(n), nil); err != nil {
						t.Fatal(err)
					}
				}
				n++
			}
			l.Barrier(func(error) {})
			if rng.IntN(2) == 0 {
				c.ShufflePartitionLeaders()
			}
		}
		leave := reading(t, k, s)
		more()
		s.await(ctx, t, n)
		for range turns {
			second := reading(t, open(t, c, byRecord), s)
			for range 10 { // more comes while partitions move
				more()
				s.await(ctx, t, n)
			}
			second()
			more()
			s.await(ctx, t, n)
		}
		leave()
	})
}
