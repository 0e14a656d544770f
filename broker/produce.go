// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/mutant"
)

// Produce (0), versions 3-13; 0-2 are announced and refused, as by Kafka 4.
// Record batches of format v2 only, one a partition. Not here yet:
// transactions (a transactional id or batch is refused).

// An appending is one partition's part of a request.
type appending struct {
	part  *partition
	batch []byte
	resp  *kmsg.ProduceResponseTopicPartition
	end   int64 // offset after the batch, once appended
	err   error
}

func (b *Broker) produce(ctx context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.ProduceRequest)
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	work := b.plan(req, resp)
	if mutant.On(mutant.AckBeforeAppend) {
		return b.answerBeforeAppend(work, resp)
	}
	for i := range work {
		b.appendBatch(&work[i])
	}
	start := time.Now()
	flushAll(context.WithoutCancel(ctx), work)
	if req.Acks == -1 {
		awaitAll(ctx, work, time.Duration(req.TimeoutMillis)*time.Millisecond)
	}
	r.conn.timing.Waited(start)
	for i := range work {
		b.report(&work[i], r)
	}
	if req.Acks == 0 {
		r.hangUp = firstError(resp)
		return nil
	}
	return resp
}

// lastOfEach leaves the last batch for a partition that is named several times, as
// Kafka does: of the others nothing comes, an answer included.
func lastOfEach(t *kmsg.ProduceRequestTopic) {
	if len(t.Partitions) < 2 {
		return
	}
	last := make(map[int32]int, len(t.Partitions))
	for j := range t.Partitions {
		last[t.Partitions[j].Partition] = j
	}
	if len(last) == len(t.Partitions) {
		return
	}
	kept := t.Partitions[:0]
	for j, p := range t.Partitions {
		if last[p.Partition] == j {
			kept = append(kept, p)
		}
	}
	t.Partitions = kept
}

// firstError is an error of an answer that will not be sent: the connection is
// closed instead, as Kafka does, so that the client looks where its topics are.
func firstError(resp *kmsg.ProduceResponse) error {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if code := resp.Topics[i].Partitions[j].ErrorCode; code != 0 {
				return fmt.Errorf("produce with acks=0: %w", kerr.ErrorForCode(code))
			}
		}
	}
	return nil
}

// plan pairs each batch with its partition and its place in the answer.
func (b *Broker) plan(req *kmsg.ProduceRequest, resp *kmsg.ProduceResponse) []appending {
	refused := refuse(req)
	var work []appending
	req.Topics = slices.DeleteFunc(req.Topics, func(t kmsg.ProduceRequestTopic) bool { return len(t.Partitions) == 0 })
	resp.Topics = make([]kmsg.ProduceResponseTopic, len(req.Topics))
	for i := range req.Topics {
		rt, at := &req.Topics[i], &resp.Topics[i]
		lastOfEach(rt)
		at.Default()
		at.Topic, at.TopicID = rt.Topic, rt.TopicID
		at.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(rt.Partitions))
		t, code := b.lookup(req.Version >= 13, rt.Topic, rt.TopicID)
		for j := range rt.Partitions {
			ap := &at.Partitions[j]
			ap.Default()
			ap.Partition, ap.BaseOffset = rt.Partitions[j].Partition, -1
			switch {
			case refused != nil:
				ap.ErrorCode, ap.ErrorMessage = refused.Code, &refused.Description
			case code != 0:
				ap.ErrorCode = code
			case t.partition(ap.Partition) == nil:
				ap.ErrorCode = kerr.UnknownTopicOrPartition.Code
			default:
				work = append(work, appending{part: t.partition(ap.Partition), batch: rt.Partitions[j].Records, resp: ap})
			}
		}
	}
	return work
}

// refuse is the error of a request as a whole.
func refuse(req *kmsg.ProduceRequest) *kerr.Error {
	switch {
	case req.Acks < -1 || req.Acks > 1:
		return kerr.InvalidRequiredAcks
	case req.TransactionID != nil:
		return kerr.UnsupportedVersion
	default:
		return nil
	}
}

// lookup finds a topic by the one of name and id that the version of the
// request has.
func (b *Broker) lookup(byID bool, name string, id topicID) (*topic, int16) {
	if byID {
		if t := b.topics.withID(id); t != nil {
			return t, 0
		}
		return nil, kerr.UnknownTopicID.Code
	}
	if t := b.topics.named(name); t != nil {
		return t, 0
	}
	return nil, kerr.UnknownTopicOrPartition.Code
}

func (b *Broker) appendBatch(w *appending) {
	if w.err = b.checkBatch(w); w.err != nil {
		return
	}
	a, err := w.part.append(w.batch)
	if err != nil {
		w.err = fmt.Errorf("append: %w", err)
		return
	}
	w.end = a.LastOffset + 1
	w.resp.BaseOffset, w.resp.LogStartOffset, w.resp.LogAppendTime = a.BaseOffset, a.LogStartOffset, a.LogAppendTime
	if a.Duplicate {
		w.resp.LogAppendTime = a.MaxTimestamp // as in Kafka, whatever the topic's timestamps are
	}
}

