// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A brokerLoad is a broker alone with one client: what it took to produce a topic,
// to fetch it again while it was in the page cache (hot), and once more when it had
// been dropped from there (cold). Both find memory that was used just before.
type brokerLoad struct {
	broker  string
	size    int
	acks    string
	codec   string
	records int

	produce, hot, cold brokerWork
}

// brokerWork is what one command took.
type brokerWork struct {
	rate float64       // records a second
	cpu  time.Duration // processor time of the broker
}

// brokers runs "millrace perf" against both brokers; what a load of each takes first
// is not counted.
func (b *bench) brokers(ctx context.Context, r *report) error {
	acks := []string{"1", "all"}
	bytes := 100_000_000.0
	if b.quick {
		acks, bytes = acks[1:], 200_000_000 // a tenth of it
	}
	names := slices.DeleteFunc([]string{ours, theirs}, func(name string) bool { return b.nodes[name] == nil })
	for _, name := range names {
		warm := brokerLoad{broker: name, size: 100, acks: "all", codec: "none", records: max(1000, int(200_000*b.scale))}
		if err := b.broker(ctx, &warm); err != nil {
			return err
		}
	}
	for _, size := range []int{100, 1024} {
		for _, acks := range acks {
			for _, codec := range []string{"none", "lz4"} {
				for _, name := range names {
					l := brokerLoad{broker: name, size: size, acks: acks, codec: codec, records: max(1000, int(bytes*b.scale)/size)}
					if err := b.broker(ctx, &l); err != nil {
						return err
					}
					r.loads = append(r.loads, l)
					b.say("%s alone, %d B, acks %s, %s: produce %.0f records/s, fetch %.0f, cold %.0f",
						l.broker, l.size, l.acks, l.codec, l.produce.rate, l.hot.rate, l.cold.rate)
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
	if err := touch(filepath.Join(b.dir, "touched"), l.records*(l.size+64)); err != nil {
		return err
	}
	if l.produce, err = b.perf(ctx, n, l.records, "produce", topic, "--quiet", "--json", "--brokers", n.addr,
		"--records", strconv.Itoa(l.records), "--size", strconv.Itoa(l.size), "--acks", l.acks, "--compression", l.codec); err != nil {
		return err
	}
	if l.hot, err = b.perf(ctx, n, l.records, "consume", topic, "--quiet", "--json", "--brokers", n.addr); err != nil {
		return err
	}
	if err := drop(n.dir); err != nil {
		return err
	}
	if l.cold, err = b.perf(ctx, n, l.records, "consume", topic, "--quiet", "--json", "--brokers", n.addr); err != nil {
		return err
	}
	if _, err := adm.DeleteTopics(ctx, topic); err != nil {
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	return nil
}

// touch has the system's memory used for n bytes of a file, and gives it back. In a
// virtual machine what was free for some seconds may belong to the host: to write a KiB
// to it takes 2.5 us of processor time, and 0.2 us where that was done just before. A
// broker that deletes files at once leaves such memory to the next one, and one that
// deletes them a minute later, as Kafka does, leaves none.
func touch(path string, n int) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("touch memory: %w", err)
	}
	chunk := make([]byte, 1<<20)
	for ; n > 0 && err == nil; n -= len(chunk) {
		_, err = f.Write(chunk)
	}
	if err = errors.Join(err, f.Close(), os.Remove(path)); err != nil {
		return fmt.Errorf("touch memory: %w", err)
	}
	return nil
}

// perf runs one command and answers its records a second, and the broker's processor
// time. It must have had so many records, and no errors.
func (b *bench) perf(ctx context.Context, n *node, records int, args ...string) (brokerWork, error) {
	before, err := used(n.pid)
	if err != nil {
		return brokerWork{}, err
	}
	argv := append([]string{filepath.Join(b.bin, "millrace"), "perf"}, args...)
	text, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	if err != nil {
		return brokerWork{}, fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	after, err := used(n.pid)
	if err != nil {
		return brokerWork{}, err
	}
	var said struct {
		Records          int     `json:"records"`
		Errors           int     `json:"errors"`
		RecordsPerSecond float64 `json:"records_per_second"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return brokerWork{}, fmt.Errorf("%s said %q: %w", strings.Join(argv, " "), text, err)
	}
	if said.Records != records || said.Errors > 0 {
		return brokerWork{}, fmt.Errorf("%s: %d records and %d errors, want %d records", strings.Join(argv, " "), said.Records, said.Errors, records)
	}
	return brokerWork{said.RecordsPerSecond, after.cpu - before.cpu}, nil
}
