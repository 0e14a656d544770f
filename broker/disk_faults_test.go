// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// on matches an operation of a kind on files whose name contains a part.
func on(kind vfs.OpKind, part string) func(vfs.Op) bool {
	return func(op vfs.Op) bool { return op.Kind == kind && strings.Contains(filepath.Base(op.Path), part) }
}

// diskFaults are ways in which a disk fails the broker: no room for some files or for
// all, and syncs that fail, once or again and again.
var diskFaults = []struct {
	name    string
	match   func(vfs.Op) bool
	err     func(vfs.Op) error // ENOSPC
	once    bool
	refuses bool // somebody gets an error while the disk fails
	fails   bool // and logs have failed for good: what is on the disk is not known
	chance  bool // neither is certain: it depends on whose operation comes first
}{
	{name: "no room", match: func(op vfs.Op) bool { return op.Kind == vfs.OpWrite || op.Kind == vfs.OpCreate }, refuses: true},
	{name: "no room, half is written", match: on(vfs.OpWrite, ""), err: func(op vfs.Op) error {
		return &vfs.PartialWrite{N: op.N / 2, Err: syscall.ENOSPC}
	}, refuses: true},
	{name: "no room for new files", match: on(vfs.OpCreate, ""), refuses: true},
	{name: "no room for batches", match: on(vfs.OpWrite, ".log"), refuses: true},
	{name: "no room for indexes", match: on(vfs.OpWrite, "index")},
	{name: "no room for snapshots", match: on(vfs.OpWrite, ".snapshot")},
	{name: "no room for checkpoints", match: on(vfs.OpWrite, "checkpoint"), refuses: true},
	{name: "no room for metadata", match: on(vfs.OpWrite, "metadata"), refuses: true},
	{name: "no room for compacted segments", match: on(vfs.OpWrite, ".cleaned")},
	{name: "fsync of segments fails", match: on(vfs.OpSync, ".log"), err: failIO, refuses: true, fails: true},
	{name: "fsync of segments fails once", match: on(vfs.OpSync, ".log"), err: failIO, once: true, refuses: true, fails: true},
	{name: "fsync of snapshots fails", match: on(vfs.OpSync, ".snapshot"), err: failIO},
	{name: "fsync of checkpoints fails", match: on(vfs.OpSync, "checkpoint"), err: failIO, refuses: true},
	{name: "fsync of metadata fails once", match: on(vfs.OpSync, "metadata"), err: failIO, once: true, refuses: true},
	{name: "fsync of compacted segments fails", match: on(vfs.OpSync, ".cleaned"), err: failIO},
	{name: "fsync of folders fails", match: on(vfs.OpSyncDir, ""), err: failIO, refuses: true, fails: true},
	{name: "fsync of folders fails once", match: on(vfs.OpSyncDir, ""), err: failIO, once: true, chance: true},
	{name: "every fsync fails", match: func(op vfs.Op) bool { return op.Kind == vfs.OpSync || op.Kind == vfs.OpSyncDir }, err: failIO, refuses: true, fails: true},
	{name: "renames fail", match: on(vfs.OpRename, ""), err: failIO, refuses: true},
	{name: "removals fail", match: on(vfs.OpRemove, ""), err: failIO},
	{name: "truncations fail with no room", match: func(op vfs.Op) bool { return op.Kind == vfs.OpTruncate || op.Kind == vfs.OpWrite }, refuses: true, fails: true},
}

func failIO(vfs.Op) error { return syscall.EIO }

