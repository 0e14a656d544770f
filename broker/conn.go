// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/millrace/millrace/broker/internal/metrics"
)

// A conn is one client's connection. Its reader takes frames off the wire, one
// ahead; its handler answers them one at a time, in order, as Kafka's muting of
// a channel has it: a parked fetch holds up the requests behind it, on this
// connection only. The reader notices a client that goes away while its request
// is parked, and ends the request.
type conn struct {
	b      *Broker
	nc     net.Conn
	host   string // of the client, for DescribeGroups
	log    *slog.Logger
	frames chan frame     // no capacity: the reader is one frame ahead, no more
	timing metrics.Timing // of the request being answered

	sending *charge  // of the answer that is being sent, nil: none
	starved *partKey // what the last fetch without a session had no room for; nil: nothing
}

// A frame is a request as it came, without its length. done is called once
// nobody looks at buf any more.
type frame struct {
	buf     []byte
	pooled  *[]byte // of getBuffer, whose buf was at first; nil: buf was lent
	ahead   bool    // buf was lent before the frame has arrived
	buffers *frameBuffers
	charge  *frameCharge
	arrived time.Time // its length
}

// whole says that nothing more of the frame will come.
func (f *frame) whole() {
	if f.ahead {
		f.buffers.arrived(f.buf)
	}
	f.ahead = false
}

func (f *frame) done() {
	f.whole()
	f.giveBack()
	f.buf, f.pooled = nil, nil
	f.charge.release()
}

// grow makes room for n more bytes of size in all: if it can be for all of them. A long
// frame that is copied each time that it has grown by a quarter leaves several times its
// length to the collector.
func (f *frame) grow(n, size int) {
	has := len(f.buf)
	if has+n <= cap(f.buf) {
		return
	}
	if size >= longFrame {
		if b := f.buffers.lend(size); b != nil {
			f.moveTo(b)
			f.ahead = true
			return
		}
	}
	room := max(has+n, has+has/2)
	if room > size/3*2 {
		room = size
	}
	grown := make([]byte, has, max(room, has+n))
	copy(grown, f.buf)
	f.buf = grown
}

// moveTo has the frame go on in b, which is empty.
func (f *frame) moveTo(b []byte) {
	b = append(b, f.buf...)
	f.giveBack()
	f.buf, f.pooled = b, nil
}

// giveBack has others use buf.
func (f *frame) giveBack() {
	if f.pooled == nil || cap(f.buf) >= longFrame {
		f.buffers.keep(f.buf)
		return
	}
	*f.pooled = f.buf
	putBuffer(f.pooled)
}

// A frame is read, and paid for, in chunks of a length between these: the next
// is no longer than what has arrived, so that a frame that claims 100 MiB and
// sends nothing costs 16 KiB.
const (
	firstChunk   = 16 << 10
	longestChunk = 128 << 10
)

// writeChunk is how much of an answer must get through in RequestTimeout.
const writeChunk = 256 << 10

var longAgo = time.Unix(1, 0)

// farewell is how long the last answer may take once the broker closes.
const farewell = time.Second

// head is the length of a frame.
type head [4]byte

// errFrameSize closes the connection: what follows can't be understood.
var errFrameSize = errors.New("frame length is out of range")

func newConn(b *Broker, nc net.Conn) *conn {
	host, _, err := net.SplitHostPort(nc.RemoteAddr().String())
	if err != nil {
		host = nc.RemoteAddr().String()
	}
	return &conn{
		b: b, nc: nc, host: "/" + host,
		log:    b.log.With("client", nc.RemoteAddr().String()),
		frames: make(chan frame),
	}
}

// run serves the connection until the client leaves, breaks the protocol, or
// ctx ends. It closes the connection.
func (c *conn) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel() // whatever is parked ends: nobody will read its answer
		c.endedBecause(c.readFrames(ctx))
		close(c.frames)
	})
	freed := make(chan struct{})
	context.AfterFunc(ctx, func() { // frees the reader at once, the writer soon
		defer close(freed)
		_ = c.nc.SetReadDeadline(longAgo)
		_ = c.nc.SetWriteDeadline(time.Now().Add(farewell))
	})
	c.endedBecause(c.answerFrames(ctx))
	cancel()
	for f := range c.frames {
		f.done()
	}
	wg.Wait()
	<-freed
	_ = c.nc.Close()
}

