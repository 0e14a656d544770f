// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A scale is how much a broker is given to hold.
type scale struct{ topics, partitions, conns, groups int }

// limits of memory, each several times what was measured, so that only waste of
// another kind fails the test: a buffer for each partition, a goroutine that is lost.
const (
	heapPerPartition = 24 << 10
	heapPerConn      = 48 << 10
	heapPerGroup     = 64 << 10
	heapPerFetch     = 30 << 10

	// heapSlack is what two samples may differ by for other reasons.
	heapSlack = 8 << 20
)

// TestLimits sets up partitions, connections and groups, and measures what each
// costs. MILLRACE_LONG=1 does so with as many as docs/guide/limits.md tells of.
func TestLimits(t *testing.T) {
	s := scale{topics: 5, partitions: 1000, conns: 200, groups: 100}
	if os.Getenv("MILLRACE_LONG") != "" {
		s = scale{topics: 10, partitions: 10_000, conns: 2000, groups: 1000}
	}
	bin, dir := build(t), t.TempDir()
	p := start(t, bin, dir, limitFlags...)
	m := &meter{t: t, p: p, url: metricsURL(t, p)}
	idle := m.sample("idle")

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	createTopics(ctx, t, p.addr, s)
	m.sample(fmt.Sprintf("%d partitions", s.partitions))
	writeAll(ctx, t, p.addr, s)
	written := m.sample("each written to")
	m.per("partition", idle, written, s.partitions, heapPerPartition)
	if n := written.goroutines - idle.goroutines; n > 50 {
		t.Errorf("%.0f goroutines more with partitions than without", n)
	}

	conns := connect(t, p.addr, s.conns)
	used := m.sample(fmt.Sprintf("%d connections", s.conns))
	m.per("connection", written, used, s.conns, heapPerConn)
	if n := used.fds - written.fds; n > float64(s.conns+20) {
		t.Errorf("%.0f file handles more for %d connections", n, s.conns)
	}
	if n := used.goroutines - written.goroutines; n > float64(2*s.conns+50) {
		t.Errorf("%.0f goroutines more for %d connections", n, s.conns)
	}
	joinGroups(t, conns, s.groups)
	grouped := m.sample(fmt.Sprintf("%d groups", s.groups))
	m.per("group", used, grouped, s.groups, heapPerGroup)
	parkFetches(t, conns)
	parked := m.sample("a fetch parked by each connection")
	m.per("parked fetch", grouped, parked, s.conns, heapPerFetch)
	closeAll(conns)

	m.scrape(s)
	_ = p.stop(syscall.SIGKILL)
	restarted := time.Now()
	p = start(t, bin, dir, limitFlags...)
	t.Logf("start after kill -9: %v", time.Since(restarted).Round(time.Millisecond))
	m = &meter{t: t, p: p, url: metricsURL(t, p)}
	again := m.sample("started again")
	m.per("partition", idle, again, s.partitions, heapPerPartition)
	if again.partitions < float64(s.partitions) {
		t.Errorf("%.0f partitions after the restart, want %d", again.partitions, s.partitions)
	}
}

var limitFlags = []string{"--metrics", "127.0.0.1:0", "--pprof", "--log-level", "info"}

// metricsURL reads where the metrics are from the broker's log, which comes
// through a pipe of its own, and so may come later than that it listens.
func metricsURL(t *testing.T, p *process) string {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		if url := regexp.MustCompile(`url=(http://\S+)/metrics`).FindStringSubmatch(p.stderr.String()); url != nil {
			return url[1]
		}
		if time.Now().After(deadline) {
			t.Fatalf("no address of metrics in the log:\n%s", p.stderr)
		}
		runtime.Gosched()
	}
}

// A usage is what a broker holds of the machine.
type usage struct{ resident, heap, fds, goroutines, partitions float64 }

// A meter reads usages of one process.
type meter struct {
	t   *testing.T
	p   *process
	url string
}

// sample collects the broker's garbage, and then measures.
func (m *meter) sample(when string) usage {
	m.t.Helper()
	get(m.t, m.url+"/debug/pprof/heap?gc=1")
	_, text := get(m.t, m.url+"/metrics")
	value := func(name string) float64 {
		found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(text)
		if found == nil {
			m.t.Fatalf("no metric %s", name)
		}
		v, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			m.t.Fatal(err)
		}
		return v
	}
	u := usage{
		resident: value("process_resident_memory_bytes"), heap: value("go_memstats_heap_alloc_bytes") + value("go_memstats_stack_inuse_bytes"),
		fds: value("process_open_fds"), goroutines: value("go_goroutines"), partitions: value("millrace_broker_partitions"),
	}
	m.t.Logf("%-36s resident %4.0f MiB, heap and stacks %4.0f MiB, file handles %5.0f, goroutines %5.0f",
		when, u.resident/(1<<20), u.heap/(1<<20), u.fds, u.goroutines)
	return u
}

