// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"errors"
	"io"
	"io/fs"
	"sync/atomic"
	"syscall"
	"time"
)

// A memFile is an open file of a Mem.
type memFile struct {
	m      *Mem
	n      *node
	name   string
	write  bool
	closed atomic.Bool
}

func (f *memFile) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

func (f *memFile) writable(op string) error {
	switch {
	case f.closed.Load():
		return f.fail(op, fs.ErrClosed)
	case !f.write:
		return f.fail(op, fs.ErrPermission)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case f.closed.Load():
		return 0, f.fail("read", fs.ErrClosed)
	case off < 0:
		return 0, f.fail("read", errors.New("negative offset"))
	}
	f.m.mu.RLock()
	defer f.m.mu.RUnlock()
	n := f.n.content.readAt(p, off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.writable("write"); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, f.fail("write", errors.New("negative offset"))
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := len(p)
	err := f.m.update(func() (int, error) {
		if room := f.m.room(f.n); off+int64(n) > room {
			n = int(max(0, room-off))
			if n > 0 {
				f.n.write(p[:n], off, f.m.crashes)
			}
			return min(n, 1), f.fail("write", syscall.ENOSPC)
		}
		f.n.write(p, off, f.m.crashes)
		return 1, nil
	})
	return n, err
}

func (f *memFile) Truncate(size int64) error {
	if err := f.writable("truncate"); err != nil {
		return err
	}
	if size < 0 {
		return f.fail("truncate", fs.ErrInvalid)
	}
	return f.m.update(func() (int, error) {
		if size > f.m.room(f.n) {
			return 0, f.fail("truncate", syscall.ENOSPC)
		}
		f.n.truncate(size, f.m.crashes)
		return 1, nil
	})
}

func (f *memFile) Sync() error {
	if f.closed.Load() {
		return f.fail("sync", fs.ErrClosed)
	}
	return f.m.update(func() (int, error) {
		f.n.sync()
		return 1, nil
	})
}

// loseUnsynced is what a failed fsync does on Linux: the bytes can still be read,
// but nobody will try again to write them.
func (f *memFile) loseUnsynced() {
	_ = f.m.update(func() (int, error) {
		for _, e := range f.n.edits {
			e.lost = true
		}
		return 0, nil
	})
}

func (f *memFile) Size() (int64, error) {
	if f.closed.Load() {
		return 0, f.fail("stat", fs.ErrClosed)
	}
	f.m.mu.RLock()
	defer f.m.mu.RUnlock()
	return f.n.content.size, nil
}

func (f *memFile) Close() error {
	if f.closed.Swap(true) {
		return f.fail("close", fs.ErrClosed)
	}
	return nil
}

// An edit is a change of a file that is not durable yet. It holds what it takes
// to undo it; what it wrote is read back from the file when that is needed.
type edit struct {
	truncate bool
	off, n   int64  // the range written; for a truncation the new size and 0
	size     int64  // of the file before
	old      []byte // what lay in the range, or behind the new end, before
	lost     bool   // a sync failed: it can't become durable any more
	reset    bool   // undone by taking old as the whole content
}

// write changes the content, and with note remembers how to undo it.
func (n *node) write(p []byte, off int64, note bool) {
	if note {
		e := &edit{off: off, n: int64(len(p)), size: n.content.size}
		e.old = n.content.bytes(off, min(off+e.n, e.size))
		n.edits = append(n.edits, e)
	}
	n.content.writeAt(p, off)
	n.mtime = time.Now()
}

func (n *node) truncate(size int64, note bool) {
	if note {
		e := &edit{truncate: true, off: size, size: n.content.size}
		e.old = n.content.bytes(size, e.size)
		n.edits = append(n.edits, e)
	}
	n.content.resize(size)
	n.mtime = time.Now()
}

// sync makes all edits durable but the lost ones.
func (n *node) sync() {
	lost := false
	for _, e := range n.edits {
		lost = lost || e.lost
	}
	if !lost {
		n.edits = nil
		return
	}
	durable := n.replay(func(c *content, e *edit, wrote []byte) { e.apply(c, wrote) })
	n.edits = []*edit{{reset: true, lost: true, old: durable.bytes(0, durable.size)}}
}

// replay goes back to the durable content and then over the edits that are not
// lost, with what each wrote, oldest first.
func (n *node) replay(apply func(c *content, e *edit, wrote []byte)) *content {
	c := &content{}
	c.writeAt(n.content.bytes(0, n.content.size), 0)
	c.resize(n.content.size)
	wrote := make([][]byte, len(n.edits))
	for i := len(n.edits) - 1; i >= 0; i-- {
		e := n.edits[i]
		wrote[i] = c.bytes(e.off, e.off+e.n)
		e.undo(c)
	}
	for i, e := range n.edits {
		if !e.lost {
			apply(c, e, wrote[i])
		}
	}
	return c
}

func (e *edit) undo(c *content) {
	switch {
	case e.reset:
		c.resize(0)
		c.writeAt(e.old, 0)
		c.resize(int64(len(e.old)))
	default:
		c.writeAt(e.old, e.off)
		c.resize(e.size)
	}
}

func (e *edit) apply(c *content, wrote []byte) {
	if e.truncate {
		c.resize(e.off)
	} else {
		c.writeAt(wrote, e.off)
	}
}

const chunkSize = 64 << 10

// A content is the bytes of a file, in chunks, so that a long file never moves.
// A chunk shorter than chunkSize goes on in zeros.
type content struct {
	chunks [][]byte
	size   int64
}

// readAt fills p from off on as far as there are bytes.
func (c *content) readAt(p []byte, off int64) int {
	p = p[:max(0, min(int64(len(p)), c.size-off))]
	for done := 0; done < len(p); {
		at := off + int64(done)
		i, from := int(at/chunkSize), int(at%chunkSize)
		part := p[done:min(len(p), done+chunkSize-from)]
		got := 0
		if i < len(c.chunks) && from < len(c.chunks[i]) {
			got = copy(part, c.chunks[i][from:])
		}
		clear(part[got:])
		done += len(part)
	}
	return len(p)
}

// bytes copies the range from (inclusive) to to (exclusive), empty if from >= to.
func (c *content) bytes(from, to int64) []byte {
	if from >= to {
		return nil
	}
	b := make([]byte, to-from)
	return b[:c.readAt(b, from)]
}

func (c *content) writeAt(p []byte, off int64) {
	for len(p) > 0 {
		i, from := int(off/chunkSize), int(off%chunkSize)
		for len(c.chunks) <= i {
			c.chunks = append(c.chunks, nil)
		}
		n := min(len(p), chunkSize-from)
		if short := from + n - len(c.chunks[i]); short > 0 {
			c.chunks[i] = append(c.chunks[i], make([]byte, short)...)
		}
		copy(c.chunks[i][from:], p[:n])
		p, off = p[n:], off+int64(n)
		c.size = max(c.size, off)
	}
}

func (c *content) resize(size int64) {
	if size < c.size {
		last := int(size / chunkSize)
		if last < len(c.chunks) {
			keep := min(len(c.chunks[last]), int(size%chunkSize))
			c.chunks[last] = c.chunks[last][:keep]
			clear(c.chunks[last+1:])
			c.chunks = c.chunks[:last+1]
		}
	}
	c.size = size
}
