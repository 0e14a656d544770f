// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/seglog"
)

func produceCases() []testCase {
	return []testCase{
		{name: "produce", key: kmsg.Produce, run: produce},
		{name: "bad batches", key: kmsg.Produce, run: badBatches},
		{name: "acks", key: kmsg.Produce, run: acks},
		{name: "produce by config", key: kmsg.Produce, run: produceByConfig},
		{name: "idempotent", key: kmsg.Produce, run: idempotent},
		{name: "init producer id", key: kmsg.InitProducerID, run: initProducerID},
		{name: "describe producers", once: true, run: describeProducers},
	}
}

// refusesProduce records that versions 0-2 are announced, and refused.
func (s *script) refusesProduce() bool {
	if s.version < 3 {
		s.do("too old", s.produceRequest(1, "base", 0, nil))
	}
	return s.version < 3
}

func produce(s *script) {
	if s.refusesProduce() {
		return
	}
	topic := s.unique("t")
	s.createTopic(topic, 2)
	one := batchAt(1000, "a", "b")
	s.do("first", s.produceRequest(-1, topic, 0, one))
	s.do("second", s.produceRequest(1, topic, 0, one))
	s.do("packed", s.produceRequest(1, topic, 1, packed(one)))
	s.do("unknown topic", s.produceRequest(1, "nowhere", 0, one))
	s.do("partition beyond", s.produceRequest(1, topic, 2, one))
	s.do("partition -1", s.produceRequest(1, topic, -1, one))
	s.do("invalid topic", s.produceRequest(1, "a b", 0, one))
	s.do("internal topic", s.produceRequest(1, "__consumer_offsets", 0, one))
	two := s.produceRequest(1, topic, 0, one)
	p := two.Topics[0].Partitions[0]
	p.Partition = 1
	two.Topics[0].Partitions = append(two.Topics[0].Partitions, p)
	s.do("two partitions", two)
	twice := s.produceRequest(1, topic, 1, one)
	twice.Topics[0].Partitions = append(twice.Topics[0].Partitions, twice.Topics[0].Partitions[0])
	s.do("a partition twice", twice)
	mixed := s.produceRequest(1, topic, 0, one)
	mixed.Topics = append(mixed.Topics, s.produceRequest(1, "nowhere", 3, one).Topics...)
	s.do("right and wrong", mixed)
	none := s.produceRequest(1, topic, 0, one)
	none.Topics[0].Partitions = nil
	s.do("no partitions", none)
	late := s.produceRequest(-1, topic, 0, one)
	late.TimeoutMillis = 0
	s.do("no timeout", late)
	late.TimeoutMillis = -1
	s.do("negative timeout", late)
	s.do("what came of it", s.fetchRequest(topic, 0, 0))
	txn := s.produceRequest(-1, topic, 0, one)
	txn.TransactionID = kmsg.StringPtr("txn")
	s.do("transactional id without a transactional batch", txn)
}

