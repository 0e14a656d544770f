// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
)

// Clients that ask for long answers and read none hold a bounded amount of memory, and
// others are answered: short requests at once, long ones when the slow are given up.
func TestLongAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const memory, slow = 1 << 20, 40
		b := open(t, broker.Config{RequestMemory: memory})
		c := dial(t, b)
		for i := range 20 {
			mustCreate(c, strings.Repeat("long-name-", 20)+string(rune(97+i)), 200)
		}
		mustCreate(c, "t", 1)
		all := metadataOf(c, 9)
		long := int64(len(all.AppendTo(nil)))
		if long < 64<<10 || long > memory/4 {
			t.Fatalf("the long answer has %d bytes: the test shows nothing", long)
		}
		for range slow {
			nc := dial(t, b).nc
			requests := bytes.Repeat(frameOf(withVersion(kmsg.NewPtrMetadataRequest(), 9), 1), 10) // more than the network buffers
			go func() { _, _ = nc.Write(requests) }()
		}
		synctest.Wait()
		if n := b.AnswerMemoryInUse(); n < memory/2 || n > memory+long {
			t.Errorf("answers that nobody reads hold %d bytes, want about %d", n, memory)
		}
		start := time.Now()
		mustProduce(c, "t", "short")
		metadataOf(c, 9, "t")
		if took := time.Since(start); took > 0 {
			t.Errorf("short requests were held up for %v", took)
		}
		metadataOf(c, 9)
		if took := time.Since(start); took == 0 || took > slow*time.Second {
			t.Errorf("a long one took %v: not at once, but when the slow are given up", took)
		}
		time.Sleep(2 * time.Minute)
		if n, conns := b.AnswerMemoryInUse(), b.Connections(); n != 0 || conns != 1 {
			t.Errorf("%d bytes are held by %d connections after all were given up", n, conns)
		}
	})
}
