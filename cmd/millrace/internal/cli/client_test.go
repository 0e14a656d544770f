// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// certificate makes one for 127.0.0.1, signed by itself, in two files.
func certificate(t *testing.T, name string) (pair tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for file, text := range map[string][]byte{certFile: certPEM, keyFile: keyPEM} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return pair, certFile, keyFile
}

// A broker whose listener speaks TLS and wants a certificate of its clients.
func TestTLS(t *testing.T) {
	server, ca, _ := certificate(t, "server")
	client, cert, key := certificate(t, "client")
	trusted := x509.NewCertPool()
	trusted.AddCert(client.Leaf)
	b, err := broker.Open(t.Context(), broker.Config{
		Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler),
		ListenFunc: func(network, addr string) (net.Listener, error) {
			return tls.Listen(network, addr, &tls.Config{
				MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted,
			})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	_, otherCA, _ := certificate(t, "other")
	for _, c := range []struct {
		name  string
		flags cli.Flags
		code  int
		says  string
	}{
		{"authority and certificate", cli.Flags{CA: ca, Cert: cert, Key: key}, 0, ""},
		{"no check of the broker", cli.Flags{Insecure: true, Cert: cert, Key: key}, 0, ""},
		{"no certificate of ours", cli.Flags{CA: ca}, cli.ExitUnreachable, ""},
		{"another authority", cli.Flags{CA: otherCA, Cert: cert, Key: key}, cli.ExitUnreachable, "certificate"},
		{"the system's authorities", cli.Flags{TLS: true, Cert: cert, Key: key}, cli.ExitUnreachable, "certificate"},
		{"a certificate without its key", cli.Flags{CA: ca, Cert: cert}, cli.ExitUsage, "--key"},
		{"no such file", cli.Flags{CA: "nowhere.pem"}, cli.ExitUsage, "nowhere.pem"},
		{"a file without a certificate", cli.Flags{CA: key}, cli.ExitUsage, "no certificate"},
	} {
		f := c.flags
		f.Brokers, f.Timeout = b.Addr(), 5*time.Second
		err := f.Admin(t.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
			_, err := adm.ListTopics(ctx)
			return err
		})
		if cli.ExitCode(err) != c.code || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: exit code %d, %v; want %d, %q", c.name, cli.ExitCode(err), err, c.code, c.says)
		}
	}
}

func TestFlagsOfSASL(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags cli.Flags
		env   string
		code  int
	}{
		// Port 1 answers nobody: whoever comes so far has made no mistake.
		{"none", cli.Flags{}, "", cli.ExitUnreachable},
		{"plain by the user", cli.Flags{User: "u", Password: "p"}, "", cli.ExitUnreachable},
		{"lower case", cli.Flags{Mechanism: "scram-sha-256", User: "u", Password: "p"}, "", cli.ExitUnreachable},
		{"a password of the environment", cli.Flags{Mechanism: "SCRAM-SHA-512", User: "u"}, "secret", cli.ExitUnreachable},
		{"a token", cli.Flags{Mechanism: "OAUTHBEARER", Password: "t"}, "", cli.ExitUnreachable},
		{"no token", cli.Flags{Mechanism: "OAUTHBEARER"}, "", cli.ExitUsage},
		{"no password", cli.Flags{User: "u"}, "", cli.ExitUsage},
		{"no user", cli.Flags{Mechanism: "PLAIN", Password: "p"}, "", cli.ExitUsage},
		{"unknown", cli.Flags{Mechanism: "GSSAPI", User: "u", Password: "p"}, "", cli.ExitUsage},
	} {
		t.Setenv("MILLRACE_PASSWORD", c.env)
		f := c.flags
		f.Brokers, f.Timeout = "127.0.0.1:1", time.Second
		cl, err := f.Client(t.Context())
		if cl != nil {
			cl.Close()
		}
		if cli.ExitCode(err) != c.code {
			t.Errorf("%s: exit code %d, %v; want %d", c.name, cli.ExitCode(err), err, c.code)
		}
	}
}

func TestBadClusters(t *testing.T) {
	for _, c := range []struct {
		brokers string
		timeout time.Duration
		code    int
	}{
		{" , ", time.Second, cli.ExitUsage},
		{"127.0.0.1:1", 0, cli.ExitUsage},
		{"127.0.0.1:1,127.0.0.1:2", time.Second, cli.ExitUnreachable},
	} {
		f := cli.Flags{Brokers: c.brokers, Timeout: c.timeout}
		if _, err := f.Client(t.Context()); cli.ExitCode(err) != c.code {
			t.Errorf("%q within %v: %v, want exit code %d", c.brokers, c.timeout, err, c.code)
		}
	}
}
