// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/runtime/link"
)

// certificate makes one for a host, and the pool that trusts it.
func certificate(t *testing.T, host string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// tlsServer plays a broker that speaks TLS and tells what it was sent first.
func tlsServer(t *testing.T, cert tls.Certificate) (dial func(context.Context, string, string) (net.Conn, error), first chan []byte) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	first = make(chan []byte, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 1024)
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			if n, _ := conn.Read(buf); n > 0 {
				first <- buf[:n]
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
	}, first
}

func TestTLSGoesOverTheDialersConnections(t *testing.T) {
	cert, pool := certificate(t, "broker.example")
	dial, first := tlsServer(t, cert)
	cfg := link.Config{
		Brokers: []string{"broker.example:9093"}, Group: "g", Dialer: dial, TLS: &tls.Config{RootCAs: pool},
	}
	k := open(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = k.ID(ctx)
	}()
	select {
	case b := <-first:
		if len(b) < 8 || !strings.Contains(string(b), "g") {
			t.Errorf("the broker was sent % x, no Kafka request", b)
		}
	case <-within(t, 10*time.Second).Done():
		t.Error("the broker was sent nothing")
	}
	cancel()
	<-answered
}

func TestACertificateThatIsNotTrustedIsAnErrorAtOnce(t *testing.T) {
	cert, _ := certificate(t, "broker.example")
	dial, _ := tlsServer(t, cert)
	cfg := link.Config{
		Brokers: []string{"broker.example:9093"}, Group: "g", Dialer: dial, TLS: &tls.Config{RootCAs: x509.NewCertPool()},
	}
	_, err := open(t, cfg).ID(within(t, 10*time.Second))
	if err == nil || !strings.Contains(err.Error(), "tls handshake") || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("ID answers %v, want an error of the handshake about the certificate", err)
	}
}
