// SPDX-License-Identifier: Apache-2.0

// Package vnet is the network without a network: buffered connections in
// memory and a listener that accepts them. They honour deadlines, never touch
// the operating system, and block only on channels, so that they work inside a
// testing/synctest bubble (all of a connection must then live in one bubble).
package vnet

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// A Listener accepts connections made with its own Dial. Safe for concurrent
// use.
type Listener struct {
	addr   Addr
	conns  chan net.Conn // no capacity: a dialer waits for Accept
	closed chan struct{}
	once   sync.Once
	next   atomic.Int64 // client ports
}

// Listen returns a Listener that calls itself addr.
func Listen(addr string) *Listener {
	return &Listener{addr: Addr(addr), conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept waits for the next Dial. After Close it fails with net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "vnet", Addr: l.addr, Err: net.ErrClosed}
	}
}

// Dial connects to the listener, and waits until it accepts.
func (l *Listener) Dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := Pipe(Addr(fmt.Sprintf("vnet-client:%d", l.next.Add(1))), l.addr)
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "vnet", Addr: l.addr, Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "vnet", Addr: l.addr, Err: ctx.Err()}
	}
}

// Close makes Accept and Dial fail. Connections stay open.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is the name given to Listen.
func (l *Listener) Addr() net.Addr { return l.addr }
