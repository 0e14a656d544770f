// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/vfs"
)

// Whatever moment the machine crashes at: topics whose creation was
// acknowledged are there with the records that were, those whose deletion was
// are not, and a producer id is never given out twice.
func TestCrashAtEveryEffect(t *testing.T) {
	const effects = 600 // more than the script has
	for seed := range uint64(3) {
		for at := 1; at < effects; at += 2 {
			crashed, acked, done := crashScript(t, at, seed)
			if done {
				break
			}
			checkCrashed(t, fmt.Sprintf("crash at effect %d, seed %d", at, seed), crashed, acked)
		}
	}
}

// known is what was acknowledged before a crash.
type known struct {
	created, deleted, produced map[string]bool
	producerID                 int64
}

// crashScript creates and deletes topics and returns the disk as a crash at the
// given effect leaves it, with what was acknowledged by then. done is true if
// the script ended before.
func crashScript(t *testing.T, at int, seed uint64) (crashed *vfs.CrashMem, acked known, done bool) {
	mem := vfs.NewCrashMem()
	var mu sync.Mutex
	live := known{created: map[string]bool{}, deleted: map[string]bool{}, produced: map[string]bool{}, producerID: -1}
	mem.OnEffect(func(n int) {
		if n == at {
			mu.Lock()
			defer mu.Unlock()
			crashed = mem.Crash(rand.New(rand.NewPCG(seed, uint64(at))))
			acked = known{created: cloneSet(live.created), deleted: cloneSet(live.deleted), produced: cloneSet(live.produced), producerID: live.producerID}
		}
	})
	b, err := broker.Open(context.Background(), crashConfig(mem))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := dial(t, b)
	note := func(fn func()) {
		mu.Lock()
		defer mu.Unlock()
		fn()
	}
	for _, name := range []string{"a", "b", "c"} {
		mustCreate(c, name, 2)
		note(func() { live.created[name] = true })
		mustProduce(c, name, "value of "+name)
		note(func() { live.produced[name] = true })
		init := do[*kmsg.InitProducerIDResponse](c, withVersion(kmsg.NewPtrInitProducerIDRequest(), 4))
		note(func() { live.producerID = max(live.producerID, init.ProducerID) })
	}
	note(func() { delete(live.created, "b"); delete(live.produced, "b") }) // from now on it may be gone
	if code := deleteTopic(c, "b"); code != 0 {
		t.Fatalf("delete: code %d", code)
	}
	note(func() { live.deleted["b"] = true })
	mustCreate(c, "d", 1)
	note(func() { live.created["d"] = true })
	mu.Lock()
	defer mu.Unlock()
	return crashed, acked, crashed == nil
}

func crashConfig(fsys vfs.FS) broker.Config {
	return broker.Config{FS: fsys, Dir: "/d", OffsetsPartitions: 1, Flush: broker.FlushPolicy{Mode: broker.FlushBatch}, Logger: quiet}
}

func cloneSet(m map[string]bool) map[string]bool {
	c := make(map[string]bool)
	for k := range m {
		c[k] = true
	}
	return c
}

func checkCrashed(t *testing.T, when string, disk *vfs.CrashMem, acked known) {
	t.Helper()
	for range 2 { // recovery of a recovery
		b, err := broker.Open(context.Background(), crashConfig(disk))
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		c := dial(t, b)
		there := map[string]bool{}
		for _, mt := range metadataOf(c, 12).Topics {
			there[*mt.Topic] = true
		}
		for name := range acked.created {
			if !there[name] {
				t.Errorf("%s: topic %s is lost", when, name)
			}
		}
		for name := range acked.deleted {
			if there[name] {
				t.Errorf("%s: topic %s came back", when, name)
			}
		}
		for name := range acked.produced {
			if !there[name] {
				continue // told above
			}
			if got := readAll(c, name); !cmp.Equal(got, []string{"value of " + name}) {
				t.Errorf("%s: topic %s holds %q", when, name, got)
			}
		}
		init := do[*kmsg.InitProducerIDResponse](c, withVersion(kmsg.NewPtrInitProducerIDRequest(), 4))
		if init.ErrorCode != 0 || init.ProducerID <= acked.producerID {
			t.Errorf("%s: producer id %d after %d", when, init.ProducerID, acked.producerID)
		}
		acked.producerID = init.ProducerID
		b.Close()
		folders, err := disk.ReadDir("/d/topics")
		if err != nil || len(folders) != len(there) {
			t.Errorf("%s: %d topics, %d folders (%v)", when, len(there), len(folders), err)
		}
	}
}