// per fails the test if one thing more costs more memory than it may.
func (m *meter) per(what string, before, after usage, n int, limit float64) {
	m.t.Helper()
	cost := (after.heap - before.heap) / float64(n)
	m.t.Logf("%-36s %.1f KiB of heap and stacks", "a "+what, cost/1024)
	if most := limit + heapSlack/float64(n); cost > most {
		m.t.Errorf("a %s costs %.0f bytes, at most %.0f are allowed", what, cost, most)
	}
}

// scrape measures the answers that are as long as there are partitions.
func (m *meter) scrape(s scale) {
	m.t.Helper()
	began := time.Now()
	_, text := get(m.t, m.url+"/metrics")
	m.t.Logf("/metrics: %d lines, %v", strings.Count(text, "\n"), time.Since(began).Round(time.Millisecond))
	if n := strings.Count(text, "\n"); n > 20_000 {
		m.t.Errorf("/metrics has %d lines with %d partitions", n, s.partitions)
	}
	c := dialRaw(m.t, m.p.addr)
	defer c.Close()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	began = time.Now()
	resp := c.do(req).(*kmsg.MetadataResponse)
	m.t.Logf("metadata of %d topics: %v", len(resp.Topics), time.Since(began).Round(time.Millisecond))
}

func adminOf(t *testing.T, addr string) (*kgo.Client, *kadm.Client) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	return cl, kadm.NewClient(cl)
}

func createTopics(ctx context.Context, t *testing.T, addr string, s scale) {
	t.Helper()
	cl, adm := adminOf(t, addr)
	defer cl.Close()
	began := time.Now()
	for i := range s.topics {
		resp, err := adm.CreateTopic(ctx, int32(s.partitions/s.topics), 1, nil, fmt.Sprintf("t%d", i))
		if err != nil || resp.Err != nil {
			t.Fatalf("create topic: %v, %v", err, resp.Err)
		}
	}
	if resp, err := adm.CreateTopic(ctx, 10, 1, nil, "small"); err != nil || resp.Err != nil {
		t.Fatalf("create topic: %v, %v", err, resp.Err)
	}
	t.Logf("made in %v", time.Since(began).Round(time.Millisecond))
}

// writeAll puts a few records into each partition.
func writeAll(ctx context.Context, t *testing.T, addr string, s scale) {
	t.Helper()
	cl, _ := adminOf(t, addr)
	defer cl.Close()
	began := time.Now()
	for i := range s.topics {
		for p := range s.partitions / s.topics {
			cl.Produce(ctx, &kgo.Record{Topic: fmt.Sprintf("t%d", i), Partition: int32(p), Value: make([]byte, 1000)}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Errorf("produce: %v", err)
				}
			})
		}
	}
	if err := cl.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("written in %v", time.Since(began).Round(time.Millisecond))
}

// connect opens connections and has a request answered on each.
func connect(t *testing.T, addr string, n int) []*rawConn {
	t.Helper()
	conns := make([]*rawConn, n)
	t.Cleanup(func() { closeAll(conns) })
	for i := range conns {
		conns[i] = dialRaw(t, addr)
	}
	for i, c := range conns {
		c.do(withVersion(kmsg.NewPtrApiVersionsRequest(), 3))
		req := kmsg.NewPtrMetadataRequest()
		req.Version = 12
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr("t0")
		req.Topics = append(req.Topics, topic)
		c.do(req)
		if i%100 == 0 && t.Failed() {
			t.FailNow()
		}
	}
	return conns
}

func closeAll(conns []*rawConn) {
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
}

// joinGroups makes groups of one member: by turns of the classic protocol, which
// commits offsets, and of that of KIP-848.
func joinGroups(t *testing.T, conns []*rawConn, n int) {
	t.Helper()
	began := time.Now()
	workers := min(len(conns), 16)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				if i%2 == 0 {
					conns[w].joinClassic(fmt.Sprintf("classic-%d", i))
				} else {
					conns[w].joinModern(fmt.Sprintf("modern-%d", i))
				}
			}
		})
	}
	wg.Wait()
	t.Logf("joined in %v", time.Since(began).Round(time.Millisecond))
}

// parkFetches leaves each connection waiting for records.
func parkFetches(t *testing.T, conns []*rawConn) {
	t.Helper()
	for i, c := range conns {
		req := kmsg.NewPtrFetchRequest()
		req.Version, req.MaxBytes, req.MinBytes, req.MaxWaitMillis = 12, 50<<20, 1, 60_000
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic = "small"
		for p := range 10 {
			rp := kmsg.NewFetchRequestTopicPartition()
			rp.Partition, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = int32((i+p)%10), 1<<20, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
		c.send(req)
	}
}
