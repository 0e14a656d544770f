// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"math"

	"github.com/millrace/millrace/internal/plan"
)

// wait is what an input without records is waited for by.
type wait struct {
	behind   bool  // the broker has records that were not fetched, or may have
	deadline int64 // until when the task waits for more, 0 if it does not yet

	idleSince int64 // when its end was confirmed first, without a doubt since; 0: it is not
	confirmed int64 // when last
}

// Offer gives the task a batch of one of its topics, in the order of offsets. What
// was offered before of that topic must be processed.
func (t *Task) Offer(topic string, batch []plan.Raw) error {
	in := t.byTopic[topic]
	if in == nil {
		return fmt.Errorf("task %s: topic %q is not one of its inputs", t.id, topic)
	}
	if in.done < len(in.buf) {
		return fmt.Errorf("task %s: a batch of %q was offered before the last one was processed", t.id, topic)
	}
	in.buf, in.done, in.decoded = batch, 0, false
	in.wait = wait{}
	return nil
}

// Pending is the number of records of a topic that were offered and not processed.
func (t *Task) Pending(topic string) int {
	in := t.byTopic[topic]
	return len(in.buf) - in.done
}

// Position is the next offset of a topic, -1 if nothing was read yet.
func (t *Task) Position(topic string) int64 { return t.byTopic[topic].next.Offset }

// Behind says of a topic without records whether the broker has, or may have, some
// that were not fetched yet.
func (t *Task) Behind(topic string, behind bool) { t.byTopic[topic].behind = behind }

// Run processes up to limit records at the time of day now, in ms since the Unix
// epoch: the input whose next record is the oldest comes first. It stops when an
// input has run dry that may have more: n < limit means that the task needs another
// batch, or until to wait for one, which NextRun tells.
func (t *Task) Run(now int64, limit int) (n int, err error) {
	t.now = max(t.now, now)
	for n < limit {
		in, run, err := t.pick(now, limit-n)
		if in == nil || err != nil {
			return n, err
		}
		from, all := in.done, len(in.buf)
		err = t.drain(in, from+run)
		if in.buf == nil {
			n += all - from
		} else {
			n += in.done - from
		}
		if err != nil {
			return n, err
		}
		if in.buf == nil {
			return n, nil // the owner may have more of it
		}
	}
	return n, nil
}

// pick chooses the input to go on with, and for how many records at most. None:
// there is nothing, or something that is waited for.
func (t *Task) pick(now int64, limit int) (*input, int, error) {
	if len(t.inputs) == 1 {
		in := t.inputs[0]
		if len(in.buf) == 0 {
			return nil, 0, nil
		}
		return in, min(limit, len(in.buf)-in.done), nil
	}
	var first *input
	var at int64
	second := int64(math.MaxInt64)
	for _, in := range t.inputs {
		ts, ok, err := t.peek(in)
		switch {
		case err != nil:
			return nil, 0, err
		case !ok:
			continue
		case first == nil || ts < at:
			if first != nil {
				second = min(second, at)
			}
			first, at = in, ts
		default:
			second = min(second, ts)
		}
	}
	if first == nil || t.waits(now) {
		return nil, 0, nil
	}
	return first, first.until(second, limit), nil
}

// until is how many records of in come before time end, at least one.
func (in *input) until(end int64, limit int) int {
	if in.extracts {
		return 1
	}
	rest := in.buf[in.done:min(len(in.buf), in.done+limit)]
	for i := 1; i < len(rest); i++ {
		if rest[i].Timestamp > end {
			return i
		}
	}
	return len(rest)
}

// peek gives the time of an input's next record. Records that cannot be decoded are
// dealt with on the way, where the time is in what is decoded.
func (t *Task) peek(in *input) (int64, bool, error) {
	for len(in.buf) > 0 {
		if !in.extracts {
			return in.buf[in.done].Timestamp, true, nil
		}
		if in.decoded {
			return in.head, true, nil
		}
		ok, err := t.extract(in)
		if err != nil {
			return 0, false, err
		}
		if !ok {
			t.src = len(in.sources) // it is done with
			if err := t.drain(in, in.done+1); err != nil {
				return 0, false, err
			}
		}
	}
	return 0, false, nil
}

