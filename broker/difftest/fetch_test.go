// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func fetchCases() []testCase {
	return []testCase{
		{name: "fetch", key: kmsg.Fetch, run: fetch},
		{name: "fetch sizes", key: kmsg.Fetch, run: fetchSizes},
		{name: "fetch epochs", key: kmsg.Fetch, run: fetchEpochs},
		{name: "fetch sessions", key: kmsg.Fetch, run: fetchSessions},
		{name: "bad fetch sessions", key: kmsg.Fetch, run: badFetchSessions},
		{name: "fetch that waits", key: kmsg.Fetch, run: fetchWaits},
	}
}

// fetchRequest asks without a session, and does not wait.
func (s *script) fetchRequest(topic string, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = -1, 0, 1, 10<<20
	req.SessionEpoch = -1
	s.addFetch(req, topic, partition, offset)
	return req
}

func (s *script) addFetch(req *kmsg.FetchRequest, topic string, partition int32, offset int64) *kmsg.FetchRequestTopicPartition {
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = partition, offset, 1<<20, -1
	if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != topic {
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic, rt.TopicID = topic, s.id(topic)
		req.Topics = append(req.Topics, rt)
	}
	rt := &req.Topics[len(req.Topics)-1]
	rt.Partitions = append(rt.Partitions, rp)
	return &rt.Partitions[len(rt.Partitions)-1]
}

func fetch(s *script) {
	for offset := range int64(12) {
		s.do(fmt.Sprint("at ", offset), s.fetchRequest("base", 0, offset))
	}
	s.do("at -1", s.fetchRequest("base", 0, -1))
	s.do("below the start", s.fetchRequest("trimmed", 0, 2))
	s.do("at the start", s.fetchRequest("trimmed", 0, 4))
	s.do("empty", s.fetchRequest("base", 2, 0))
	s.do("unknown topic", s.fetchRequest("nowhere", 0, 0))
	s.do("partition beyond", s.fetchRequest("base", 3, 0))
	s.do("partition -1", s.fetchRequest("base", -1, 0))
	s.do("invalid topic", s.fetchRequest("a b", 0, 0))
	req := s.fetchRequest("base", 0, 6)
	s.addFetch(req, "base", 1, 0)
	s.addFetch(req, "trimmed", 0, 8)
	s.do("several", req)
	s.addFetch(req, "trimmed", 9, 0)
	s.addFetch(req, "nowhere", 0, 0)
	s.do("right and wrong", req)
	req = s.fetchRequest("base", 0, 0)
	req.IsolationLevel = 1
	s.do("committed", req)
	req.IsolationLevel = 9
	s.do("unknown isolation", req)
	req = s.fetchRequest("base", 0, 0)
	req.Topics[0].Partitions = nil
	s.do("no partitions", req)
	req.Topics = nil
	s.do("nothing", req)
	req = s.fetchRequest("base", 0, 0)
	req.ReplicaID, req.ReplicaState.ID = 7, 7
	s.do("as a replica", req)
	req = s.fetchRequest("base", 0, 0)
	req.ClusterID, req.Rack = kmsg.StringPtr("another"), "somewhere"
	s.do("of another cluster", req)
}

func fetchSizes(s *script) {
	for _, n := range []int32{0, 1, 70, 200, -1, -1 << 31} {
		req := s.fetchRequest("base", 0, 0)
		req.MaxBytes = n
		s.do(fmt.Sprint("answer of ", n), req)
		req = s.fetchRequest("base", 0, 0)
		req.Topics[0].Partitions[0].PartitionMaxBytes = n
		s.addFetch(req, "base", 1, 0)
		s.do(fmt.Sprint("partition of ", n), req)
		req.Topics[0].Partitions[1].PartitionMaxBytes = n
		s.do(fmt.Sprint("partitions of ", n), req)
		req = s.fetchRequest("base", 0, 0)
		req.MinBytes = n
		s.do(fmt.Sprint("at least ", n), req)
		req.MaxWaitMillis = -5
		s.do(fmt.Sprint("negative wait, at least ", n), req)
	}
}

