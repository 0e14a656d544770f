// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// bufferBytes is how much one direction of a connection holds before a Write
// waits for the reader.
const bufferBytes = 256 << 10

// Addr is the address of an end of a connection in memory: a host and a port
// that no name server knows.
type Addr string

// Network is "vnet".
func (Addr) Network() string { return "vnet" }

// String is the address as it was given.
func (a Addr) String() string { return string(a) }

// Pipe returns the two ends of a connection in memory. Each direction holds up
// to 256 KiB. What was written before a Close is still read by the other side,
// then io.EOF.
func Pipe(a, b Addr) (net.Conn, net.Conn) {
	ab, ba := newStream(), newStream()
	return newConn(a, b, ba, ab), newConn(b, a, ab, ba)
}

// conn is one end: it reads from in and writes to out.
type conn struct {
	local, remote Addr
	in, out       *stream
	read, write   deadline
	closed        chan struct{}
	closeOnce     sync.Once
}

func newConn(local, remote Addr, in, out *stream) *conn {
	return &conn{local: local, remote: remote, in: in, out: out, closed: make(chan struct{})}
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		if err := c.refused(&c.read); err != nil {
			return 0, c.fail("read", err)
		}
		n, eof, wake := c.in.take(b)
		if n > 0 || len(b) == 0 {
			return n, nil
		}
		if eof {
			return 0, io.EOF
		}
		c.await(wake, &c.read)
	}
}

func (c *conn) Write(b []byte) (int, error) {
	done := 0
	for {
		if err := c.refused(&c.write); err != nil {
			return done, c.fail("write", err)
		}
		n, broken, wake := c.out.put(b[done:])
		done += n
		if broken {
			return done, c.fail("write", io.ErrClosedPipe)
		}
		if done == len(b) {
			return done, nil
		}
		c.await(wake, &c.write)
	}
}

// refused is the reason why no more I/O may be tried, if there is one.
func (c *conn) refused(d *deadline) error {
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
	}
	if d.passed() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// await returns when the stream may have changed, or I/O is refused.
func (c *conn) await(wake <-chan struct{}, d *deadline) {
	select {
	case <-wake:
	case <-c.closed:
	case <-d.expired():
	}
}

func (c *conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "vnet", Source: c.local, Addr: c.remote, Err: err}
}

// Close ends both directions. The other side still reads what is buffered.
func (c *conn) Close() error {
	c.closeOnce.Do(func() {
		close(c.closed)
		c.out.finish()
		c.in.abandon()
		c.read.set(time.Time{})
		c.write.set(time.Time{})
	})
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.read.set(t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.write.set(t)
	return nil
}

// stream is one direction: a queue of bytes with a bound.
type stream struct {
	mu        sync.Mutex
	buf       []byte        // unread bytes are buf[start:]
	start     int           //
	finished  bool          // no more will be written
	abandoned bool          // nobody will read
	wake      chan struct{} // closed at the next change; nil while nobody waits
}

func newStream() *stream { return &stream{} }

// take moves bytes into b. eof is true if there will never be more. wake is
// closed at the next change.
func (s *stream) take(b []byte) (n int, eof bool, wake <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = copy(b, s.buf[s.start:])
	s.start += n
	if n > 0 {
		if s.start == len(s.buf) {
			s.buf, s.start = s.buf[:0], 0
		}
		s.changed()
		return n, false, nil
	}
	if s.finished {
		return 0, true, nil
	}
	return 0, false, s.waitLocked()
}

// put takes as much of b as there is room for. broken is true if nobody will
// ever read it.
func (s *stream) put(b []byte) (n int, broken bool, wake <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abandoned || s.finished {
		return 0, true, nil
	}
	n = min(len(b), bufferBytes-(len(s.buf)-s.start))
	if n > 0 {
		if s.start > 0 && len(s.buf)+n > cap(s.buf) {
			s.buf = s.buf[:copy(s.buf, s.buf[s.start:])]
			s.start = 0
		}
		s.buf = append(s.buf, b[:n]...)
		s.changed()
	}
	if n == len(b) {
		return n, false, nil
	}
	return n, false, s.waitLocked()
}

func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = true
	s.changed()
}

func (s *stream) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned = true
	s.buf, s.start = nil, 0
	s.changed()
}

func (s *stream) changed() {
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

func (s *stream) waitLocked() <-chan struct{} {
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return s.wake
}