// TestFailingDisks lets the disk of a broker that flushes each batch fail in each of
// these ways while it takes records, commits and topics: who is not served gets an
// error, reads go on, and after a power cut all that was acknowledged is there. A failed
// fsync is never tried again: the disk has dropped what it did not keep.
func TestFailingDisks(t *testing.T) {
	for _, fault := range diskFaults {
		t.Run(fault.name, func(t *testing.T) {
			for seed := range uint64(3) {
				synctest.Test(t, func(t *testing.T) {
					d := &failingDisk{t: t, mem: vfs.NewCrashMem(), rng: rand.New(rand.NewPCG(seed, 5)), newest: map[string]int{}}
					err := fault.err
					if err == nil {
						err = func(vfs.Op) error { return syscall.ENOSPC }
					}
					d.run(func(op vfs.Op) error {
						if !fault.match(op) {
							return nil
						}
						if fault.once {
							d.broken = false
						}
						return err(op)
					})
					if !fault.chance && ((d.during > 0) != fault.refuses || (d.after > 0) != fault.fails) {
						t.Errorf("%d errors while the disk failed and %d after, want some: %v, %v", d.during, d.after, fault.refuses, fault.fails)
					}
				})
			}
		})
	}
}

// A failingDisk is a broker's disk and what the broker has acknowledged.
type failingDisk struct {
	t   *testing.T
	mem *vfs.CrashMem
	rng *rand.Rand
	c   *client
	b   *broker.Broker

	mu     sync.Mutex
	broken bool // guarded by mu

	n      int
	acked  []ackedRecord // of topic "t"
	newest map[string]int
	commit int64
	topics []string
	errors int

	during, after int // errors while the disk failed, and when it did no more
}

type ackedRecord struct {
	offset int64
	value  string
}

func (d *failingDisk) open(fsys vfs.FS) {
	d.t.Helper()
	b, err := broker.Open(context.Background(), broker.Config{
		FS: fsys, Dir: "/d", OffsetsPartitions: 1, Flush: broker.FlushPolicy{Mode: broker.FlushBatch}, Logger: quiet,
		SegmentBytes: 2000, CleanerBackoff: time.Second, RetentionCheckInterval: time.Second,
	})
	if err != nil {
		d.t.Fatalf("open: %v", err)
	}
	d.t.Cleanup(func() { _ = b.Close() })
	d.b, d.c = b, dial(d.t, b)
	synctest.Wait() // the coordinator has read its log
}

func (d *failingDisk) run(fault func(vfs.Op) error) {
	d.open(vfs.Faults(d.mem, func(op vfs.Op) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.broken {
			return nil
		}
		return fault(op)
	}))
	mustCreate(d.c, "t", 1, "retention.ms", "-1")
	mustCreate(d.c, "compacted", 1, "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.01", "file.delete.delay.ms", "0")
	d.work(12)
	if d.errors > 0 {
		d.t.Fatalf("%d errors before the disk fails", d.errors)
	}
	d.setBroken(true)
	d.work(25)
	time.Sleep(3 * time.Second) // compactions and retention come by
	d.read("while the disk fails")
	d.setBroken(false)
	time.Sleep(time.Minute)
	d.during = d.errors
	d.work(12)
	d.after = d.errors - d.during
	time.Sleep(3 * time.Second)
	d.read("after the disk has failed")
	crashed := d.mem.Crash(d.rng)
	_ = d.b.Close() // with errors where a log has failed

	d.open(crashed)
	d.read("after a power cut")
	d.errors = 0
	d.work(10)
	d.read("after a power cut, and more")
	if d.errors > 0 {
		d.t.Errorf("%d errors after the power cut", d.errors)
	}
	if err := d.b.Close(); err != nil {
		d.t.Errorf("close: %v", err)
	}
}

func (d *failingDisk) setBroken(broken bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = broken
}

