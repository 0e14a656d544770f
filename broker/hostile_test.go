// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/vnet"
)

// closed fails the test unless the broker closes the connection without a word.
func (c *client) closed() {
	c.t.Helper()
	within(c.t, "the broker closes the connection", func() {
		if n, err := c.nc.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
			c.t.Errorf("read %d bytes, %v; want a closed connection", n, err)
		}
	})
}

func framed(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func TestBadBytesCloseTheConnection(t *testing.T) {
	b := open(t, broker.Config{})
	header := func(key, version int16, rest ...byte) []byte {
		h := binary.BigEndian.AppendUint16(nil, uint16(key))
		h = binary.BigEndian.AppendUint16(h, uint16(version))
		return append(append(h, 0, 0, 0, 1, 0xff, 0xff), rest...)
	}
	metadata := withVersion(kmsg.NewPtrMetadataRequest(), 9)
	whole := frameOf(metadata, 1)[4:]
	tests := []struct {
		name  string
		bytes []byte
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")},
		{"a TLS hello", []byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03}},
		{"a negative length", []byte{0xff, 0xff, 0xff, 0xff}},
		{"a length over 100 MiB", []byte{0x06, 0x40, 0x00, 0x01}},
		{"an empty frame", framed(nil)},
		{"a header cut short", framed([]byte{0, 3, 0, 9, 0})},
		{"a client id longer than the frame", framed([]byte{0, 3, 0, 0, 0, 0, 0, 1, 0x7f, 0xff})},
		{"an unknown key", framed(header(999, 0))},
		{"a negative key", framed(header(-1, 0))},
		{"a key that Kafka has and this broker has not", framed(header(24, 0))},
		{"a version too high", framed(header(3, 14))},
		{"a version too low", framed(header(1, 3))},
		{"a negative version", framed(header(3, -1))},
		{"Produce version 2, announced for old librdkafka only", framed(header(0, 2))},
		{"a body cut short", framed(whole[:len(whole)-1])},
		{"no body", framed(header(3, 9))},
		{"an array longer than the frame", framed(header(3, 1, 0x7f, 0xff, 0xff, 0xff))},
		{"four billion tagged fields", framed(header(3, 9, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, b)
			if _, err := c.nc.Write(tt.bytes); err != nil {
				t.Fatal(err)
			}
			c.closed()
		})
	}
	metadataOf(dial(t, b), 9) // still there
}

func TestAHalfFrameTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, broker.Config{})
		c := dial(t, b)
		start := time.Now()
		if _, err := c.nc.Write([]byte{0, 0, 1, 0, 'x'}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.nc.Read(make([]byte, 1)); err == nil {
			t.Fatal("an answer to half a frame")
		}
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("closed after %v, want RequestTimeout", took)
		}
		idle := dial(t, b)
		start = time.Now()
		if _, err := idle.nc.Read(make([]byte, 1)); err == nil {
			t.Fatal("an answer to nothing")
		}
		if took := time.Since(start); took != 10*time.Minute {
			t.Errorf("an idle connection was closed after %v, want IdleTimeout", took)
		}
	})
}

func TestAParkedRequestIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, broker.Config{IdleTimeout: time.Second})
		c := dial(t, b)
		mustCreate(c, "t", 1)
		req := parkedFetch(0, 1)
		req.MaxWaitMillis = 60_000
		if resp := do[*kmsg.FetchResponse](c, req); len(resp.Topics) != 1 {
			t.Errorf("answer after a minute: %+v", resp)
		}
	})
}

func TestStuckClientsHoldUpNobody(t *testing.T) {
	for name, sent := range map[string]int{"they have sent a little": 100_000, "they have filled the memory": 500_000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { stuckClients(t, sent) })
		})
	}
}

func stuckClients(t *testing.T, sent int) {
	const memory = 4 << 20
	b := open(t, broker.Config{RequestMemory: memory})
	c := dial(t, b)
	mustCreate(c, "t", 1)
	mustProduce(c, "t", string(make([]byte, 900_000)))
	for range 20 { // each claims 96 MiB and sends a little
		nc := dial(t, b).nc
		go func() { _, _ = nc.Write(append([]byte{0x06, 0x00, 0x00, 0x00}, make([]byte, sent)...)) }()
	}
	for range 3 { // each asks for answers and never reads one
		nc := dial(t, b).nc
		go func() {
			for range 50 {
				if _, err := nc.Write(frameOf(fetchRequest("t", 0), 1)); err != nil {
					return
				}
			}
		}()
	}
	synctest.Wait()
	start := time.Now()
	for range 10 {
		mustProduce(c, "t", "small")
		mustProduce(c, "t", string(make([]byte, 900_000)))
		metadataOf(c, 9)
	}
	// Ten megabytes of half frames go through four of memory in three waves.
	if took := time.Since(start); took > 6*time.Second {
		t.Errorf("the others were held up for %v", took)
	}
	if n := b.RequestMemoryInUse(); n > memory+1<<20 {
		t.Errorf("%d bytes of requests are held", n)
	}
}