// badBatches sends what no client should.
func badBatches(s *script) {
	if s.refusesProduce() {
		return
	}
	topic := s.unique("t")
	good := batchAt(1000, "a", "b", "c")
	be := binary.BigEndian
	type labelled struct {
		label string
		batch []byte
	}
	all := []labelled{ // not null: Kafka does not answer that
		{"empty", []byte{}},
		{"a byte", []byte{0}},
		{"short of a head", good[:60]},
		{"only a head", good[:61]},
		{"a byte short", good[:len(good)-1]},
		{"a byte too many", append(bytes.Clone(good), 0)},
		{"two batches", append(bytes.Clone(good), good...)},
		{"wrong sum", append(good[:len(good)-1:len(good)-1], 'x')},
		{"length too small", edit(good, func(b []byte) { be.PutUint32(b[8:], 20) })},
		{"length too large", edit(good, func(b []byte) { be.PutUint32(b[8:], 20_000) })},
		{"length negative", edit(good, func(b []byte) { be.PutUint32(b[8:], 0xffffffff) })},
		{"magic 0", edit(good, func(b []byte) { b[16] = 0 })},
		{"magic 1", edit(good, func(b []byte) { b[16] = 1 })},
		{"magic 3", edit(good, func(b []byte) { b[16] = 3 })},
		{"magic -1", edit(good, func(b []byte) { b[16] = 0xff })},
		{"codec 5", edit(good, func(b []byte) { b[22] = 5 })},
		{"codec 7", edit(good, func(b []byte) { b[22] = 7 })},
		{"codec that it is not", edit(good, func(b []byte) { b[22] = 1 })},
		{"log append time", edit(good, func(b []byte) { b[22] = 8 })},
		{"transactional", edit(good, func(b []byte) { b[22] = 16 })},
		{"control", edit(good, func(b []byte) { b[22] = 32 })},
		{"delete horizon", edit(good, func(b []byte) { b[22] = 64 })},
		{"unknown attribute", edit(good, func(b []byte) { b[21] = 1 })},
		{"base offset 7", edit(good, func(b []byte) { be.PutUint64(b, 7) })},
		{"base offset -1", edit(good, func(b []byte) { be.PutUint64(b, ^uint64(0)) })},
		{"leader epoch 5", edit(good, func(b []byte) { be.PutUint32(b[12:], 5) })},
		{"count 0", edit(good, func(b []byte) { be.PutUint32(b[57:], 0) })},
		{"count 2", edit(good, func(b []byte) { be.PutUint32(b[57:], 2) })},
		{"count 4", edit(good, func(b []byte) { be.PutUint32(b[57:], 4) })},
		{"count -1", edit(good, func(b []byte) { be.PutUint32(b[57:], 0xffffffff) })},
		{"count and last delta 2 of 3", edit(good, func(b []byte) { be.PutUint32(b[57:], 2); be.PutUint32(b[23:], 1) })},
		{"count and last delta 4 of 3", edit(good, func(b []byte) { be.PutUint32(b[57:], 4); be.PutUint32(b[23:], 3) })},
		{"last delta 5", edit(good, func(b []byte) { be.PutUint32(b[23:], 5) })},
		{"last delta -1", edit(good, func(b []byte) { be.PutUint32(b[23:], 0xffffffff) })},
		{"max timestamp too low", edit(good, func(b []byte) { be.PutUint64(b[35:], 1) })},
		{"max timestamp too high", edit(good, func(b []byte) { be.PutUint64(b[35:], 9000) })},
		{"negative timestamp", batchAt(-5000, "x")},
		{"no timestamp", batchAt(-1, "x")},
		{"producer without epoch", seglog.BuildBatch(recordsAt(1, "x"), seglog.WithProducer(1, -1, 0))},
		{"producer without sequence", seglog.BuildBatch(recordsAt(1, "x"), seglog.WithProducer(1, 0, -1))},
		{"epoch without producer", seglog.BuildBatch(recordsAt(1, "x"), seglog.WithProducer(-1, 5, 7))},
		{"records cut short", edit(good, func(b []byte) { b[61] = 200 })},
		{"record attributes", edit(good, func(b []byte) { b[62] = 9 })},
		{"records out of order", edit(good, func(b []byte) { b[64] = 10 })},
		{"too large", batchAt(1000, strings.Repeat("x", 1_100_000))},
	}
	s.createTopic(topic, int32(len(all)))
	for i, bad := range all {
		if !s.whole() && i%5 != int(s.version)%5 {
			continue // what a batch is does not depend on the version
		}
		s.do(bad.label, s.produceRequest(-1, topic, int32(i), bad.batch))
		s.kept("what came of it: "+bad.label, s.fetchRequest(topic, int32(i), 0))
	}
}

// kept records what a partition has, if it has anything.
func (s *script) kept(label string, req *kmsg.FetchRequest) {
	resp := ask[*kmsg.FetchResponse](s, req)
	fields := map[string]string{}
	if p := resp.Topics[0].Partitions[0]; p.HighWatermark > 0 {
		s.flatten(fields, resp)
	} else {
		fields[""] = "nothing"
	}
	s.record("Fetch", resp.Version, label, fields)
}

func acks(s *script) {
	if s.refusesProduce() {
		return
	}
	topic := s.unique("t")
	s.createTopic(topic, 1)
	for _, n := range []int16{2, -2, 100} {
		s.do(fmt.Sprint("acks ", n), s.produceRequest(n, topic, 0, batchAt(1000, "a")))
	}
	// No answer comes to acks=0: the next one is that to another question.
	s.start("silent", "", s.produceRequest(0, topic, 0, batchAt(1000, "a")))
	s.start("silent", "after acks 0", s.fetchRequest(topic, 0, 0)).wait()
	s.start("wrong", "", s.produceRequest(0, "nowhere", 0, batchAt(1000, "a")))
	s.start("wrong", "after acks 0 to nowhere", metadataRequest("base")).wait()
}

// produceByConfig needs topics that take not everything.
func produceByConfig(s *script) {
	if s.refusesProduce() {
		return
	}
	compacted, stamped, bounded, small, replicated := s.unique("c"), s.unique("s"), s.unique("b"), s.unique("small"), s.unique("r")
	s.createTopic(compacted, 1, "cleanup.policy", "compact")
	s.createTopic(stamped, 1, "message.timestamp.type", "LogAppendTime")
	s.createTopic(bounded, 1, "message.timestamp.before.max.ms", "60000", "message.timestamp.after.max.ms", "60000")
	s.createTopic(small, 1, "max.message.bytes", "200")
	s.createTopic(replicated, 1, "min.insync.replicas", "2")
	keyless := []seglog.Record{{Timestamp: 1, Value: []byte("x")}, {Timestamp: 2, Key: []byte("k"), Value: []byte("y")}, {Timestamp: 3, Value: []byte("z")}}
	s.do("without keys", s.produceRequest(-1, compacted, 0, seglog.BuildBatch(keyless)))
	s.do("with keys", s.produceRequest(-1, compacted, 0, batchAt(1, "a", "b")))
	s.do("stamped", s.produceRequest(-1, stamped, 0, batchAt(1, "a", "b")))
	s.do("stamped, as the client says", s.produceRequest(-1, stamped, 0, edit(batchAt(1, "a"), func(b []byte) { b[22] = 8 })))
	s.do("fetch of stamped", s.fetchRequest(stamped, 0, 0))
	now := time.Now().UnixMilli()
	s.do("in time", s.produceRequest(-1, bounded, 0, batchAt(now, "a")))
	s.do("too early", s.produceRequest(-1, bounded, 0, batchAt(now-120_000, "a", "b")))
	s.do("too late", s.produceRequest(-1, bounded, 0, batchAt(now+120_000, "a")))
	early := recordsAt(now-120_000, "a", "b", "c")
	early[1].Timestamp = now
	s.do("two too early", s.produceRequest(-1, bounded, 0, seglog.BuildBatch(early)))
	s.do("no time", s.produceRequest(-1, bounded, 0, batchAt(-1, "a")))
	s.do("too large", s.produceRequest(-1, small, 0, batchAt(1, strings.Repeat("x", 150))))
	s.do("not too large", s.produceRequest(-1, small, 0, batchAt(1, "x")))
	s.do("too few replicas, one acknowledges", s.produceRequest(1, replicated, 0, batchAt(1, "x")))
	s.do("too few replicas", s.produceRequest(-1, replicated, 0, batchAt(1, "x")))
}

