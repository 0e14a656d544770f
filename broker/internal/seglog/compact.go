// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// A Compaction says what is compacted of a log and when.
type Compaction struct {
	MinLag            time.Duration // none (min.compaction.lag.ms): younger records stay as they are
	MaxLag            time.Duration // none (max.compaction.lag.ms): older ones are overdue
	TombstoneLifetime time.Duration // none (delete.retention.ms): how long a tombstone stays once it was compacted
	Limit             int64         // the high watermark: what is there or above stays as it is
}

// Dirt tells what there is to compact in a log.
type Dirt struct {
	Clean, Cleanable int64 // bytes that were compacted, and that could be now
	Overdue          bool  // some of it is older than MaxLag
}

// Ratio is the share of the log that is not compacted, from 0 to 1.
func (d Dirt) Ratio() float64 {
	if d.Cleanable == 0 {
		return 0
	}
	return float64(d.Cleanable) / float64(d.Clean+d.Cleanable)
}

// Dirt looks at the log without reading more of it than headers.
func (l *Log) Dirt(c Compaction, now time.Time) (Dirt, error) {
	segs, cleaned := *l.segs.Load(), l.cleaned.Load()
	upTo, err := l.cleanableUpTo(segs, c, now)
	if err != nil {
		return Dirt{}, fmt.Errorf("dirt: %w", err)
	}
	var d Dirt
	for i, s := range segs[:len(segs)-1] {
		switch end := segs[i+1].base; {
		case end <= cleaned:
			d.Clean += s.size.Load()
		case end <= upTo:
			if d.Cleanable == 0 && c.MaxLag > 0 {
				d.Overdue, err = s.beganBefore(now.Add(-c.MaxLag))
			}
			d.Cleanable += s.size.Load()
		}
	}
	if err != nil && !errors.Is(err, errGone) {
		return d, fmt.Errorf("dirt: %w", err)
	}
	return d, nil
}

// cleanableUpTo is the end of the last segment that may be compacted: never the
// active one, and only what is durable and settled.
func (l *Log) cleanableUpTo(segs []*segment, c Compaction, now time.Time) (int64, error) {
	upTo, limit := segs[0].base, min(c.Limit, l.recovery.Load())
	for i, s := range segs[:len(segs)-1] {
		end := segs[i+1].base
		if end > limit {
			break
		}
		if c.MinLag > 0 && end > l.cleaned.Load() {
			old, err := s.olderThan(now.Add(-c.MinLag))
			if err != nil && !errors.Is(err, errGone) {
				return 0, err
			}
			if !old {
				break
			}
		}
		upTo = end
	}
	return upTo, nil
}

// beganBefore tells whether the first batch is from before t.
func (s *segment) beganBefore(t time.Time) (bool, error) {
	if err := s.acquire(); err != nil {
		return false, err
	}
	defer s.release()
	h, _, err := newWalker(s, 0, s.base, s.size.Load(), HeaderSize).next()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil && h.MaxTimestamp < t.UnixMilli(), err
}

// A Cleaner compacts logs: it keeps of each key only the latest record, as far as
// the log is sealed. Records keep their offsets and their order, and batches their
// producer and sequences. It serves one compaction at a time and is not safe for
// concurrent use; the log's readers and its appender go on beside it.
type Cleaner struct {
	// MapBytes bounds the table of keys: 128 MiB (log.cleaner.dedupe.buffer.size).
	// What has more keys is compacted in several rounds.
	MapBytes int64
	// BytesPerSecond bounds what is read and written; 0: no limit.
	BytesPerSecond float64

	keys  *keyMap
	pace  pace
	batch []byte // the one that is looked at
	out   []byte // of the segment that is written, what has no place in its file yet
	seen  []seenKey
}

type seenKey struct {
	key    keyHash
	offset int64
}

const (
	defaultMapBytes = 128 << 20
	writeBytes      = 1 << 20 // how much is written at a time
)

