// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
)

// A fetcher is a client with a fetch session on the topic t.
type fetcher struct {
	*client
	version   int16
	name      string
	topic     topicID
	id, epoch int32
	maxBytes  int32
}

// ask fetches: at has the offsets of partitions to set, drop those to forget.
func (f *fetcher) ask(at map[int32]int64, drop ...int32) *kmsg.FetchResponse {
	f.t.Helper()
	req := withVersion(kmsg.NewPtrFetchRequest(), f.version)
	req.MaxBytes, req.SessionID, req.SessionEpoch = f.maxBytes, f.id, f.epoch
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = f.name, f.topic
	for p := range int32(100) {
		if offset, ok := at[p]; ok {
			rp := kmsg.NewFetchRequestTopicPartition()
			rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = p, offset, 1<<20
			rt.Partitions = append(rt.Partitions, rp)
		}
	}
	if len(rt.Partitions) > 0 {
		req.Topics = append(req.Topics, rt)
	}
	if len(drop) > 0 {
		ft := kmsg.NewFetchRequestForgottenTopic()
		ft.Topic, ft.TopicID, ft.Partitions = f.name, f.topic, drop
		req.ForgottenTopics = append(req.ForgottenTopics, ft)
	}
	resp := do[*kmsg.FetchResponse](f.client, req)
	if resp.ErrorCode == 0 {
		if f.epoch == 0 {
			f.id = resp.SessionID
		}
		f.epoch++
	}
	return resp
}

// told are the partitions of an answer: number, number of records, code.
func told(t *testing.T, resp *kmsg.FetchResponse) []string {
	t.Helper()
	all := []string{}
	for _, rt := range resp.Topics {
		for _, p := range rt.Partitions {
			all = append(all, fmt.Sprintf("%d: %d records, code %d", p.Partition, len(values(t, p.RecordBatches, 0)), p.ErrorCode))
		}
	}
	return all
}

func put(c *client, partition int32, values ...string) {
	c.t.Helper()
	if p := produce(c, -1, "t", partition, batch(values...)); p.ErrorCode != 0 {
		c.t.Fatalf("produce to partition %d: code %d", partition, p.ErrorCode)
	}
}

func TestFetchSession(t *testing.T) {
	for _, version := range []int16{7, 11, 12, 13, 18} {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			c := dial(t, open(t, broker.Config{}))
			f := &fetcher{client: c, version: version, maxBytes: 1 << 20}
			if f.topic = mustCreate(c, "t", 4); version < 13 {
				f.name = "t"
			}
			put(c, 2, "a", "b")
			check := func(what string, resp *kmsg.FetchResponse, want ...string) {
				t.Helper()
				if diff := cmp.Diff(append([]string{}, want...), told(t, resp)); diff != "" || resp.ErrorCode != 0 || resp.SessionID != f.id {
					t.Errorf("%s: code %d, session %d\n%s", what, resp.ErrorCode, resp.SessionID, diff)
				}
			}
			check("a full fetch tells all", f.ask(map[int32]int64{0: 0, 1: 0, 2: 0}),
				"0: 0 records, code 0", "1: 0 records, code 0", "2: 2 records, code 0")
			if f.id == 0 {
				t.Fatal("no session")
			}
			check("nothing new", f.ask(map[int32]int64{2: 2}))
			put(c, 0, "c")
			check("one has news", f.ask(nil), "0: 1 records, code 0")
			check("not fetched further, it comes again", f.ask(nil), "0: 1 records, code 0")
			check("one more partition, one moved on", f.ask(map[int32]int64{3: 0, 0: 1}), "3: 0 records, code 0")
			check("one is forgotten", f.ask(nil, 0))
			put(c, 0, "d")
			check("and not told of", f.ask(nil))
			check("an offset out of range", f.ask(map[int32]int64{1: 5}), "1: 0 records, code 1")
			check("is told each time", f.ask(nil), "1: 0 records, code 1")
			check("until it is put right", f.ask(map[int32]int64{1: 0}), "1: 0 records, code 0")
			check("and then no more", f.ask(nil))
			check("a partition that is not there", f.ask(map[int32]int64{9: 0}), "9: 0 records, code 3")
			check("is told each time", f.ask(nil, 1), "9: 0 records, code 3")
			del := withVersion(kmsg.NewPtrDeleteRecordsRequest(), 2)
			del.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "t", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 2, Offset: 1}}}}
			do[*kmsg.DeleteRecordsResponse](c, del)
			check("a log start that moved is news", f.ask(nil, 9), "2: 0 records, code 0")
			if resp := f.ask(nil, 2, 3); resp.ErrorCode != 0 || resp.SessionID != 0 {
				t.Errorf("all is forgotten: code %d, session %d", resp.ErrorCode, resp.SessionID)
			}
			if resp := f.ask(nil); resp.ErrorCode != kerr.FetchSessionIDNotFound.Code {
				t.Errorf("the session is over: code %d", resp.ErrorCode)
			}
		})
	}
}