// idempotent follows one producer, its repetitions and gaps.
func idempotent(s *script) {
	if s.refusesProduce() {
		return
	}
	topic := s.unique("t")
	s.createTopic(topic, 2)
	init := ask[*kmsg.InitProducerIDResponse](s, newProducerID())
	send := func(label string, partition int32, id int64, epoch int16, sequence int32, values ...string) {
		b := seglog.BuildBatch(recordsAt(1000, values...), seglog.WithProducer(id, epoch, sequence))
		s.do(label, s.produceRequest(-1, topic, partition, b))
	}
	id := init.ProducerID
	send("first", 0, id, 0, 0, "a", "b")
	send("again", 0, id, 0, 0, "a", "b")
	send("again, shorter", 0, id, 0, 0, "a")
	send("again, from the middle", 0, id, 0, 1, "b")
	send("gap", 0, id, 0, 5, "c")
	for i := range int32(6) {
		send(fmt.Sprint("then ", i), 0, id, 0, 2+i, "d")
	}
	send("again, the fifth last", 0, id, 0, 3, "d")
	send("again, the sixth last", 0, id, 0, 2, "d")
	send("again, the first", 0, id, 0, 0, "a", "b")
	send("next epoch, not from 0", 0, id, 1, 8, "e")
	send("next epoch", 0, id, 1, 0, "e")
	send("old epoch", 0, id, 0, 8, "f")
	send("new partition, not from 0", 1, id, 1, 3, "g")
	send("new producer, not from 0", 1, id+1_000_000, 0, 3, "g")
	send("new producer", 1, id+1_000_001, 5, 0, "g")
	send("epoch below its first", 1, id+1_000_001, 4, 1, "g")
	send("highest sequence", 1, id+1_000_002, 0, 0x7fffffff, "h", "i")
	send("after the highest", 1, id+1_000_002, 0, 1, "j")
	send("highest epoch", 1, id+1_000_003, 0x7fff, 0, "k")
	s.do("what came of it", s.fetchRequest(topic, 0, 0))
	s.do("and in 1", s.fetchRequest(topic, 1, 0))
}

func newProducerID() *kmsg.InitProducerIDRequest {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = 60_000, -1, -1
	return req
}

func initProducerID(s *script) {
	req := newProducerID()
	s.do("new", req)
	req.TransactionTimeoutMillis = -1
	s.do("negative timeout", req)
	req.TransactionalID = kmsg.StringPtr("")
	s.do("transactional id of no length", req)
	req = newProducerID()
	req.TransactionalID = kmsg.StringPtr("txn")
	req.TransactionTimeoutMillis = 100_000_000
	s.do("transaction too long", req)
	if s.version >= 3 {
		req = newProducerID()
		req.ProducerID, req.ProducerEpoch = 7, 3
		s.do("known id", req)
		req.ProducerID = -1
		s.do("epoch without id", req)
		req.ProducerID, req.ProducerEpoch = 7, -1
		s.do("id without epoch", req)
	}
}

func describeProducers(s *script) {
	topic := s.unique("t")
	s.createTopic(topic, 2)
	id := ask[*kmsg.InitProducerIDResponse](s, newProducerID()).ProducerID
	s.symbol("producer", fmt.Sprint(id))
	s.fill(topic, 0, seglog.BuildBatch(recordsAt(1000, "a", "b"), seglog.WithProducer(id, 3, 0)))
	req := kmsg.NewPtrDescribeProducersRequest()
	for _, name := range []string{topic, "nowhere", "base", "a b"} {
		rt := kmsg.NewDescribeProducersRequestTopic()
		rt.Topic, rt.Partitions = name, []int32{0, 1, 9, -1}
		req.Topics = append(req.Topics, rt)
	}
	s.do("right and wrong", req)
	req.Topics[0].Partitions = []int32{0, 0}
	req.Topics = req.Topics[:1]
	s.do("twice", req)
	req.Topics[0].Partitions = nil
	s.do("no partitions", req)
}
