// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// patience is how long an answer may take, and how long a node may take to
// close a connection. Two busy cores need a fraction of it.
const patience = 60 * time.Second

// A conn is one connection to a node. It is dialled by the first request, and
// again after the node has closed it.
type conn struct {
	addr string
	nc   net.Conn
	next int32
}

// errClosed says that the node closed the connection in place of an answer.
var errClosed = errors.New("closed")

// A header is what a request begins with, where it is not the usual.
type header struct {
	key, version int16
	flexible     bool
	clientID     *string
	tags         []byte // of a flexible header, with their count; nil: none
}

func headerOf(req kmsg.Request) header {
	id := "difftest"
	return header{key: req.Key(), version: req.GetVersion(), flexible: req.IsFlexible(), clientID: &id}
}

// frame is a request as it goes out, with its length.
func (h header) frame(id int32, body []byte) []byte {
	be := binary.BigEndian
	b := be.AppendUint16(make([]byte, 4), uint16(h.key))
	b = be.AppendUint16(b, uint16(h.version))
	b = be.AppendUint32(b, uint32(id))
	if h.clientID == nil {
		b = be.AppendUint16(b, 0xffff)
	} else {
		b = be.AppendUint16(b, uint16(len(*h.clientID)))
		b = append(b, *h.clientID...)
	}
	if h.flexible {
		if h.tags == nil {
			h.tags = []byte{0}
		}
		b = append(b, h.tags...)
	}
	b = append(b, body...)
	be.PutUint32(b, uint32(len(b)-4))
	return b
}

// send writes a request and returns its correlation id.
func (c *conn) send(h header, body []byte) (int32, error) {
	c.next++
	return c.next, c.write(h.frame(c.next, body))
}

// write sends bytes as they are.
func (c *conn) write(b []byte) error {
	if c.nc == nil {
		nc, err := net.DialTimeout("tcp", c.addr, patience)
		if err != nil {
			return fmt.Errorf("dial: %w", err)
		}
		c.nc = nc
	}
	if err := c.nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("set a deadline: %w", err)
	}
	if _, err := c.nc.Write(b); err != nil {
		return c.ended(err)
	}
	return nil
}

// receive reads the next answer, without its length, and checks its id.
func (c *conn) receive(id int32) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(c.nc, head[:]); err != nil {
		return nil, c.ended(err)
	}
	if got := int32(binary.BigEndian.Uint32(head[4:])); got != id {
		return nil, fmt.Errorf("correlation id %d, want %d", got, id)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(c.nc, body); err != nil {
		return nil, c.ended(err)
	}
	return body, nil
}

// ended makes errClosed of what the end of a connection looks like.
func (c *conn) ended(err error) error {
	c.close()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("no answer")
	}
	return errClosed
}

func (c *conn) close() {
	if c.nc != nil {
		_ = c.nc.Close()
		c.nc = nil
	}
}

// decode reads the answer to req.
func decode(req kmsg.Request, body []byte) (kmsg.Response, error) {
	resp := req.ResponseKind()
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("the answer's header has tags")
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	if again := resp.AppendTo(nil); len(again) != len(body) {
		return nil, fmt.Errorf("the answer is %d bytes long, of which %d are understood", len(body), len(again))
	}
	return resp, nil
}