// Compacted tells what a compaction did.
type Compacted struct {
	Rounds               int
	BytesRead            int64 // of segments that were written anew
	BytesWritten         int64
	RecordsRead, Dropped int64
}

// Compact compacts l as far as c allows. A crash at any moment leaves the log as
// it was or with some segments done. Errors: ctx's, [ErrClosed] when the log is
// closed meanwhile, [*CorruptError] for a batch whose CRC is wrong, and those of the disk.
func (c *Cleaner) Compact(ctx context.Context, l *Log, p Compaction, now time.Time) (done Compacted, err error) {
	if !l.enter() {
		return done, fmt.Errorf("compact: %w", ErrClosed)
	}
	defer l.wg.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.wg.Go(func() { // Close does not wait for the end of a long compaction
		select {
		case <-l.stop:
			cancel()
		case <-ctx.Done():
		}
	})
	if c.keys == nil {
		c.keys = newKeyMap()
	}
	defer c.keys.shrink()
	c.pace = pace{rate: c.BytesPerSecond}
	upTo, err := l.cleanableUpTo(*l.segs.Load(), p, now)
	if err == nil {
		err = l.halfSwapped()
	}
	if err != nil {
		return done, fmt.Errorf("compact: %w", err)
	}
	for l.cleaned.Load() < upTo {
		w := &rewrite{c: c, log: l, p: p, nowMs: now.UnixMilli(), done: &done}
		if err := w.round(ctx, upTo); err != nil {
			if ctx.Err() != nil && l.isClosing() {
				err = ErrClosed
			}
			return done, fmt.Errorf("compact: %w", err)
		}
		done.Rounds++
	}
	return done, nil
}

// enter makes Close wait until l.wg.Done, unless it has begun.
func (l *Log) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return false
	}
	l.wg.Add(1)
	return true
}

func (l *Log) isClosing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closing
}

// A rewrite is one round over a log: the map learns the keys of the next part
// that is not compacted, and all segments up to its end are written anew.
type rewrite struct {
	c     *Cleaner
	log   *Log
	p     Compaction
	nowMs int64
	end   int64           // the map knows all below
	last  map[int64]int64 // by producer: the last offset of its last batch
	done  *Compacted

	fresh *segment // the one that is written
	at    int64    // bytes of it in its file
}

func (w *rewrite) round(ctx context.Context, upTo int64) error {
	l := w.log
	segs := *l.segs.Load()
	from := max(l.cleaned.Load(), l.start.Load(), segs[0].base)
	if from < upTo {
		if err := w.learn(ctx, segs, from, upTo); err != nil {
			return err
		}
	} else {
		w.end = upTo // all of it was deleted meanwhile
	}
	w.last = l.lastOffsets()
	for len(segs) > 1 && segs[0].base < w.end && from < upTo {
		n := l.group(segs, w.end)
		err := w.group(ctx, segs[:n], segs[n].base)
		if err != nil && !errors.Is(err, errGone) { // what was deleted needs no compaction
			return err
		}
		segs = segs[n:]
	}
	l.meta.Lock()
	defer l.meta.Unlock()
	return l.writeCleaned(w.end, max(l.sparse.Load(), w.end))
}

// group is how many segments at the head of segs, the last of which is the active
// one, begin before end and fit together into one: at least one.
func (l *Log) group(segs []*segment, end int64) int {
	t := l.Tuning()
	size, n := segs[0].size.Load(), 1
	for ; n < len(segs)-1; n++ {
		size += segs[n].size.Load()
		entries := size / int64(t.IndexIntervalBytes)
		if size > t.SegmentBytes || segs[n+1].base-segs[0].base > maxRelative || entries*timeEntrySize > int64(t.MaxIndexBytes) ||
			segs[n].base >= end {
			break
		}
	}
	return n
}

// lastOffsets is the last offset of each known producer's last batch.
func (l *Log) lastOffsets() map[int64]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := make(map[int64]int64, len(l.producers.byID))
	for id, p := range l.producers.byID {
		if n := len(p.batches); n > 0 {
			last[id] = p.batches[n-1].lastOffset
		}
	}
	return last
}