func TestFetchSessionErrors(t *testing.T) {
	c := dial(t, open(t, broker.Config{}))
	id := mustCreate(c, "t", 2)
	begin := func() *fetcher {
		f := &fetcher{client: c, version: 13, topic: id, maxBytes: 1 << 20}
		f.ask(map[int32]int64{0: 0})
		return f
	}
	tests := []struct {
		name   string
		change func(f *fetcher)
		want   *kerr.Error
		again  *kerr.Error // and of the right request afterwards
	}{
		{"an epoch that was used", func(f *fetcher) { f.epoch = 0x7fff }, kerr.InvalidFetchSessionEpoch, nil},
		{"an epoch to come", func(f *fetcher) { f.epoch = 2 }, kerr.InvalidFetchSessionEpoch, nil},
		{"a negative epoch", func(f *fetcher) { f.epoch = -7 }, kerr.InvalidFetchSessionEpoch, nil},
		{"another session", func(f *fetcher) { f.id ^= 1 }, kerr.FetchSessionIDNotFound, nil},
		{"no session with an epoch", func(f *fetcher) { f.id = 0 }, kerr.FetchSessionIDNotFound, nil},
		{"names instead of ids", func(f *fetcher) { f.version, f.name = 12, "t" }, kerr.FetchSessionTopicIDError, nil},
		{"the last fetch", func(f *fetcher) { f.epoch = -1 }, nil, kerr.FetchSessionIDNotFound},
		{"another beginning", func(f *fetcher) { f.epoch = 0 }, nil, kerr.FetchSessionIDNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := begin()
			wrong := *f
			tt.change(&wrong)
			if resp := wrong.ask(map[int32]int64{0: 0}); !isCode(resp.ErrorCode, tt.want) || resp.ErrorCode != 0 && (resp.SessionID != 0 || len(resp.Topics) > 0) {
				t.Errorf("code %d, session %d, %d topics; want %v", resp.ErrorCode, resp.SessionID, len(resp.Topics), tt.want)
			}
			if resp := f.ask(nil); !isCode(resp.ErrorCode, tt.again) {
				t.Errorf("afterwards: code %d, want %v", resp.ErrorCode, tt.again)
			}
		})
	}
}

// A topic that is made anew is another one by id, and the same by name.
func TestFetchSessionOfATopicThatGoes(t *testing.T) {
	c := dial(t, open(t, broker.Config{}))
	byID := &fetcher{client: c, version: 13, topic: mustCreate(c, "t", 1), maxBytes: 1 << 20}
	byName := &fetcher{client: c, version: 12, name: "t", maxBytes: 1 << 20}
	put(c, 0, "a")
	byID.ask(map[int32]int64{0: 1})
	byName.ask(map[int32]int64{0: 1})
	del := withVersion(kmsg.NewPtrDeleteTopicsRequest(), 5)
	del.TopicNames = []string{"t"}
	do[*kmsg.DeleteTopicsResponse](c, del)
	mustCreate(c, "t", 1)
	put(c, 0, "b", "c")
	if got := told(t, byID.ask(nil)); !cmp.Equal(got, []string{"0: 0 records, code 100"}) {
		t.Errorf("by id: %q", got)
	}
	if got := told(t, byName.ask(nil)); !cmp.Equal(got, []string{"0: 2 records, code 0"}) {
		t.Errorf("by name: %q", got)
	}
}