func fetchEpochs(s *script) {
	for _, epoch := range []int32{-1, 0, 1, 7, -2} {
		for _, topic := range []string{"base", "nowhere"} {
			req := s.fetchRequest(topic, 0, 5)
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
			s.do(fmt.Sprint("current ", epoch, " of ", topic), req)
		}
		req := s.fetchRequest("base", 0, 5)
		req.Topics[0].Partitions[0].LastFetchedEpoch = epoch
		s.do(fmt.Sprint("last fetched ", epoch), req)
		req.Topics[0].Partitions[0].FetchOffset = 500
		s.do(fmt.Sprint("last fetched beyond the end ", epoch), req)
	}
}

// fetchSessions follows a session as a client would.
func fetchSessions(s *script) {
	topic := s.unique("t")
	s.createTopic(topic, 3)
	s.fill(topic, 0, batchAt(1000, "a"))
	req := s.fetchRequest(topic, 0, 0)
	s.addFetch(req, topic, 1, 0)
	req.SessionEpoch = 0
	first := do[*kmsg.FetchResponse](s, "opened", req)
	req.SessionID = first.SessionID
	next := func(label string, change func()) {
		req.SessionEpoch++
		req.Topics, req.ForgottenTopics = nil, nil
		change()
		s.do(label, req)
	}
	next("nothing new, the record again", func() {})
	next("moved on", func() { s.addFetch(req, topic, 0, 1) })
	next("nothing new", func() {})
	s.fill(topic, 1, batchAt(2000, "b"))
	next("a record in 1", func() {})
	next("moved on in 1", func() { s.addFetch(req, topic, 1, 1) })
	next("added", func() { s.addFetch(req, topic, 2, 0) })
	next("added what is not there", func() { s.addFetch(req, topic, 9, 0) })
	next("still not there", func() {})
	next("added an unknown topic", func() { s.addFetch(req, "nowhere", 0, 0) })
	next("still unknown", func() {})
	next("out of range", func() { s.addFetch(req, topic, 2, 77) })
	next("still out of range", func() {})
	forgotten := kmsg.NewFetchRequestForgottenTopic()
	forgotten.Topic, forgotten.TopicID, forgotten.Partitions = topic, s.id(topic), []int32{2, 9, 77}
	next("forgotten", func() { req.ForgottenTopics = append(req.ForgottenTopics, forgotten) })
	s.fill(topic, 2, batchAt(2000, "c"))
	next("nothing of what is forgotten", func() {})
	req.SessionEpoch = -1
	s.do("closed", req)
	req.SessionEpoch = 20
	s.do("after it was closed", req)
}

func badFetchSessions(s *script) {
	req := s.fetchRequest("base", 0, 0)
	for _, bad := range []struct{ id, epoch int32 }{{0, 1}, {0, 5}, {12345, 1}, {12345, 0}, {12345, -1}, {-1, 1}, {0, -2}, {12345, -2}} {
		req.SessionID, req.SessionEpoch = bad.id, bad.epoch
		resp := do[*kmsg.FetchResponse](s, fmt.Sprint("session ", bad.id, " epoch ", bad.epoch), req)
		if resp.SessionID != 0 && resp.SessionID != bad.id {
			s.symbol("session", fmt.Sprint(resp.SessionID))
		}
	}
	req.SessionID, req.SessionEpoch = 0, 0
	req.SessionID = do[*kmsg.FetchResponse](s, "opened", req).SessionID
	for _, epoch := range []int32{5, 1, 1, 3, 2} {
		req.SessionEpoch = epoch
		s.do(fmt.Sprint("epoch ", epoch), req)
	}
	req.SessionEpoch = 0
	s.do("opened anew", req)
	empty := s.fetchRequest("base", 0, 0)
	empty.SessionEpoch, empty.Topics = 0, nil
	s.do("opened with nothing", empty)
}

// fetchWaits has a fetch that comes before the record.
func fetchWaits(s *script) {
	topic := s.unique("t")
	s.createTopic(topic, 1)
	req := s.fetchRequest(topic, 0, 0)
	req.MaxWaitMillis, req.MinBytes = 50, 1
	start := time.Now()
	s.do("in vain", req)
	s.record("wait", s.version, "at least", map[string]string{"": fmt.Sprint(time.Since(start) >= 45*time.Millisecond)})
	req.MaxWaitMillis = 45_000
	p := s.start("waits", "a record comes", req)
	s.fill(topic, 0, batchAt(1000, "a"))
	p.wait()
}
