// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
)

// Long frames of many clients go through the same buffers: with memory for buffers
// of all of them, of some, and of none.
func TestLongFramesDoNotMix(t *testing.T) {
	const clients, frames = 4, 8
	for _, memory := range []int64{256 << 20, 16 << 20, 1 << 20} {
		t.Run(fmt.Sprint(memory>>20, " MiB"), func(t *testing.T) {
			b := open(t, broker.Config{RequestMemory: memory})
			mustCreate(dial(t, b), "t", clients)
			var wg sync.WaitGroup
			for p := range int32(clients) {
				c := dial(t, b)
				wg.Go(func() { longFrames(c, p, frames) })
			}
			wg.Wait()
			if used, free := b.FrameBuffers(); used != free {
				t.Errorf("%d bytes of buffers are used, %d are free, and no frame is there", used, free)
			}
		})
	}
}

// longFrames sends frames of several lengths to a partition, each of another byte,
// and reads them again.
func longFrames(c *client, partition int32, frames int) {
	for i := range frames {
		value := longValue(partition, i)
		if p := produce(c, -1, "t", partition, batch(value)); p.ErrorCode != 0 || p.BaseOffset != int64(i) {
			c.t.Errorf("produce: code %d, offset %d, want %d", p.ErrorCode, p.BaseOffset, i)
			return
		}
	}
	for i := range frames {
		req := fetchRequest("t", int64(i))
		req.Topics[0].Partitions[0].Partition = partition
		req.Topics[0].Partitions[0].PartitionMaxBytes = 1
		got := do[*kmsg.FetchResponse](c, req).Topics[0].Partitions[0].RecordBatches
		if want := batch(longValue(partition, i)); len(got) != len(want) || !bytes.Equal(got[61:], want[61:]) {
			c.t.Errorf("partition %d has not at offset %d what was sent", partition, i)
		}
	}
}

func longValue(partition int32, i int) string {
	n := 60_000 + i*(50_000+10_000*int(partition))
	return string(bytes.Repeat([]byte{byte('a' + 8*int(partition) + i)}, n))
}

// Who claims long frames and sends little of them holds no more buffers than the
// limit, and none once it has gone.
func TestClaimedFramesHoldFewBuffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, broker.Config{RequestMemory: 32 << 20})
		claim := append([]byte{0x00, 0x08, 0x00, 0x00}, make([]byte, 100_000)...) // of half a MiB
		var conns []*client
		for range 20 {
			c := dial(t, b)
			conns = append(conns, c)
			go func() { _, _ = c.nc.Write(claim) }()
		}
		synctest.Wait()
		if used, _ := b.FrameBuffers(); used != 2<<20 {
			t.Errorf("20 clients who have sent %d bytes each hold %d", len(claim), used)
		}
		for _, c := range conns {
			c.nc.Close()
		}
		synctest.Wait()
		if used, free := b.FrameBuffers(); used != free || used > 2<<20 {
			t.Errorf("after they have gone %d bytes are used, %d free", used, free)
		}
	})
}
