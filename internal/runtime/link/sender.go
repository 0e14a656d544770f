// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/runtime/link/batch"
)

// wire is what the batches of a link's lanes have in common.
type wire struct {
	compressor kgo.Compressor // nil: none
	linger     time.Duration
	limit      func(topic string) int32 // of a batch, in bytes
	timeoutMs  int32                    // that a broker may take for replicas to follow
	unknown    int                      // tries for a topic that the brokers do not know
}

// newWire takes from the client how it sends. false says that it has been given
// options that only its own way of sending follows.
func newWire(cl *kgo.Client) (w wire, ok bool, err error) {
	if cl.OptValue(kgo.DisableIdempotentWrite) != false || cl.OptValue(kgo.RequiredAcks) != kgo.AllISRAcks() ||
		cl.OptValue(kgo.TransactionalID) != "" || cl.OptValue(kgo.RecordPartitioner) != any(partitioner{}) ||
		cl.OptValue(kgo.StreamingCompression) != false || cl.OptValue(kgo.ManualFlushing) != false ||
		cl.OptValue(kgo.RecordRetries) != int64(math.MaxInt64) || cl.OptValue(kgo.RecordDeliveryTimeout) != time.Duration(0) {
		return w, false, nil
	}
	if hooked(cl, func(h kgo.Hook) bool {
		switch h.(type) {
		case kgo.HookProduceBatchWritten, kgo.HookProduceRecordBuffered, kgo.HookProduceRecordPartitioned,
			kgo.HookProduceRecordUnbuffered:
			return true
		}
		return false
	}) {
		return w, false, nil
	}
	linger, ok1 := cl.OptValue(kgo.ProducerLinger).(time.Duration)
	limit, ok2 := cl.OptValue(kgo.ProducerBatchMaxBytesFn).(func(string) int32)
	timeout, ok3 := cl.OptValue(kgo.ProduceRequestTimeout).(time.Duration)
	unknown, ok4 := cl.OptValue(kgo.UnknownTopicRetries).(int64)
	codecs, ok5 := cl.OptValue(kgo.ProducerBatchCompression).([]kgo.CompressionCodec)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return w, false, nil
	}
	w = wire{linger: linger, limit: limit, timeoutMs: int32(timeout.Milliseconds()), unknown: int(unknown)}
	if w.compressor, _ = cl.OptValue(kgo.WithCompressor).(kgo.Compressor); w.compressor == nil {
		if w.compressor, err = kgo.DefaultCompressor(codecs...); err != nil {
			return w, false, fmt.Errorf("set compression up: %w", err)
		}
	}
	return w, true, nil
}

// hooked says that a client was given a hook of a kind.
func hooked(cl *kgo.Client, kind func(kgo.Hook) bool) bool {
	hooks := reflect.ValueOf(cl.OptValue(kgo.WithHooks)) // of a type that has no name outside
	for i := range hooks.Len() {
		if kind(hooks.Index(i).Interface()) {
			return true
		}
	}
	return false
}

// identify asks for a producer id. A broker that is away is waited for.
func (k *Kafka) identify(ctx context.Context) (batch.Producer, error) {
	for try := 1; ; try++ {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.ProducerID, req.ProducerEpoch = -1, -1
		resp, err := req.RequestWith(ctx, asker{k.main})
		if err == nil {
			if err = kerr.ErrorForCode(resp.ErrorCode); err == nil {
				return batch.Producer{ID: resp.ProducerID, Epoch: resp.ProducerEpoch}, nil
			}
		}
		if !kerr.IsRetriable(err) || wait(ctx, try) != nil {
			return batch.Producer{}, fmt.Errorf("ask for a producer id: %w", err)
		}
	}
}