// endedBecause logs what a client did wrong. That it left is no news.
func (c *conn) endedBecause(err error) {
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled),
		errors.Is(err, io.ErrClosedPipe), isReset(err):
		c.log.Debug("connection ended", "err", err)
	case errors.Is(err, errIdle):
		c.log.Debug("idle connection closed")
	default:
		c.log.Warn("connection closed", "err", err)
	}
}

var errIdle = errors.New("idle")

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (c *conn) readFrames(ctx context.Context) error {
	for ctx.Err() == nil {
		f, err := c.readFrame(ctx)
		if ctx.Err() != nil && err != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		select {
		case c.frames <- f:
		case <-ctx.Done():
			f.done()
		}
	}
	return ctx.Err()
}

// readFrame reads one frame. The buffer grows with what arrives.
func (c *conn) readFrame(ctx context.Context) (frame, error) {
	var head head
	if err := c.deadline(ctx, c.b.cfg.IdleTimeout); err != nil {
		return frame{}, err
	}
	if n, err := io.ReadFull(c.nc, head[:]); err != nil {
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			return frame{}, errIdle
		}
		return frame{}, fmt.Errorf("read frame length: %w", err)
	}
	size := int(int32(binary.BigEndian.Uint32(head[:])))
	if size < 0 || size > c.b.cfg.RequestMaxBytes {
		return frame{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", errFrameSize, size, c.b.cfg.RequestMaxBytes)
	}
	f := frame{pooled: getBuffer(size), buffers: c.b.frames, charge: c.b.mem.charge(), arrived: time.Now()}
	f.buf = (*f.pooled)[:0]
	if err := c.readBody(ctx, &f, size); err != nil {
		f.done()
		return frame{}, fmt.Errorf("read frame of %d bytes: %w", size, err)
	}
	f.whole()
	return f, nil
}

// readBody reads size bytes within RequestTimeout. Time spent waiting for
// memory is not the client's fault and does not count.
func (c *conn) readBody(ctx context.Context, f *frame, size int) error {
	left := c.b.cfg.RequestTimeout
	for len(f.buf) < size {
		n := min(size-len(f.buf), max(firstChunk, min(len(f.buf), longestChunk)))
		if err := f.charge.add(ctx, len(f.buf), n); err != nil {
			return err
		}
		start := time.Now()
		if err := c.readChunk(ctx, f, n, size, left); err != nil {
			return err
		}
		left -= time.Since(start)
	}
	return nil
}

// readChunk reads n bytes of a frame of size within the time that is left, or if others wait for
// memory within hurryUp.
func (c *conn) readChunk(ctx context.Context, f *frame, n, size int, left time.Duration) error {
	if err := c.deadline(ctx, left); err != nil {
		return err
	}
	hurry := func() { _ = c.deadline(ctx, min(left, hurryUp)) }
	if f.charge.waits(hurry) {
		hurry()
	}
	defer f.charge.came()
	at := len(f.buf)
	f.grow(n, size)
	f.buf = f.buf[:at+n]
	m, err := io.ReadFull(c.nc, f.buf[at:])
	f.buf = f.buf[:at+m]
	return err
}

// deadline lets reads wait for d at most, and not at all once ctx has ended.
func (c *conn) deadline(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(d))
	if ctx.Err() != nil { // perhaps just before: then the deadline of run was overwritten
		_ = c.nc.SetReadDeadline(longAgo)
	}
	return ctx.Err()
}

func (c *conn) answerFrames(ctx context.Context) error {
	for f := range c.frames {
		c.timing.Arrive(f.arrived, len(head{})+len(f.buf))
		a := answer{charge: charge{mem: c.b.answers}}
		err := c.b.handle(ctx, c, f.buf, &a)
		f.done()
		size := a.size()
		if err == nil && size > 0 {
			err = c.send(ctx, &a)
		}
		c.timing.Finish(size)
		a.release()
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}