// work does n things of each kind and notes what is acknowledged.
func (d *failingDisk) work(n int) {
	d.t.Helper()
	for range n {
		d.n++
		value := fmt.Sprintf("%d/%s", d.n, strings.Repeat("v", 300))
		p := produce(d.c, -1, "t", 0, batch(value))
		if d.ok("produce", p.ErrorCode) {
			d.acked = append(d.acked, ackedRecord{p.BaseOffset, value})
		}
		key := fmt.Sprintf("k%d", d.n/8*2+d.n%2)
		b := seglog.BuildBatch([]seglog.Record{{Timestamp: time.Now().UnixMilli(), Key: []byte(key), Value: []byte(value)}})
		if p := produce(d.c, -1, "compacted", 0, b); d.ok("produce", p.ErrorCode) {
			d.newest[key] = d.n
		}
		if code := commitOffset(d.c, int64(d.n)); d.ok("commit", code) {
			d.commit = int64(d.n)
		}
		if d.n%6 == 0 {
			name := fmt.Sprintf("topic-%d", d.n)
			if at := create(d.c, name, 1); d.ok("create", at.ErrorCode) {
				d.topics = append(d.topics, name)
			}
		}
	}
}

// ok tells of an acknowledgement; an error must be one of the broker's disk.
func (d *failingDisk) ok(what string, code int16) bool {
	d.t.Helper()
	if code == 0 {
		return true
	}
	d.errors++
	expected := []*kerr.Error{
		kerr.KafkaStorageError, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.RequestTimedOut,
	}
	if !slices.ContainsFunc(expected, func(e *kerr.Error) bool { return e.Code == code }) {
		d.t.Errorf("%s: %v", what, kerr.ErrorForCode(code))
	}
	return false
}

// read checks that all that was acknowledged is there.
func (d *failingDisk) read(when string) {
	d.t.Helper()
	at := map[int64]string{}
	for i, v := range readAll(d.c, "t") {
		at[int64(i)] = v
	}
	lost := 0
	for _, r := range d.acked {
		if at[r.offset] != r.value {
			lost++
		}
	}
	if lost > 0 {
		d.t.Errorf("%s: %d of %d acknowledged records are not at their offsets", when, lost, len(d.acked))
	}
	newest, _ := latest(d.c, "compacted", d.b.HighWatermark("compacted", 0))
	for key, n := range d.newest {
		if newest[key] < n {
			d.t.Errorf("%s: the newest of key %s is %d, acknowledged was %d", when, key, newest[key], n)
		}
	}
	if offset, code := committedOffset(d.c); code == 0 && offset < d.commit {
		d.t.Errorf("%s: offset %d is committed, acknowledged was %d", when, offset, d.commit)
	} else if code != 0 && when == "after a power cut" {
		d.t.Errorf("%s: committed offset: %v", when, kerr.ErrorForCode(code))
	}
	there := map[string]bool{}
	for _, mt := range metadataOf(d.c, 12).Topics {
		there[*mt.Topic] = true
	}
	for _, name := range d.topics {
		if !there[name] {
			d.t.Errorf("%s: topic %s is lost", when, name)
		}
	}
}

// commitOffset commits an offset of partition 0 of "t" for a group without members.
func commitOffset(c *client, offset int64) int16 {
	c.t.Helper()
	req := withVersion(kmsg.NewPtrOffsetCommitRequest(), 8)
	req.Group, req.Generation = "g", -1
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic = "t"
	rp := kmsg.NewOffsetCommitRequestTopicPartition()
	rp.Offset = offset
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return do[*kmsg.OffsetCommitResponse](c, req).Topics[0].Partitions[0].ErrorCode
}

// committedOffset is what the group has committed, waiting a minute at most for its
// coordinator.
func committedOffset(c *client) (offset int64, code int16) {
	c.t.Helper()
	req := withVersion(kmsg.NewPtrOffsetFetchRequest(), 7)
	req.Group = "g"
	rt := kmsg.NewOffsetFetchRequestTopic()
	rt.Topic, rt.Partitions = "t", []int32{0}
	req.Topics = append(req.Topics, rt)
	for range 60 {
		resp := do[*kmsg.OffsetFetchResponse](c, req)
		if code = resp.ErrorCode; code == 0 {
			p := resp.Topics[0].Partitions[0]
			return p.Offset, p.ErrorCode
		}
		time.Sleep(time.Second) // of virtual time
	}
	return -1, code
}
