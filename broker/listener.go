// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/millrace/millrace/internal/vnet"
)

// inProcessAddr is what a broker without TCP advertises. No name server
// resolves it (RFC 2606): only Broker.Dial knows the way.
const inProcessAddr = "millrace.invalid:9092"

// Addr is the address that clients are told to connect to, "host:port". A
// broker without TCP has one that only Dial knows.
func (b *Broker) Addr() string { return b.advertise }

// ListenAddr is the TCP address listened on, with the real port if the Config
// said 0; Addr if there is no TCP.
func (b *Broker) ListenAddr() string {
	if b.tcp == nil {
		return b.advertise
	}
	return b.tcp.String()
}

// Bootstrap is Addr as a list, as clients want it.
func (b *Broker) Bootstrap() []string { return []string{b.advertise} }

// Dial connects to the broker within the process. It has the shape of
// net.Dialer.DialContext and serves as kgo.Dialer; addr must be Addr. The
// connection is buffered memory: it can live in a testing/synctest bubble if the
// broker does.
func (b *Broker) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if addr != b.advertise && addr != inProcessAddr {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: vnet.Addr(addr), Err: errors.New("no broker of this process has this address")}
	}
	return b.local.Dial(ctx)
}

// listen opens the TCP listener, if one is wanted, and settles the advertised
// address.
func (b *Broker) listen() error {
	b.local = vnet.Listen(inProcessAddr)
	b.listeners = []net.Listener{b.local}
	b.advertise = b.cfg.Advertise
	if b.cfg.Listen == "" {
		if b.advertise == "" {
			b.advertise = inProcessAddr
		}
	} else {
		l, err := b.cfg.ListenFunc("tcp", b.cfg.Listen)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		b.listeners = append(b.listeners, l)
		b.tcp = l.Addr()
		if b.advertise == "" {
			b.advertise = reachable(l.Addr().String())
			b.log.Debug("advertising the address listened on", "advertise", b.advertise)
		}
	}
	b.cfg.Advertise = b.advertise // for those who ask for the config
	var err error
	if b.host, b.port, err = splitAddr(b.advertise); err != nil {
		return fmt.Errorf("advertised address: %w", err)
	}
	return nil
}

// reachable turns the address of a listener on all interfaces into one that
// clients on this machine can connect to.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// accept serves l until the broker closes.
func (b *Broker) accept(ctx context.Context, l net.Listener) {
	pause := newBackoff()
	for {
		nc, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = nc.Close()
			}
			return
		}
		if err != nil { // out of file descriptors, say: it may pass
			b.log.Error("accept", "addr", l.Addr().String(), "err", err)
			pause.wait(ctx)
			continue
		}
		pause.reset()
		select {
		case b.slots <- struct{}{}:
		default:
			b.counts.refused.Add(1)
			b.log.Warn("connection refused: too many", "client", nc.RemoteAddr().String(), "limit", b.cfg.MaxConnections)
			_ = nc.Close()
			continue
		}
		b.counts.accepted.Add(1)
		b.wg.Go(func() {
			defer func() { <-b.slots }()
			newConn(b, nc).run(ctx)
		})
	}
}

// backoff doubles from 5 ms to 1 s.
type backoff struct{ d time.Duration }

func newBackoff() *backoff { return &backoff{d: 5 * time.Millisecond} }

func (p *backoff) reset() { p.d = 5 * time.Millisecond }

func (p *backoff) wait(ctx context.Context) {
	t := time.NewTimer(p.d)
	defer t.Stop()
	p.d = min(2*p.d, time.Second)
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
