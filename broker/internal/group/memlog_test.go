// SPDX-License-Identifier: Apache-2.0

package group

import (
	"bytes"
	"context"
	"sync"
)

// memLog is an OffsetsLog in memory. Before each append it asks fault what to
// do with it, if there is one.
type memLog struct {
	mu      sync.Mutex
	recs    map[int32][]Record
	appends int
	replays int

	// fault may block. It returns how many of the records get into the log
	// and the error of the append.
	fault func(ctx context.Context, recs []Record) (kept int, err error)
	// onReplay may block; its error fails the replay.
	onReplay func(ctx context.Context) error
}

func newMemLog() *memLog { return &memLog{recs: make(map[int32][]Record)} }

func (l *memLog) Append(ctx context.Context, p int32, recs []Record) error {
	l.mu.Lock()
	l.appends++
	fault := l.fault
	l.mu.Unlock()
	kept, err := len(recs), error(nil)
	if fault != nil {
		kept, err = fault(ctx, recs)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range recs[:kept] {
		l.recs[p] = append(l.recs[p], Record{bytes.Clone(r.Key), bytes.Clone(r.Value)})
	}
	return err
}

func (l *memLog) Replay(ctx context.Context, p int32, fn func(key, value []byte, timestamp int64) error) error {
	l.mu.Lock()
	l.replays++
	recs, hook := l.recs[p], l.onReplay
	l.mu.Unlock()
	if hook != nil {
		if err := hook(ctx); err != nil {
			return err
		}
	}
	for _, r := range recs {
		// The bytes are lent for the call only: spoil them afterwards.
		key, value := bytes.Clone(r.Key), bytes.Clone(r.Value)
		if err := fn(key, value, 0); err != nil {
			return err
		}
		for i := range key {
			key[i] = 0xee
		}
		for i := range value {
			value[i] = 0xee
		}
	}
	return nil
}

func (l *memLog) setFault(f func(ctx context.Context, recs []Record) (int, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
}