// checkBatch refuses what the log itself would take, and packs the batch as the
// topic wants it. min.insync.replicas asks for no more replicas than there are, and
// those that there are are in sync.
func (b *Broker) checkBatch(w *appending) error {
	t := w.part.topic
	conf := t.config()
	if t.internal {
		return fmt.Errorf("%w: %q is internal", errInvalidTopic, t.name)
	}
	if len(w.batch) > conf.maxMessageBytes {
		return fmt.Errorf("%w: %d bytes, max.message.bytes is %d", seglog.ErrTooLarge, len(w.batch), conf.maxMessageBytes)
	}
	if err := checkFrame(w.batch); err != nil {
		return err
	}
	h, err := seglog.ParseHeader(w.batch)
	if err != nil {
		return err
	}
	if h.Transactional() {
		return fmt.Errorf("%w: transactions are not supported", seglog.ErrInvalidRecord)
	}
	if err := checkRecords(w, &h, conf); err != nil {
		return err
	}
	if conf.packing.Repack {
		w.batch, err = conf.packing.Pack(w.batch, conf.maxMessageBytes)
	}
	return err
}

var errNoBatch = fmt.Errorf("%w: not one batch", seglog.ErrInvalidRecord)

// checkFrame refuses what is not one batch of format v2 that begins at offset 0,
// with Kafka's code for it: what can't be read at all is an invalid record, what
// contradicts itself is corrupt.
func checkFrame(b []byte) error {
	if len(b) < 17 { // up to the format
		return fmt.Errorf("%w: %d bytes are no batch", errNoBatch, len(b))
	}
	be := binary.BigEndian
	length, magic := int32(be.Uint32(b[8:])), int8(b[16])
	switch {
	case length < 14 || magic < 0 || magic > 2:
		return nil // corrupt, which the log itself says
	case magic < 2:
		return fmt.Errorf("%w: format %d of batches", errNoBatch, magic)
	case int64(length)+12 > int64(len(b)):
		return fmt.Errorf("%w: %d bytes of a batch of %d", errNoBatch, len(b), int64(length)+12)
	case length < seglog.HeaderSize-12:
		return nil // corrupt
	case int64(length)+12 < int64(len(b)):
		return fmt.Errorf("%w: %d bytes follow it", errNoBatch, int64(len(b))-int64(length)-12)
	case be.Uint64(b) != 0:
		return fmt.Errorf("%w: the batch begins at offset %d", seglog.ErrInvalidRecord, int64(be.Uint64(b)))
	case int32(be.Uint32(b[23:])) < 0 || int32(be.Uint32(b[57:])) < 0:
		return fmt.Errorf("%w: last offset delta %d, %d records", seglog.ErrInvalidRecord, int32(be.Uint32(b[23:])), int32(be.Uint32(b[57:])))
	}
	return nil
}

// flushAll has the flush policy acknowledge what was appended, of all
// partitions at once: their fsyncs share the disk's.
func flushAll(ctx context.Context, work []appending) {
	var wg sync.WaitGroup
	for i := range work {
		w := &work[i]
		if w.err != nil || !w.part.flushIsDue() {
			continue
		}
		if len(work) == 1 {
			w.err = w.part.flush(ctx, w.end)
			return
		}
		wg.Go(func() { w.err = w.part.flush(ctx, w.end) })
	}
	wg.Wait()
}

// awaitAll waits for the high watermark of all partitions.
func awaitAll(ctx context.Context, work []appending, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, max(timeout, 0))
	defer cancel()
	for i := range work {
		if w := &work[i]; w.err == nil {
			w.err = w.part.awaitHW(ctx, w.end)
		}
	}
}

// report writes the outcome into the answer, and the broker's own trouble into
// the log.
func (b *Broker) report(w *appending, r *request) {
	if w.err == nil {
		return
	}
	w.resp.ErrorCode, w.resp.ErrorMessage = codeOf(w.err), message(w.err)
	w.resp.BaseOffset, w.resp.LogAppendTime = -1, -1
	if looked(w.err) {
		w.resp.LogStartOffset = w.part.log.LogStartOffset()
	}
	w.part.topic.metrics.RefusedBatch()
	level := b.log.Debug
	if isStorage(w.resp.ErrorCode) {
		level = b.log.Error
	}
	level("produce", "topic", w.part.topic.name, "partition", w.part.index,
		"client_id", strings.ToValidUTF8(r.clientID, "?"), "err", w.err)
}

// looked tells whether a batch was refused for what is in it, after the log was
// looked at: the answer then says where that begins, as Kafka's does.
func looked(err error) bool {
	if errors.Is(err, errNoBatch) {
		return false
	}
	for _, refused := range []error{
		seglog.ErrInvalidRecord, errInvalidTimestamp, seglog.ErrOutOfOrderSequence, seglog.ErrDuplicateSequence,
		seglog.ErrInvalidProducerEpoch, seglog.ErrUnknownProducer,
	} {
		if errors.Is(err, refused) {
			return true
		}
	}
	return false
}

// answerBeforeAppend is the mistake mutant.AckBeforeAppend.
func (b *Broker) answerBeforeAppend(work []appending, resp *kmsg.ProduceResponse) kmsg.Response {
	for i := range work {
		w := &work[i]
		w.resp.BaseOffset = w.part.log.LogEndOffset()
		w.batch = append([]byte(nil), w.batch...)
	}
	b.wg.Go(func() {
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // a mistake on purpose
		for i := range work {
			late := work[i]
			late.resp = new(kmsg.ProduceResponseTopicPartition)
			b.appendBatch(&late)
		}
	})
	return resp
}
