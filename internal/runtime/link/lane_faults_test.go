// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/runtime/link"
)

// brittle is a connection that breaks after some bytes, one way or the other.
type brittle struct {
	net.Conn
	left atomic.Int64
}

func (c *brittle) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.wear(n)
	return n, err
}

func (c *brittle) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.wear(n)
	return n, err
}

func (c *brittle) wear(n int) {
	if c.left.Add(-int64(n)) < 0 {
		_ = c.Conn.Close() // what was written may have arrived, or not
	}
}

// Connections that break again and again, before and after the broker has taken what was
// sent: each record is there once, in the order in which it was appended.
func TestALaneOutlivesItsConnections(t *testing.T) {
	for name, extra := range map[string][]kgo.Opt{
		"plain":      {kgo.ProducerBatchCompression(kgo.NoCompression())},
		"compressed": {kgo.ProducerBatchCompression(kgo.ZstdCompression())},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := bundled(t)
			whole := cfg
			var broken atomic.Int64
			rng := rand.New(rand.NewPCG(7, 7))
			sizes := make(chan int64, 1000)
			for range cap(sizes) {
				sizes <- 4_000 + rng.Int64N(30_000)
			}
			cfg.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := whole.Dialer(ctx, network, address)
				if err != nil {
					return nil, err
				}
				c := &brittle{Conn: conn}
				c.left.Store(1 << 40)
				select {
				case n := <-sizes:
					c.left.Store(n)
					broken.Add(1)
				default: // there were enough
				}
				return c, nil
			}
			cfg.Extra = append(extra, kgo.ProducerBatchMaxBytes(4000), kgo.ProducerLinger(time.Millisecond))
			create(t, open(t, whole), "worn", 3, nil)
			k := open(t, cfg)
			l := k.Lane()
			dests := []*link.Dest{link.NewDest("worn", 0), link.NewDest("worn", 1), link.NewDest("worn", link.AnyPartition)}
			const records = 6000
			for i := range records {
				d := dests[i%3]
				key := []byte(nil)
				if d.Num == link.AnyPartition {
					key = keyOf(t, 2, 3) // no other destination's partition
				}
				if err := l.Append(d, key, fmt.Appendf(nil, "%d %x", i, rng.Uint64()), int64(i), nil); err != nil {
					t.Fatal(err)
				}
				if i%1000 == 999 {
					if err := barrier(t, l); err != nil {
						t.Fatal(err)
					}
				}
			}
			if broken.Load() < 3 {
				t.Errorf("%d connections broke: the test shows nothing", broken.Load())
			}
			all := open(t, whole)
			for num := range int32(3) {
				r := all.Read(link.Partition{Topic: "worn", Num: num}, topicID(t, all, "worn"), 0, records/3)
				recs, next := read(t, r)
				if len(recs) != records/3 || next.Offset != records/3 {
					t.Fatalf("partition %d has %d records up to %d, want %d", num, len(recs), next.Offset, records/3)
				}
				for i, rec := range recs {
					if want := fmt.Sprint(3*i + int(num)); !strings.HasPrefix(string(rec.Value), want+" ") {
						t.Fatalf("partition %d has %s as its record %d, want %s", num, rec.Value, i, want)
					}
				}
				ends, err := all.Ends(within(t, time.Minute), []link.Partition{{Topic: "worn", Num: num}})
				if err != nil || ends[link.Partition{Topic: "worn", Num: num}].Offset != records/3 {
					t.Errorf("partition %d ends at %v (%v), want %d", num, ends, err, records/3)
				}
			}
			if last := dests[1].Last(); last >= records/3 {
				t.Errorf("the last acknowledged offset is %d", last)
			}
		})
	}
}

// keyOf is a key of a partition.
func keyOf(t *testing.T, num, of int32) []byte {
	t.Helper()
	for i := range 100 {
		if key := fmt.Appendf(nil, "k%d", i); link.PartitionFor(key, of) == num {
			return key
		}
	}
	t.Fatal("no key goes there")
	return nil
}

func topicID(t *testing.T, k *link.Kafka, name string) [16]byte {
	t.Helper()
	found, err := k.Topics(within(t, time.Minute), name)
	if err != nil {
		t.Fatal(err)
	}
	return found[name].ID
}

// Records without a key go to one partition until its batch is full, and then to another
// (KIP-480): over some batches, to all of them.
func TestRecordsWithoutAKeyGoEverywhere(t *testing.T) {
	cfg := bundled(t)
	cfg.Extra = []kgo.Opt{kgo.ProducerBatchMaxBytes(1000)}
	k := open(t, cfg)
	create(t, k, "spread", 4, nil)
	l, d := k.Lane(), link.NewDest("spread", link.AnyPartition)
	const records = 3000
	for range records {
		if err := l.Append(d, nil, make([]byte, 20), 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := barrier(t, l); err != nil {
		t.Fatal(err)
	}
	var parts []link.Partition
	for num := range int32(4) {
		parts = append(parts, link.Partition{Topic: "spread", Num: num})
	}
	ends, err := k.Ends(within(t, time.Minute), parts)
	if err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	for _, p := range parts {
		n := ends[p].Offset
		if sum += n; n < records/40 {
			t.Errorf("%v has %d of %d records", p, n, records)
		}
	}
	if sum != records {
		t.Errorf("there are %d records, want %d", sum, records)
	}
}

// A batch that the broker refuses ends its lane, and no other one.
func TestARecordThatIsTooLargeEndsItsLane(t *testing.T) {
	onBrokers(t, func(t *testing.T, cfg link.Config) {
		topic := cfg.Group + "-narrow"
		k := open(t, cfg)
		create(t, k, topic, 1, map[string]string{"max.message.bytes": "1000"})
		bad, good := k.Lane(), k.Lane()
		noise := make([]byte, 5000) // as large when it is compressed
		_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
		if err := bad.Append(link.NewDest(topic, 0), nil, noise, 1, nil); err != nil {
			t.Fatal(err)
		}
		if err := barrier(t, bad); err == nil {
			t.Error("a record of 5000 bytes is taken where 1000 are")
		}
		d := link.NewDest(topic, 0)
		if err := good.Append(d, nil, []byte("v"), 1, nil); err != nil {
			t.Fatal(err)
		}
		if err := barrier(t, good); err != nil || d.Last() != 0 {
			t.Errorf("another lane's barrier answers %v, its record has offset %d", err, d.Last())
		}
	})
}

// Nothing goes through a link that was closed.
func TestAClosedLaneTakesNothing(t *testing.T) {
	k := open(t, bundled(t))
	create(t, k, "shut", 1, nil)
	l := k.Lane()
	k.Close()
	for _, l := range []link.Lane{l, k.Lane()} {
		_ = l.Append(link.NewDest("shut", 0), nil, nil, 1, nil) // may tell already
		if err := barrier(t, l); err == nil {
			t.Error("a lane of a closed link reaches a barrier")
		}
	}
}