// extract decodes an input's next record for its time. false: it was dropped.
func (t *Task) extract(in *input) (ok bool, err error) {
	t.current = plan.Current{Topic: in.topic, Partition: t.id.Partition, Raw: &in.buf[in.done]}
	s := &in.sources[0]
	t.at = int32(s.node.ID)
	defer func() {
		if v := recover(); v != nil {
			ok, err = false, t.panicked(v)
		}
	}()
	if in.head, err = s.in.Decode(t.current.Raw, in.time); err != nil {
		_, err = t.failed(s.node, plan.Decoding, 0, err)
		return false, err
	}
	in.decoded = true
	return true, nil
}

// waits tells whether an input without records is to be waited for: one that has
// some on the broker, or, with MaxIdle, one that had its last a short while ago
// (PartitionGroup.readyToProcess).
func (t *Task) waits(now int64) bool {
	if t.cfg.MaxIdle < 0 {
		return false
	}
	all := true
	for _, in := range t.inputs {
		if len(in.buf) > 0 {
			continue
		}
		all = false
		if in.behind {
			return true
		}
		if t.cfg.MaxIdle > 0 && !t.isIdle(in) {
			if in.deadline == 0 {
				in.deadline = now + t.cfg.MaxIdle
			}
			if now < in.deadline {
				return true
			}
		}
	}
	if all {
		for _, in := range t.inputs {
			in.deadline = 0
		}
	}
	return false
}

// NextRun is until when the task waits for an input, in ms since the Unix epoch, a
// time without end if it does not, or for as long as the broker has more.
func (t *Task) NextRun() int64 {
	next := never
	for _, in := range t.inputs {
		if in.deadline > t.now {
			next = min(next, in.deadline)
		}
	}
	return next
}

// A spell is a time in which all inputs are idle.
type spell struct {
	since  int64 // the time of day; 0: there is none
	stream int64 // stream time then
}

func (t *Task) isIdle(in *input) bool {
	return t.cfg.SourceIdleness > 0 && in.idleSince > 0 && in.confirmed-in.idleSince >= t.cfg.SourceIdleness
}

// Confirm says that at the time of day now the broker has answered that a topic's
// log ends where the task stands. When all inputs have been so for SourceIdleness,
// stream time goes on by the time elapsed. Confirmations further apart than
// ConfirmEvery say nothing of the time between: the broker may have been away.
func (t *Task) Confirm(now int64, topic string) (moved bool, err error) {
	t.now = max(t.now, now)
	in := t.byTopic[topic]
	if len(in.buf) > 0 {
		return false, nil
	}
	if in.idleSince == 0 || now-in.confirmed > t.cfg.ConfirmEvery {
		in.idleSince = now
	}
	in.confirmed = now
	since, until := int64(0), now
	for _, in := range t.inputs {
		if !t.isIdle(in) {
			return false, nil
		}
		since, until = max(since, in.idleSince), min(until, in.confirmed)
	}
	if since != t.idle.since {
		t.idle = spell{since, t.streamTime}
	}
	if t.idle.stream == NoTime || t.idle.stream+until-since <= t.streamTime {
		return false, nil
	}
	return true, t.advance(t.idle.stream + until - since)
}

// Doubt says that the broker did not answer for a topic: its idle time begins anew.
func (t *Task) Doubt(topic string) { t.byTopic[topic].idleSince = 0 }

// advance moves stream time without a record.
func (t *Task) advance(to int64) error {
	t.current = plan.Current{Partition: t.id.Partition}
	t.streamTime = max(t.streamTime, to)
	for _, h := range t.timed {
		if err := t.run(h.node, func() error { return h.run(t.streamTime) }); err != nil {
			return err
		}
	}
	return t.punctuate(&t.streamPuncts, t.streamTime)
}