// Long half frames that fill the memory hold up long requests only.
func TestShortRequestsPassLongOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, broker.Config{RequestMemory: 4 << 20})
		c := dial(t, b)
		mustCreate(c, "t", 1)
		for range 8 {
			nc := dial(t, b).nc
			go func() { _, _ = nc.Write(append([]byte{0x06, 0x00, 0x00, 0x00}, make([]byte, 5<<20)...)) }()
		}
		synctest.Wait()
		start := time.Now()
		for range 100 {
			mustProduce(c, "t", "small")
			metadataOf(c, 9)
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("short requests were held up for %v", took)
		}
	})
}

// Half-read frames that fill the memory must not wait for each other for ever.
func TestRequestMemoryDoesNotDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, broker.Config{RequestMemory: 1 << 20})
		mustCreate(dial(t, b), "t", 1)
		big := string(make([]byte, 1_000_000))
		start := time.Now()
		done := make(chan int16)
		for range 8 {
			go func() { done <- produce(dial(t, b), -1, "t", 0, batch(big)).ErrorCode }()
		}
		for range 8 {
			if code := <-done; code != 0 {
				t.Errorf("code %d", code)
			}
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("8 MB through 1 MiB of memory took %v of virtual time", took)
		}
		synctest.Wait()
		if n := b.RequestMemoryInUse(); n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	b := open(t, broker.Config{MaxConnections: 2})
	one, two := dial(t, b), dial(t, b)
	metadataOf(one, 9)
	metadataOf(two, 9)
	dial(t, b).closed()
	metadataOf(one, 9)
}

// FuzzFrames feeds frames to the dispatcher as if they came from a client: it
// answers or refuses, never panics, and allocates no more than the frame
// warrants.
func FuzzFrames(f *testing.F) {
	b := open(f, broker.Config{Dir: "", MaxPartitions: 200, NumPartitions: 2})
	c := dial(f, b)
	mustCreate(c, "t", 2)
	mustProduce(c, "t", "a", "b", "c")
	for key := range int16(100) {
		req := kmsg.RequestForKey(key)
		if req == nil {
			continue
		}
		for v := int16(0); v <= req.MaxVersion(); v++ {
			req.SetVersion(v)
			f.Add(frameOf(req, 1)[4:])
		}
	}
	f.Add(frameOf(produceRequest(9, -1, "t", topicID{}, 0, batch("x")), 1)[4:])
	f.Add(frameOf(fetchRequest("t", 0), 1)[4:])
	f.Add([]byte{0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f})
	here, there := vnet.Pipe("test:1", "test:2")
	f.Cleanup(func() { here.Close(); there.Close() })
	f.Fuzz(func(t *testing.T, frame []byte) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond) // parked requests end
		defer cancel()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		answer, err := b.HandleFrame(ctx, here, frame)
		runtime.ReadMemStats(&after)
		if err == nil && len(answer) > 0 && int(binary.BigEndian.Uint32(answer)) != len(answer)-4 {
			t.Fatalf("an answer of %d bytes says %d", len(answer), binary.BigEndian.Uint32(answer))
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > uint64(100*len(frame))+64<<20 {
			t.Fatalf("a frame of %d bytes made the broker allocate %d", len(frame), got)
		}
	})
}

func TestNegativeNumbersInRequests(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	mustCreate(c, "t", 1)
	mustProduce(c, "t", "a")
	req := fetchRequest("t", 0)
	req.MaxBytes, req.MinBytes, req.MaxWaitMillis = math.MinInt32, math.MinInt32, math.MinInt32
	req.Topics[0].Partitions[0].PartitionMaxBytes = math.MinInt32
	within(t, "negative limits", func() {
		if p := do[*kmsg.FetchResponse](c, req).Topics[0].Partitions[0]; p.ErrorCode != kerr.UnknownServerError.Code || len(p.RecordBatches) != 0 {
			t.Errorf("fetch: code %d, %d bytes", p.ErrorCode, len(p.RecordBatches))
		}
		slow := produceRequest(9, -1, "t", topicID{}, 0, batch("b"))
		slow.TimeoutMillis = math.MinInt32
		if p := do[*kmsg.ProduceResponse](c, slow).Topics[0].Partitions[0]; p.ErrorCode != 0 {
			t.Errorf("produce: code %d", p.ErrorCode)
		}
	})
}