// run sends what is due until the lane ends.
func (l *batchLane) run() {
	var requests sync.WaitGroup
	defer requests.Wait()
	select {
	case <-l.wake: // not before there is something
	case <-l.ctx.Done():
	}
	producer, err := l.k.identify(l.ctx)
	if err != nil {
		_ = l.fail(l.cause(err))
		return
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !l.failed.Load() {
		l.mu.Lock()
		now := time.Now()
		out, next := l.box.take(now, l.k.node)
		l.asleep = next
		l.mu.Unlock()
		for _, s := range out {
			requests.Go(func() { l.ship(s, producer) })
		}
		var due <-chan time.Time
		if !next.IsZero() {
			timer.Reset(next.Sub(now))
			due = timer.C
		}
		select {
		case <-l.wake:
		case <-due:
		case <-l.ctx.Done():
			_ = l.fail(ErrClosed)
		}
	}
}

// cause is ErrClosed for what failed since the lane was closed.
func (l *batchLane) cause(err error) error {
	if l.ctx.Err() != nil || errors.Is(err, kgo.ErrClientClosed) {
		return ErrClosed
	}
	return err
}

// node is the broker that leads a partition, -1 if none is known.
func (k *Kafka) node(p Partition) int32 { return k.lead.of(p.Topic).of(p.Num).node }

// ship sends a request, or finds out who leads what is in it.
func (l *batchLane) ship(s *shipment, producer batch.Producer) {
	var fates []fate // by load
	if s.node < 0 {
		fates = l.look(s)
	} else {
		fates = l.send(s, producer)
	}
	now := time.Now()
	var gone []*parcel
	var failure error
	l.mu.Lock()
	for i, ld := range s.loads {
		switch f := fates[i]; {
		case f.end == landed:
			gone = append(gone, l.box.landed(ld.pile))
		case f.end == unsent && l.err == nil:
		case f.end == again && l.err == nil:
			l.box.retry(ld.pile, now)
		default:
			if f.err != nil && failure == nil {
				failure = fmt.Errorf("produce to %s: %w", ld.pile.at, f.err)
			}
			gone = append(gone, l.box.landed(ld.pile))
		}
	}
	l.box.back(s)
	l.mu.Unlock()
	if failure != nil {
		_ = l.fail(l.cause(failure))
	}
	l.release(gone)
	l.poke()
}

// fate is what became of a batch.
type fate struct {
	end end
	err error // of again and failed
}

type end int

const (
	again  end = iota // it may be sent again, later
	unsent            // its leader is known now
	landed
	failed
)

// look asks who leads the partitions of a shipment.
func (l *batchLane) look(s *shipment) []fate {
	fates := make([]fate, len(s.loads))
	for i, ld := range s.loads {
		at := ld.pile.at
		d := l.k.lead.of(at.Topic)
		if d.of(at.Num).node < 0 {
			var err error
			if d, err = l.k.lead.ask(l.ctx, at.Topic, d, true); err != nil {
				fates[i] = l.judge(ld.pile, err)
				continue
			}
		}
		if fates[i].end = unsent; d.of(at.Num).node < 0 {
			fates[i] = fate{again, errNoLeader}
		}
	}
	return fates
}

// judge says what an error means for a pile's batch. What no broker has said passes: a
// connection that was lost, or none to be had.
func (l *batchLane) judge(p *pile, err error) fate {
	retry := !errors.Is(err, kgo.ErrClientClosed)
	if _, ok := errors.AsType[*kerr.Error](err); ok {
		retry = kerr.IsRetriable(err) && !errors.Is(err, kerr.CorruptMessage)
	}
	if isUnknown(err) {
		p.unknown++
		retry = retry && p.unknown <= l.k.wire.unknown
	}
	if !retry || l.ctx.Err() != nil {
		return fate{failed, err}
	}
	l.k.cfg.Log.Debug("a batch is sent again", "partition", p.at, "tries", p.tries+1, "err", err)
	return fate{again, err}
}

// send makes a request of a shipment, and tells what became of each load.
func (l *batchLane) send(s *shipment, producer batch.Producer) []fate {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, l.k.wire.timeoutMs
	fates := make([]fate, len(s.loads))
	leds := map[string]*led{}
	topics := map[string]int{} // in the request
	for i, ld := range s.loads {
		at, b := ld.pile.at, ld.batch
		if b.bytes == nil {
			b.bytes = b.Finish(producer, b.sequence, l.k.wire.compressor, &b.scratch)
		}
		j, ok := topics[at.Topic]
		if !ok {
			j = len(req.Topics)
			topics[at.Topic] = j
			leds[at.Topic] = l.k.lead.of(at.Topic)
			t := kmsg.NewProduceRequestTopic()
			t.Topic = at.Topic // the client sends the name or the id, by what the broker takes
			if d := leds[at.Topic]; d != nil {
				t.TopicID = d.id
			}
			req.Topics = append(req.Topics, t)
		}
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = at.Num, b.bytes
		req.Topics[j].Partitions = append(req.Topics[j].Partitions, rp)
		fates[i] = fate{again, errLacking}
	}
	kresp, err := l.k.main.Broker(int(s.node)).Request(l.ctx, req)
	if err != nil {
		for i, ld := range s.loads {
			fates[i] = l.judge(ld.pile, err)
		}
	} else {
		l.answered(s, fates, leds, kresp.(*kmsg.ProduceResponse))
	}
	stale := slices.ContainsFunc(fates, func(f fate) bool { return f.end != landed })
	l.refresh(leds, stale)
	return fates
}

var errLacking = errors.New("the broker's answer lacks it")

// answered goes through the broker's answer.
func (l *batchLane) answered(s *shipment, fates []fate, leds map[string]*led, resp *kmsg.ProduceResponse) {
	names := map[[16]byte]string{}
	for name, d := range leds {
		if d != nil {
			names[d.id] = name
		}
	}
	by := make(map[Partition]int, len(s.loads))
	for i, ld := range s.loads {
		by[ld.pile.at] = i
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		name := t.Topic
		if name == "" {
			name = names[t.TopicID]
		}
		for j := range t.Partitions {
			if n, ok := by[Partition{name, t.Partitions[j].Partition}]; ok {
				fates[n] = l.acknowledged(s.loads[n], &t.Partitions[j])
			}
		}
	}
}

// acknowledged takes the broker's answer for a batch, and tells its destinations.
func (l *batchLane) acknowledged(ld load, rp *kmsg.ProduceResponseTopicPartition) fate {
	err := kerr.ErrorForCode(rp.ErrorCode)
	switch {
	case errors.Is(err, kerr.DuplicateSequenceNumber): // sent twice: the answer to the first was lost, and where it lies
		return fate{end: landed}
	case err != nil && rp.ErrorMessage != nil:
		err = fmt.Errorf("%w (%s)", err, *rp.ErrorMessage)
	}
	if err != nil {
		return l.judge(ld.pile, err)
	}
	for _, d := range ld.batch.dests {
		if rp.BaseOffset >= 0 {
			d.dest.Acked(rp.BaseOffset + int64(d.last))
		}
	}
	return fate{end: landed}
}

// refresh asks for leaders again, of topics for which something failed or which were
// asked for long ago.
func (l *batchLane) refresh(leds map[string]*led, stale bool) {
	now := time.Now()
	for topic, d := range leds {
		if stale || d.old(now) {
			_, _ = l.k.lead.ask(l.ctx, topic, d, false) // if it fails, the next try tells
		}
	}
}
