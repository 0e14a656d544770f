// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A brokerLoad is a broker alone with one client: what it took to produce a topic and
// to fetch it again, while it was in the page cache.
type brokerLoad struct {
	broker  string
	size    int
	acks    string
	codec   string
	records int

	produced, fetched          float64       // records a second
	produceBroker, fetchBroker time.Duration // processor time of the broker
}

// brokers runs "millrace perf" against both brokers.
func (b *bench) brokers(ctx context.Context, r *report) error {
	for _, size := range []int{100, 1024} {
		records := 100_000_000 / size // 100 MB
		if b.quick {
			records /= 4
		}
		for _, acks := range []string{"1", "all"} {
			for _, codec := range []string{"none", "lz4"} {
				for _, name := range []string{ours, theirs} {
					l := brokerLoad{broker: name, size: size, acks: acks, codec: codec, records: records}
					if err := b.broker(ctx, &l); err != nil {
						return err
					}
					r.loads = append(r.loads, l)
				}
			}
		}
	}
	return nil
}

func (b *bench) broker(ctx context.Context, l *brokerLoad) error {
	n := b.nodes[l.broker]
	b.runs++
	topic := fmt.Sprintf("perf-%d", b.runs)
	client, err := kgo.NewClient(kgo.SeedBrokers(n.addr))
	if err != nil {
		return fmt.Errorf("open a client: %w", err)
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	if err := create(ctx, adm, topic); err != nil {
		return err
	}
	if l.produced, l.produceBroker, err = b.perf(ctx, n, "produce", topic, "--quiet", "--json", "--brokers", n.addr,
		"--records", strconv.Itoa(l.records), "--size", strconv.Itoa(l.size), "--acks", l.acks, "--compression", l.codec); err != nil {
		return err
	}
	if l.fetched, l.fetchBroker, err = b.perf(ctx, n, "consume", topic, "--quiet", "--json", "--brokers", n.addr); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s alone, %d B, acks %s, %s: produce %.0f records/s, fetch %.0f records/s\n",
		l.broker, l.size, l.acks, l.codec, l.produced, l.fetched)
	if _, err := adm.DeleteTopics(ctx, topic); err != nil {
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	return nil
}

// perf runs one command and answers its records a second, and the broker's
// processor time.
func (b *bench) perf(ctx context.Context, n *node, args ...string) (rate float64, cpu time.Duration, err error) {
	before, err := used(n.pid)
	if err != nil {
		return 0, 0, err
	}
	argv := append([]string{filepath.Join(b.bin, "millrace"), "perf"}, args...)
	if b.cpus != "" {
		argv = append([]string{"taskset", "-c", b.cpus}, argv...)
	}
	text, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	after, err := used(n.pid)
	if err != nil {
		return 0, 0, err
	}
	var said struct {
		RecordsPerSecond float64 `json:"records_per_second"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return 0, 0, fmt.Errorf("%s said %q: %w", strings.Join(argv, " "), text, err)
	}
	return said.RecordsPerSecond, after.cpu - before.cpu, nil
}
