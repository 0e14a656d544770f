// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/seglog"
)

// An answer is a response with its length in front: bytes, and in between pieces
// of logs that go out from where they lie. So an answer holds little memory
// however long it is, and however slow its client.
type answer struct {
	buf     []byte
	pooled  *[]byte // whose buf was; nil: none yet
	pieces  []piece // in order
	outside int     // bytes of all pieces
	inline  int     // bytes of slices that were read into buf
	charge  charge  // of the memory of all answers, for a buf that is longer than inlineBytes
}

// A piece goes out before buf[at].
type piece struct {
	at    int
	slice seglog.Slice
}

// inlineBytes is how much of an answer's slices is read into it at once. What is
// short costs less that way.
const inlineBytes = 64 << 10

// take appends a slice. The answer releases it, unless there is an error.
func (a *answer) take(s *seglog.Slice) error {
	n := s.Len()
	if n == 0 {
		return nil
	}
	if a.inline+n > inlineBytes {
		a.pieces = append(a.pieces, piece{len(a.buf), *s})
		a.outside += n
		*s = seglog.Slice{}
		return nil
	}
	at := len(a.buf)
	a.buf = append(a.buf, make([]byte, n)...)
	if _, err := s.ReadAt(a.buf[at:], 0); err != nil {
		return err
	}
	a.inline += n
	s.Release()
	return nil
}

// size is the number of bytes to send.
func (a *answer) size() int { return len(a.buf) + a.outside }

// settle charges what the answer takes, in place of what was taken for it.
func (a *answer) settle(longest *atomic.Int64) {
	n := int64(len(a.buf))
	for old := longest.Load(); n > old && !longest.CompareAndSwap(old, n); old = longest.Load() {
	}
	if n <= inlineBytes {
		n = 0
	}
	a.charge.set(n)
}

// release gives the pieces and the buffer back.
func (a *answer) release() {
	a.charge.release()
	for i := range a.pieces {
		a.pieces[i].slice.Release()
	}
	a.pieces, a.outside, a.inline = nil, 0, 0
	if a.pooled != nil {
		*a.pooled = a.buf
		putBuffer(a.pooled)
		a.pooled, a.buf = nil, nil
	}
}

// appendResponse appends a framed response. The header of an ApiVersions
// response never has tagged fields: who reads it may not know them yet.
func (a *answer) appendResponse(correlationID int32, resp kmsg.Response) {
	if a.buf == nil { // not before: a request may be parked for long
		a.pooled = getBuffer(inlineBytes)
		a.buf = (*a.pooled)[:0]
	}
	at := a.size()
	start := len(a.buf)
	a.buf = append(a.buf, 0, 0, 0, 0)
	a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(correlationID))
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		a.buf = append(a.buf, 0)
	}
	if f, ok := resp.(*fetchAnswer); ok {
		f.appendTo(a)
	} else {
		a.buf = resp.AppendTo(a.buf)
	}
	binary.BigEndian.PutUint32(a.buf[start:], uint32(a.size()-at-4))
}

// send writes an answer. A client may be slow, but not stuck.
func (c *conn) send(ctx context.Context, a *answer) error {
	c.sending = &a.charge
	defer func() { c.sending = nil }()
	if len(a.pieces) == 0 {
		return c.write(ctx, a.buf)
	}
	w := &pieceWriter{c: c, chunk: chunks.Get().(*[]byte)}
	defer chunks.Put(w.chunk)
	w.n = 0
	at := 0
	for i := range a.pieces {
		p := &a.pieces[i]
		if err := w.bytes(ctx, a.buf[at:p.at]); err != nil {
			return err
		}
		at = p.at
		if err := w.slice(ctx, &p.slice); err != nil {
			return err
		}
		p.slice.Release() // what was sent need not be kept
	}
	if err := w.bytes(ctx, a.buf[at:]); err != nil {
		return err
	}
	return w.flush(ctx)
}

// chunks are what pieces are copied through where they can't be sent by the
// operating system.
var chunks = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// sendfileBytes is how long a piece must be to be worth calls of its own.
const sendfileBytes = 32 << 10

// A pieceWriter sends bytes and pieces, short ones together.
type pieceWriter struct {
	c     *conn
	chunk *[]byte
	n     int // bytes in chunk that were not sent yet
}

func (w *pieceWriter) flush(ctx context.Context) error {
	n := w.n
	w.n = 0
	return w.c.write(ctx, (*w.chunk)[:n])
}

// room makes room in the chunk and returns it.
func (w *pieceWriter) room(ctx context.Context) ([]byte, error) {
	if w.n == len(*w.chunk) {
		if err := w.flush(ctx); err != nil {
			return nil, err
		}
	}
	return (*w.chunk)[w.n:], nil
}

func (w *pieceWriter) bytes(ctx context.Context, b []byte) error {
	for len(b) > 0 {
		room, err := w.room(ctx)
		if err != nil {
			return err
		}
		n := copy(room, b)
		w.n += n
		b = b[n:]
	}
	return nil
}

func (w *pieceWriter) slice(ctx context.Context, s *seglog.Slice) error {
	if tcp, ok := w.c.nc.(*net.TCPConn); ok && s.Len() >= sendfileBytes {
		if f, from := s.File(); f != nil && canSendFile {
			if err := w.flush(ctx); err != nil {
				return err
			}
			return w.c.inChunks(ctx, s.Len(), func(at, n int) error { return sendFile(tcp, f, from+int64(at), n) })
		}
	}
	for at := 0; at < s.Len(); {
		room, err := w.room(ctx)
		if err != nil {
			return err
		}
		n := min(len(room), s.Len()-at)
		if _, err := s.ReadAt(room[:n], int64(at)); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		w.n += n
		at += n
	}
	return nil
}

// write sends bytes.
func (c *conn) write(ctx context.Context, b []byte) error {
	return c.inChunks(ctx, len(b), func(at, n int) error {
		_, err := c.nc.Write(b[at : at+n])
		return err
	})
}

// inChunks calls send for each writeChunk of n bytes, which has RequestTimeout to
// get through.
func (c *conn) inChunks(ctx context.Context, n int, send func(at, n int) error) error {
	for at := 0; at < n; {
		m := min(n-at, writeChunk)
		if err := c.chunk(ctx, at, m, send); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		at += m
	}
	return nil
}

// chunk sends one. While others wait for the memory of a long answer, it has
// hurryUp to get through.
func (c *conn) chunk(ctx context.Context, at, n int, send func(at, n int) error) error {
	c.writeWithin(ctx, c.b.cfg.RequestTimeout)
	if c.sending != nil && c.sending.n > 0 {
		hurry := func() { c.writeWithin(ctx, min(c.b.cfg.RequestTimeout, hurryUp)) }
		if c.sending.waits(hurry) {
			hurry()
		}
		defer c.sending.came()
	}
	return send(at, n)
}

// writeWithin lets writes wait for d at most, or for farewell once ctx has ended.
func (c *conn) writeWithin(ctx context.Context, d time.Duration) {
	if ctx.Err() == nil {
		_ = c.nc.SetWriteDeadline(time.Now().Add(d))
	}
	if ctx.Err() != nil { // perhaps just now: then its deadline was overwritten
		_ = c.nc.SetWriteDeadline(time.Now().Add(farewell))
	}
}