// With room for one batch an answer, each partition has its turn.
func TestFetchIsFair(t *testing.T) {
	c := dial(t, open(t, broker.Config{}))
	mustCreate(c, "t", 5)
	for range 20 {
		for p := range int32(5) {
			put(c, p, "some value")
		}
	}
	for _, session := range []bool{false, true} {
		f := &fetcher{client: c, version: 12, name: "t", maxBytes: 1}
		at := map[int32]int64{0: 0, 1: 0, 2: 0, 3: 0, 4: 0}
		served := map[int32]int{}
		ask := at
		for range 50 {
			if !session {
				f.id, f.epoch, ask = 0, -1, at
			}
			resp := f.ask(ask)
			ask = map[int32]int64{}
			for _, p := range resp.Topics[0].Partitions {
				if len(p.RecordBatches) > 0 {
					served[p.Partition]++
					at[p.Partition]++
					ask[p.Partition] = at[p.Partition]
				}
			}
		}
		if want := map[int32]int{0: 10, 1: 10, 2: 10, 3: 10, 4: 10}; !cmp.Equal(served, want) {
			t.Errorf("session %v: answers with records of each partition: %v", session, served)
		}
	}
}

// The cache has room for few sessions, and takes that of who does not use it.
func TestFetchSessionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, broker.Config{FetchSessions: 3, IdleTimeout: time.Hour})
		c := dial(t, b)
		id := mustCreate(c, "t", 10)
		begin := func(partitions int32) *fetcher {
			f := &fetcher{client: c, version: 13, topic: id, maxBytes: 1 << 20}
			at := map[int32]int64{}
			for p := range partitions {
				at[p] = 0
			}
			if n := len(told(t, f.ask(at))); n != int(partitions) {
				t.Errorf("a full fetch of %d partitions tells %d", partitions, n)
			}
			return f
		}
		alive := func(f *fetcher) bool { return f.id != 0 && f.ask(nil).ErrorCode == 0 }
		one, two, three := begin(1), begin(5), begin(5)
		if f := begin(10); f.id != 0 {
			t.Error("a fourth session although all are new")
		}
		time.Sleep(3 * time.Minute)
		if !alive(two) || !alive(three) {
			t.Error("sessions ended by themselves")
		}
		if f := begin(2); f.id == 0 || alive(one) { // one was silent
			t.Errorf("session %d, the silent one lives: %v", f.id, alive(one))
		}
		if f := begin(3); f.id != 0 {
			t.Error("a small session took the place of a larger one")
		}
		if f := begin(8); f.id == 0 || alive(two) && alive(three) {
			t.Error("a large session did not take the place of an old and smaller one")
		}
		if n, parts := b.FetchSessions(); n != 3 || parts != 5+2+8 {
			t.Errorf("%d sessions with %d partitions", n, parts)
		}
	})
}

func TestFetchSessionEpochsWrap(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	f := &fetcher{client: c, version: 13, topic: mustCreate(c, "t", 1), maxBytes: 1 << 20}
	f.ask(map[int32]int64{0: 0})
	f.epoch = math.MaxInt32
	b.SetFetchEpoch(f.id, f.epoch)
	if resp := f.ask(nil); resp.ErrorCode != 0 {
		t.Errorf("the highest epoch: code %d", resp.ErrorCode)
	}
	f.epoch = 1
	if resp := f.ask(nil); resp.ErrorCode != 0 {
		t.Errorf("the epoch after it: code %d", resp.ErrorCode)
	}
}
