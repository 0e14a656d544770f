// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/millrace/millrace/internal/mutant"
)

// group writes the segments of old, which end before end, anew into one.
func (w *rewrite) group(ctx context.Context, old []*segment, end int64) (err error) {
	l := w.log
	base := old[0].base
	w.fresh, w.at, w.c.out = l.newSegment(base, fileName(l.cfg.Dir, base, logSuffix)+cleanedSuffix), 0, w.c.out[:0]
	fresh := w.fresh
	if err := fresh.handle.create(); err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		fresh.drop()
		if rerr := l.cfg.FS.Remove(fresh.path + cleanedSuffix); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}()
	if err := fresh.acquire(); err != nil {
		return err
	}
	defer fresh.release()
	fresh.idx = &indexes{}
	for _, s := range old {
		if err := w.copy(ctx, s); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := fresh.file().Sync(); err != nil {
		return err
	}
	fresh.synced.Store(w.at)
	return l.swapIn(fresh, old, end)
}

// copy writes what is to stay of s.
func (w *rewrite) copy(ctx context.Context, s *segment) error {
	w.done.BytesRead += s.size.Load()
	return w.eachBatch(ctx, s, 0, func(h *Header, b []byte) (bool, error) {
		kept, err := w.filter(h, b)
		if err != nil || kept == nil {
			return err == nil, err
		}
		if err := w.c.pace.wait(ctx, len(kept)); err != nil {
			return false, err
		}
		nh, err := ParseHeader(kept)
		if err != nil {
			return false, err
		}
		pos := w.at + int64(len(w.c.out))
		if pos > maxRelative {
			return false, fmt.Errorf("compacted segment at %d is longer than what was compacted", w.fresh.base)
		}
		w.fresh.add(&nh, pos)
		w.c.out = append(w.c.out, kept...)
		w.done.BytesWritten += int64(len(kept))
		if len(w.c.out) >= writeBytes {
			err = w.flush()
		}
		return err == nil, err
	})
}

// flush writes what is collected to the file.
func (w *rewrite) flush() error {
	n, err := w.fresh.file().WriteAt(w.c.out, w.at)
	if err == nil && n < len(w.c.out) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return err
	}
	w.at += int64(n)
	w.fresh.size.Store(w.at)
	w.c.out = w.c.out[:0]
	return nil
}

// filter returns what is to stay of a batch: b itself, another batch, or nil.
func (w *rewrite) filter(h *Header, b []byte) ([]byte, error) {
	if passes(h) {
		return b, nil
	}
	var f filtered
	err := EachRecord(b, func(r Record) error {
		f.n++
		if w.keeps(h, &r) {
			f.kept++
			f.tombstones = f.tombstones || r.Value == nil && r.Offset < w.end
		}
		return nil
	})
	if err != nil { // as in learnBatch
		return b, nil //nolint:nilerr // told there
	}
	w.done.RecordsRead += f.n
	w.done.Dropped += f.n - f.kept
	horizon := f.tombstones && !h.HasDeleteHorizon()
	switch {
	case f.kept == 0 && h.ProducerID >= 0 && w.last[h.ProducerID] == h.LastOffset():
		return emptyBatch(h), nil
	case f.kept == 0:
		return nil, nil
	case f.kept == f.n && !horizon:
		return b, nil
	}
	out, err := w.repack(h, b, horizon)
	if errors.Is(err, ErrTooLarge) { // it can't be told anew: it stays as it is
		return b, nil
	}
	return out, err
}

// filtered counts the records of a batch.
type filtered struct {
	n, kept    int64
	tombstones bool // among those that were compacted and are kept
}

// keeps tells whether a record stays: what the map does not reach, else the latest
// of its key, unless that is a tombstone whose time is over. Records without a
// key, from before the topic was compacted, go.
func (w *rewrite) keeps(h *Header, r *Record) bool {
	if r.Offset >= w.end {
		return true
	}
	if r.Key == nil {
		return false
	}
	m := w.c.keys
	latest := m.latest(m.of(r.Key))
	if mutant.On(mutant.CompactionDropsNewest) {
		if latest >= 0 && r.Offset >= latest {
			return false
		}
	} else if r.Offset < latest {
		return false
	}
	return r.Value != nil || !h.HasDeleteHorizon() || w.nowMs < h.BaseTimestamp
}

// repack writes the records of b that stay as a batch with the same offsets,
// producer, sequences and codec. With horizon, its base timestamp tells from then on
// when its tombstones may go, as in Kafka: timestamps of records count from that.
func (w *rewrite) repack(h *Header, b []byte, horizon bool) ([]byte, error) {
	nh := *h
	if horizon {
		nh.Attributes |= deleteHorizon
		nh.BaseTimestamp = w.nowMs + w.p.TombstoneLifetime.Milliseconds()
	}
	out := &bounded{b: make([]byte, HeaderSize, h.Length), max: max(w.log.cfg.MaxBatchBytes, 2*h.Length)}
	pack, err := defaultPacking(h.Codec()).compressor(out)
	if err != nil {
		return nil, err
	}
	var length, rec []byte
	var highest int64
	nh.Records = 0
	err = EachRecord(b, func(r Record) error {
		if !w.keeps(h, &r) {
			return nil
		}
		if nh.Records == 0 || r.Timestamp > highest {
			highest = r.Timestamp
		}
		nh.Records++
		rec = appendRecord(rec[:0], &r, nh.BaseTimestamp, int(r.Offset-h.BaseOffset))
		length = binary.AppendVarint(length[:0], int64(len(rec)))
		if _, err := pack.Write(length); err != nil {
			return err
		}
		_, err := pack.Write(rec)
		return err
	})
	if err == nil {
		err = pack.Close()
	}
	if err != nil {
		return nil, err
	}
	if !h.LogAppendTime() {
		nh.MaxTimestamp = highest
	}
	nh.Length = len(out.b)
	putHeader(out.b, &nh)
	return out.b, nil
}

// defaultPacking packs with a codec at Kafka's default level.
func defaultPacking(c Codec) Packing {
	p := Packing{Codec: c}
	switch c {
	case CodecGzip:
		p.Level = -1
	case CodecLZ4:
		p.Level = lz4Fast
	case CodecZstd:
		p.Level = 3
	default: // no levels
	}
	return p
}

// emptyBatch is what stays of the last batch of a producer when none of its
// records does: where its sequences are would else be forgotten with it. It has no
// timestamp, since there is no record of that time.
func emptyBatch(h *Header) []byte {
	nh := *h
	nh.Attributes &^= 7 | deleteHorizon
	nh.BaseTimestamp, nh.MaxTimestamp, nh.Records, nh.Length = -1, -1, 0, HeaderSize
	b := make([]byte, HeaderSize)
	putHeader(b, &nh)
	return b
}
