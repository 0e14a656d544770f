// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafkatest"
)

// The brokers, by name.
const (
	bundled = "millrace"
	apache  = "kafka"
)

// startBrokers starts both, with empty data folders, until the test ends, and
// returns their addresses by name.
func startBrokers(t *testing.T) map[string]string {
	t.Helper()
	brokers := map[string]string{bundled: startBundled(t)}
	if *withKafka {
		brokers[apache] = kafkatest.Start(t, "auto.create.topics.enable=false").Addr
	}
	for _, addr := range brokers {
		warmUp(t, addr)
	}
	return brokers
}

// warmUp returns when the coordinators of all groups answer, and producers get
// ids: Apache Kafka begins with errors that not all clients wait out.
func warmUp(t *testing.T, addr string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	groups := make([]string, 30) // one at least in each of four partitions
	for i := range groups {
		groups[i] = fmt.Sprintf("warm-up-%d", i)
	}
	admin := kadm.NewClient(cl)
	err = until(t.Context(), "the coordinators", func() bool {
		for _, offsets := range admin.FetchManyOffsets(t.Context(), groups...) {
			if offsets.Err != nil {
				return false
			}
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "warm-up"); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "warm-up"}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// buildBundled returns the program millrace.
func buildBundled(t *testing.T) string {
	t.Helper()
	if *binary != "" {
		return *binary
	}
	exe := filepath.Join(t.TempDir(), "millrace")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", exe, "./cmd/millrace")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build cmd/millrace: %v\n%s", err, out)
	}
	return exe
}

// keeper runs a program for as long as standard input is open, so that it does
// not outlive the test process, whatever ends that. A line there is another signal
// than SIGTERM to end it with: "-KILL".
const keeper = `"$@" </dev/null & program=$!; exec >/dev/null; read -r signal; kill "${signal:--TERM}" "$program"; wait "$program"`

// startBundled runs "millrace broker" as a process.
func startBundled(t *testing.T) string {
	t.Helper()
	exe, dir := buildBundled(t), t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", keeper, "keeper", exe, "broker", "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0")
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = hold.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("millrace broker ended with %v", err)
		}
		log.Close()
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("end of the broker's log:\n%s", text[max(0, len(text)-4000):])
		}
	})
	first, err := bufio.NewReader(stdout).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(first), "listening on ")
	if err != nil || !ok {
		t.Fatalf("millrace broker printed %q, %v", first, err)
	}
	return addr
}

var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// storedCodecs notes with which codec the broker keeps what the program has
// written to its topic of each.
func storedCodecs(ctx context.Context, t *testing.T, addr, program string, out *outcomes) {
	t.Helper()
	if len(out.steps) == 0 {
		return
	}
	for _, codec := range codecs {
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic(program, "codec "+codec)),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			t.Fatal(err)
		}
		fetches := cl.PollRecords(ctx, 1)
		if err := fetches.Err(); err != nil {
			out.failed("codec", err)
		} else {
			out.got("codec", codec+", as stored", codecs[fetches.Records()[0].Attrs.CompressionType()])
		}
		cl.Close()
	}
}
