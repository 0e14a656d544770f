// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/vfs"
)

// TestRoomOnAFullDisk fills the disk to the last block; each of these ways to free some works
// without a byte to write to, and then producers go on. Some begin with a start of the
// broker after a crash.
func TestRoomOnAFullDisk(t *testing.T) {
	for _, tt := range []struct {
		name    string
		restart bool
		free    func(c *client)
	}{
		{"records are deleted", false, func(c *client) { deleteUpTo(c, "old", 60) }},
		{"a topic is deleted", false, func(c *client) { mustDeleteTopic(c, "old") }},
		{"retention is shortened", false, func(c *client) { retentionBytes(c, "old") }},
		{"records are deleted after a restart", true, func(c *client) { deleteUpTo(c, "old", 60) }},
		{"a topic is deleted after a restart", true, func(c *client) { mustDeleteTopic(c, "old") }},
		{"retention is shortened after a restart", true, func(c *client) { retentionBytes(c, "old") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := vfs.NewCrashMem()
				d := &failingDisk{t: t, mem: disk}
				d.open(disk)
				mustCreate(d.c, "old", 1, "retention.ms", "-1")
				mustCreate(d.c, "t", 1, "retention.ms", "-1")
				for i := range 80 {
					mustProduce(d.c, "old", fmt.Sprintf("%d/%s", i, strings.Repeat("o", 1500)))
				}
				synctest.Wait()
				limit := used(t, disk) + 20_000
				disk.Limit(limit)
				n := fillUp(d.c)
				if tt.restart {
					crashed := disk.Crash(rand.New(rand.NewPCG(1, 7)))
					crashed.Limit(limit)
					_ = d.b.Close()
					disk = crashed
					d.open(disk)
					n += fillUp(d.c)
				}
				if code := produce(d.c, -1, "t", 0, batch(strings.Repeat("x", 8000))).ErrorCode; code != kerr.KafkaStorageError.Code {
					t.Fatalf("produce on a full disk: code %d", code)
				}
				tt.free(d.c)
				time.Sleep(3 * time.Second) // retention comes by
				for i := range 3 {
					mustProduce(d.c, "t", strings.Repeat("z", 4000+i))
				}
				if got := readAll(d.c, "t"); len(got) != n+3 {
					t.Errorf("%d records are there, want %d", len(got), n+3)
				}
				mustCreate(d.c, "another", 1)
				d.open(disk.Crash(rand.New(rand.NewPCG(2, 7))))
				if got := readAll(d.c, "t"); len(got) != n+3 {
					t.Errorf("%d records are there after a crash, want %d", len(got), n+3)
				}
			})
		})
	}
}

// fillUp produces until nothing more fits, and says how many records did.
func fillUp(c *client) (n int) {
	for size := 1500; size > 0; {
		switch code := produce(c, -1, "t", 0, batch(strings.Repeat("x", size))).ErrorCode; code {
		case 0:
			n++
		case kerr.KafkaStorageError.Code:
			size -= 300
		default:
			c.t.Fatalf("produce: code %d", code)
		}
	}
	return n
}

// used is how many bytes the disk has at least: what its files hold, in whole blocks.
func used(t *testing.T, disk *vfs.CrashMem) int64 {
	t.Helper()
	sum := int64(0)
	var add func(dir string)
	add = func(dir string) {
		entries, err := disk.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name := dir + "/" + e.Name()
			if e.IsDir() {
				add(name)
				continue
			}
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			sum += (info.Size() + 4095) / 4096 * 4096
		}
	}
	add("/d")
	return sum
}

func deleteUpTo(c *client, topic string, offset int64) {
	req := withVersion(kmsg.NewPtrDeleteRecordsRequest(), 2)
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = topic
	rt.Partitions = append(rt.Partitions, kmsg.DeleteRecordsRequestTopicPartition{Offset: offset})
	req.Topics = append(req.Topics, rt)
	if p := do[*kmsg.DeleteRecordsResponse](c, req).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.LowWatermark != offset {
		c.t.Errorf("delete records: %+v", p)
	}
}

func mustDeleteTopic(c *client, topic string) {
	if code := deleteTopic(c, topic); code != 0 {
		c.t.Errorf("delete topic: code %d", code)
	}
}

func retentionBytes(c *client, topic string) {
	req := withVersion(kmsg.NewPtrIncrementalAlterConfigsRequest(), 1)
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	conf := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	conf.Name, conf.Value = "retention.bytes", kmsg.StringPtr("4000")
	r.Configs = append(r.Configs, conf)
	req.Resources = append(req.Resources, r)
	if at := do[*kmsg.IncrementalAlterConfigsResponse](c, req).Resources[0]; at.ErrorCode != 0 {
		c.t.Errorf("shorten retention: code %d, %s", at.ErrorCode, deref(at.ErrorMessage))
	}
}
