// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
)

// Our encoding of the answer is kmsg's, in each version: what that reads and writes
// again has the same bytes.
func TestFetchAnswersAreKmsgs(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	ids := []topicID{mustCreate(c, "t", 3), mustCreate(c, "u", 1)}
	mustProduce(c, "t", numbered("v", 10)...)
	mustProduce(c, "u", strings.Repeat("long ", 30_000)) // longer than what is read into the answer
	put(c, 2, "after it")
	for v := int16(4); v <= 18; v++ {
		for _, isolation := range []int8{0, 1} {
			req := withVersion(kmsg.NewPtrFetchRequest(), v)
			req.MaxBytes, req.IsolationLevel = 1<<20, isolation
			for i, name := range []string{"t", "u", "nope"} {
				rt := kmsg.NewFetchRequestTopic()
				if rt.Topic = name; i < len(ids) {
					rt.TopicID = ids[i]
				} else {
					rt.TopicID = topicID{7}
				}
				for p := range int32(3) {
					rp := kmsg.NewFetchRequestTopicPartition()
					rp.Partition, rp.PartitionMaxBytes = p, 1<<20
					if rp.CurrentLeaderEpoch = -1; p == 1 {
						rp.LastFetchedEpoch, rp.FetchOffset = 0, 0
					}
					rt.Partitions = append(rt.Partitions, rp)
				}
				req.Topics = append(req.Topics, rt)
			}
			id := c.send(req)
			_, body, err := readAnswer(c.nc, v >= 12)
			if err != nil {
				t.Fatal(err)
			}
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			if err := resp.ReadFrom(body); err != nil {
				t.Fatalf("v%d, answer %d: %v", v, id, err)
			}
			if again := resp.AppendTo(nil); !bytes.Equal(body, again) {
				t.Errorf("v%d: kmsg writes\n% x\nwe\n% x", v, again, body)
			}
			n := 0
			for _, rt := range resp.Topics {
				for _, p := range rt.Partitions {
					n += len(values(t, p.RecordBatches, 0))
				}
			}
			if n != 12 {
				t.Errorf("v%d: %d records, want 12", v, n)
			}
		}
	}
}

// Long answers arrive whole, through sendfile and around it, also while their
// segments are deleted.
func TestLongAnswers(t *testing.T) {
	for name, cfg := range map[string]broker.Config{
		"sendfile": {Dir: t.TempDir(), Listen: "127.0.0.1:0"},
		"copied":   {Dir: t.TempDir()},
		"memory":   {Listen: "127.0.0.1:0"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.SegmentBytes = 1 << 20
			b := open(t, cfg)
			c := connect(t, b)
			mustCreate(c, "t", 8)
			rnd := rand.New(rand.NewPCG(1, 1))
			stored := map[int32][]byte{}
			for range 60 {
				p := rnd.Int32N(8)
				body := make([]byte, rnd.IntN(300_000))
				for i := range body {
					body[i] = byte(rnd.Uint32())
				}
				bt := batch(string(body))
				r := produce(c, -1, "t", p, bt)
				if r.ErrorCode != 0 {
					t.Fatalf("produce: code %d", r.ErrorCode)
				}
				stored[p] = append(stored[p], storedAs(bt, r.BaseOffset)...)
			}
			req := withVersion(kmsg.NewPtrFetchRequest(), 12)
			req.MaxBytes = 50 << 20
			rt := kmsg.NewFetchRequestTopic()
			rt.Topic = "t"
			for p := range int32(8) {
				rp := kmsg.NewFetchRequestTopicPartition()
				rp.Partition, rp.PartitionMaxBytes = p, 900_000
				rt.Partitions = append(rt.Partitions, rp)
			}
			req.Topics = append(req.Topics, rt)
			c.send(req)
			var length [4]byte // once it is there, the answer is under way
			if _, err := io.ReadFull(c.nc, length[:]); err != nil {
				t.Fatal(err)
			}
			del := withVersion(kmsg.NewPtrDeleteTopicsRequest(), 5)
			del.TopicNames = []string{"t"}
			do[*kmsg.DeleteTopicsResponse](connect(t, b), del)
			_, body, err := readAnswer(io.MultiReader(bytes.NewReader(length[:]), c.nc), true)
			if err != nil {
				t.Fatal(err)
			}
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			if err := resp.ReadFrom(body); err != nil {
				t.Fatal(err)
			}
			for _, p := range resp.Topics[0].Partitions {
				if p.ErrorCode != 0 || len(p.RecordBatches) == 0 || !bytes.HasPrefix(stored[p.Partition], p.RecordBatches) {
					t.Errorf("partition %d: %d bytes are not those that were stored", p.Partition, len(p.RecordBatches))
				}
			}
		})
	}
}

// storedAs is a batch as the log has it.
func storedAs(b []byte, offset int64) []byte {
	b = bytes.Clone(b)
	for i := range 8 {
		b[i] = byte(offset >> (56 - 8*i))
	}
	copy(b[12:16], []byte{0, 0, 0, 0})
	return b
}

// connect is dial over TCP, if the broker has it.
func connect(t testing.TB, b *broker.Broker) *client {
	t.Helper()
	if b.ListenAddr() == "millrace.invalid:9092" {
		return dial(t, b)
	}
	nc, err := net.Dial("tcp", b.ListenAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &client{t: t, nc: nc}
}

// Clients that ask for much and read nothing hold little memory.
func TestAnswersNobodyReads(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	mustCreate(c, "t", 1)
	value := strings.Repeat("x", 900_000)
	for range 40 {
		mustProduce(c, "t", value)
	}
	before := heap()
	const clients = 50
	for range clients {
		nc, err := b.Dial(context.Background(), "tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		req := fetchRequest("t", 0)
		req.MaxBytes, req.Topics[0].Partitions[0].PartitionMaxBytes = 50<<20, 50<<20
		if _, err := nc.Write(frameOf(req, 1)); err != nil {
			t.Fatal(err)
		}
		var first [4]byte // the answer is under way
		if _, err := io.ReadFull(nc, first[:]); err != nil {
			t.Fatal(err)
		}
	}
	if each := (heap() - before) / clients; each > 1<<20 {
		t.Errorf("an answer of 36 MB that nobody reads holds %d bytes", each)
	}
	within(t, "a client that reads", func() {
		if n := len(fetch(c, "t", 39).RecordBatches); n < len(value) {
			t.Errorf("got %d bytes", n)
		}
	})
}

func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

func BenchmarkFetch(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10, 1 << 20} {
		for _, disk := range []string{"os", "mem"} {
			b.Run(fmt.Sprintf("batch=%d/disk=%s", size, disk), func(b *testing.B) {
				cfg := broker.Config{Listen: "127.0.0.1:0", MessageMaxBytes: 2 << 20}
				if disk == "os" {
					cfg.Dir = b.TempDir()
				}
				br := open(b, cfg)
				c := connect(b, br)
				mustCreate(c, "t", 1)
				for n := 0; n < 8<<20; n += size {
					mustProduce(c, "t", strings.Repeat("x", size))
				}
				req := fetchRequest("t", 0)
				req.MaxBytes, req.Topics[0].Partitions[0].PartitionMaxBytes = 8<<20, 4<<20
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					c.send(req)
					_, body, err := readAnswer(c.nc, true)
					if err != nil {
						b.Fatal(err)
					}
					n += len(body)
				}
				b.SetBytes(int64(n / b.N))
			})
		}
	}
}
