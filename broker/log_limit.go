// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A logLimit passes log records on, but of warnings and errors with the same
// message only so many in a period: a full disk fails each batch, and is not to
// fill the disk of the log too. The last one that passes says so, and the first of
// a later period how many were left out.
type logLimit struct {
	next slog.Handler
	seen *logCounts
}

// logCounts is what a logLimit and those derived from it share.
type logCounts struct {
	mu        sync.Mutex
	byMessage map[string]*logCount // messages are ours: there are few
}

type logCount struct {
	since   time.Time
	n       int // in the period
	leftOut int
}

const (
	logPeriod = 10 * time.Second
	logBurst  = 20
)

func newLogLimit(next slog.Handler) *logLimit {
	if l, ok := next.(*logLimit); ok {
		next = l.next
	}
	return &logLimit{next: next, seen: &logCounts{byMessage: make(map[string]*logCount)}}
}

// Enabled implements [slog.Handler].
func (l *logLimit) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level)
}

// WithAttrs implements [slog.Handler].
func (l *logLimit) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logLimit{next: l.next.WithAttrs(attrs), seen: l.seen}
}

// WithGroup implements [slog.Handler].
func (l *logLimit) WithGroup(name string) slog.Handler {
	return &logLimit{next: l.next.WithGroup(name), seen: l.seen}
}

// Handle implements [slog.Handler].
func (l *logLimit) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		pass, note := l.seen.count(r.Message, r.Time)
		if !pass {
			return nil
		}
		if note.Key != "" {
			r = r.Clone()
			r.AddAttrs(note)
		}
	}
	return l.next.Handle(ctx, r)
}

// count tells whether a record may pass, and what it is to say besides.
func (c *logCounts) count(message string, now time.Time) (pass bool, note slog.Attr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.byMessage[message]
	if n == nil {
		n = new(logCount)
		c.byMessage[message] = n
	}
	if now.Sub(n.since) >= logPeriod {
		if n.leftOut > 0 {
			note = slog.Int("left_out_before", n.leftOut)
		}
		*n = logCount{since: now}
	}
	n.n++
	switch {
	case n.n > logBurst:
		n.leftOut++
		return false, note
	case n.n == logBurst:
		note = slog.String("more_like_this", "left out for "+logPeriod.String())
	}
	return true, note
}