// learn puts the keys from offset from on into the map, until it is full or upTo
// is reached, and sets end.
func (w *rewrite) learn(ctx context.Context, segs []*segment, from, upTo int64) error {
	m := w.c.keys
	m.reset(upTo-from, w.c.mapBytes())
	w.end = from
	for i, s := range segs[:len(segs)-1] {
		if segs[i+1].base <= from {
			continue
		}
		if s.base >= upTo {
			break
		}
		full := false
		err := w.eachBatch(ctx, s, from, func(h *Header, b []byte) (bool, error) {
			full = !w.learnBatch(h, b, from)
			return !full, nil
		})
		if err != nil || full {
			return err
		}
		w.end = segs[i+1].base
	}
	return nil
}

// learnBatch puts the keys of a batch into the map and sets end after it. It is
// false if there was no room for all of them.
func (w *rewrite) learnBatch(h *Header, b []byte, from int64) bool {
	m := w.c.keys
	w.c.seen = w.c.seen[:0]
	if !passes(h) {
		err := EachRecord(b, func(r Record) error {
			if r.Key != nil && r.Offset >= from {
				w.c.seen = append(w.c.seen, seenKey{m.of(r.Key), r.Offset})
			}
			return nil
		})
		if err != nil { // its producer's fault: it stays as it is, and nothing makes way for it
			w.log.cfg.Logger.Warn("a batch can't be compacted", "dir", w.log.cfg.Dir, "offset", h.BaseOffset, "cause", err)
			w.c.seen = w.c.seen[:0]
		}
	}
	if len(w.c.seen) > m.room() && m.keys > 0 {
		return false
	}
	for _, k := range w.c.seen {
		if m.room() <= 0 {
			return false
		}
		m.put(k.key, k.offset)
		w.end = k.offset + 1
	}
	w.end = h.NextOffset()
	return true
}

func (c *Cleaner) mapBytes() int64 {
	if c.MapBytes <= 0 {
		return defaultMapBytes
	}
	return c.MapBytes
}

// passes tells whether a batch goes through a compaction as it is: what belongs to
// transactions. Whether its records count is not known here, so they replace none.
func passes(h *Header) bool { return h.Control() || h.Transactional() }

// eachBatch calls fn for the batches of s that end after from, whole and checked,
// until it is false.
func (w *rewrite) eachBatch(ctx context.Context, s *segment, from int64, fn func(*Header, []byte) (bool, error)) error {
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.release()
	walk := newWalker(s, 0, s.base, s.size.Load(), scanWindow)
	for {
		h, pos, err := walk.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.LastOffset() < from {
			continue
		}
		if err := w.c.pace.wait(ctx, h.Length); err != nil {
			return err
		}
		b := slices.Grow(w.c.batch[:0], h.Length)[:h.Length]
		w.c.batch = b
		err = readFull(s.file(), b, pos)
		if err == nil {
			err = checkCRC(b, &h)
		}
		if err != nil {
			return &CorruptError{File: s.path, Position: pos, Offset: h.BaseOffset, Cause: err}
		}
		if more, err := fn(&h, b); err != nil || !more {
			return err
		}
	}
}

// A pace holds work back to a rate.
type pace struct {
	rate  float64 // bytes a second; 0: no limit
	ahead float64 // bytes that were let through and not yet paid for by time
	since time.Time
}

// wait lets n bytes through.
func (p *pace) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	now := time.Now()
	if !p.since.IsZero() {
		p.ahead = math.Max(0, p.ahead-now.Sub(p.since).Seconds()*p.rate)
	}
	p.since, p.ahead = now, p.ahead+float64(n)
	const slack = 0.1 // seconds: shorter waits are put together
	if p.ahead < slack*p.rate {
		return ctx.Err()
	}
	timer := time.NewTimer(time.Duration(p.ahead / p.rate * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
