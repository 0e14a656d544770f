// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	slowClients = 8           // of each kind
	longFrame   = 90 << 20    // below socket.request.max.bytes
	pipelined   = 20_000      // requests whose answers nobody reads
	busyFor     = time.Second // how long the others work beside them

	// quickEnough is less than it takes until the broker gives slow clients up: who
	// waits for them waits longer.
	quickEnough = 25 * time.Second

	// slowMemory bounds heap and stacks while they are there: --request-memory,
	// the one frame that may exceed it, as much again as it grew, and little for the answers.
	slowMemory = 320 << 20
)

// Clients that read nothing, send half a frame, send thousands of requests at
// once, or frames as long as can be: the others go on, and memory is bounded.
func TestSlowClients(t *testing.T) {
	p := start(t, build(t), t.TempDir(), append(slices.Clone(limitFlags), "--request-memory", "33554432")...)
	m := &meter{t: t, p: p, url: metricsURL(t, p)}
	run := asShell(t, p.addr)
	run("millrace topics create t --partitions 1")
	run("millrace topics create long --partitions 1")
	fill(t, p.addr, "long", 40, 900_000)
	alone := work(t, p.addr)

	var slow []*rawConn
	var wg sync.WaitGroup
	for range slowClients {
		for _, bytes := range [][]byte{
			frameOf(fetchOf("long", 50<<20)), half(1<<20, 100_000), slices.Repeat(frameOf(fetchOf("long", 1<<20)), pipelined), half(longFrame, longFrame-1),
		} {
			c := dialRaw(t, p.addr)
			slow = append(slow, c)
			wg.Go(func() { _, _ = c.Write(bytes) }) // the broker may stop reading, or close it
		}
	}
	beside := work(t, p.addr)
	used := m.sample("with slow clients")
	t.Logf("alone:       %v", alone)
	t.Logf("beside them: %v", beside)
	if worst := beside[len(beside)-1]; worst > quickEnough {
		t.Errorf("a request took %v beside slow clients", worst)
	}
	if used.heap > slowMemory {
		t.Errorf("slow clients cost %.0f bytes, at most %d are allowed", used.heap, slowMemory)
	}
	closeAll(slow)
	wg.Wait()
}

// times of requests, in order of length.
type times []time.Duration

func (x times) String() string {
	return fmt.Sprintf("%d requests, median %v, p99 %v, worst %v", len(x), x[len(x)/2], x[len(x)*99/100], x[len(x)-1])
}

// work produces, asks for metadata and fetches, over and over.
func work(t *testing.T, addr string) times {
	t.Helper()
	cl, _ := adminOf(t, addr)
	defer cl.Close()
	c := dialRaw(t, addr)
	defer c.Close()
	var took times
	for began := time.Now(); time.Since(began) < busyFor && !t.Failed(); {
		for _, step := range []func(){
			func() {
				if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr(); err != nil {
					t.Error(err)
				}
			},
			func() { c.do(metadataOf("t")) },
			func() {
				if resp := c.do(fetchOf("t", 100)).(*kmsg.FetchResponse); len(resp.Topics) != 1 || len(resp.Topics[0].Partitions[0].RecordBatches) == 0 {
					t.Errorf("fetch: %+v", resp)
				}
			},
		} {
			at := time.Now()
			step()
			took = append(took, time.Since(at))
		}
	}
	slices.Sort(took)
	return took
}

func metadataOf(topic string) *kmsg.MetadataRequest {
	req := withVersion(kmsg.NewPtrMetadataRequest(), 12)
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &topic
	req.Topics = append(req.Topics, rt)
	return req
}

// fetchOf asks for partition 0 from its beginning.
func fetchOf(topic string, maxBytes int32) *kmsg.FetchRequest {
	req := withVersion(kmsg.NewPtrFetchRequest(), 12)
	req.MaxBytes = maxBytes
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = maxBytes, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// half is a frame of which only some bytes are there.
func half(claimed, sent int) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(claimed)), make([]byte, sent)...)
}

// fill writes n records of some length to partition 0.
func fill(t *testing.T, addr, topic string, n, length int) {
	t.Helper()
	cl, _ := adminOf(t, addr)
	defer cl.Close()
	for range n {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: make([]byte, length)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}
