// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/millrace/millrace/internal/plan"
)

// An input is one topic of a task: what was fetched of its partition and not
// processed, and how far that is.
type input struct {
	topic    string
	sources  []source // in the order of the graph: each gets every record
	extracts bool     // the time of a record is known only when it is decoded
	first    int32    // ID of the first source
	// straight is the Take of the only source; nil: there are several, or it has none.
	straight func(r *plan.Raw, partitionTime, streamTime *int64) (bool, error)

	buf     []plan.Raw
	done    int      // of buf, processed
	decoded bool     // the first source has decoded buf[done]: headTime is its time
	head    int64    // time of buf[done], if decoded
	time    int64    // partition time: the highest of the records taken, -1 if none
	next    Position // Offset -1: nothing was read yet

	wait
}

type source struct {
	node *plan.Node
	in   plan.Input
}

func (t *Task) addInput(topic string) *input {
	in := &input{topic: topic, time: -1, next: Position{-1, -1}}
	for _, n := range t.cfg.Sub.Sources {
		if n.Reads(topic) {
			in.sources = append(in.sources, source{node: n})
			in.extracts = in.extracts || n.Extracts
		}
	}
	t.byTopic[topic] = in
	t.inputs = append(t.inputs, in)
	slices.SortFunc(t.inputs, func(a, b *input) int {
		return cmp.Or(cmp.Compare(a.place(), b.place()), cmp.Compare(a.topic, b.topic))
	})
	return in
}

// place is that of an input's first source in the graph.
func (in *input) place() int {
	if len(in.sources) == 0 {
		return -1
	}
	return in.sources[0].node.ID
}

// buildInput builds the sources of an input: each topic of a pattern has its own, with
// the record that it has decoded last.
func (t *Task) buildInput(in *input) error {
	for i := range in.sources {
		s := &in.sources[i]
		var err error
		if s.in, err = s.node.Input(env{t}, t.outs[s.node]); err != nil {
			return fmt.Errorf("%s: %w", describe(s.node), err)
		}
	}
	if len(in.sources) == 1 && !in.extracts {
		in.straight, in.first = in.sources[0].in.Take, int32(in.sources[0].node.ID)
	}
	return nil
}

// AddInput has a task that runs read one more topic of its sub-topology: one that
// matches a pattern, or that has got the task's partition. start is where it stands, if
// it has a committed offset. A topic that the task reads already is left as it is.
func (t *Task) AddInput(topic string, start map[string]Origin) error {
	if t.byTopic[topic] != nil {
		return nil
	}
	in := t.addInput(topic)
	if len(in.sources) == 0 {
		return fmt.Errorf("task %s: no source reads topic %q", t.id, topic)
	}
	t.takeUp(start)
	if err := t.buildInput(in); err != nil {
		return fmt.Errorf("task %s: %w", t.id, err)
	}
	return nil
}

// Process runs a batch of records of one of the task's topics, in order, without a
// look at the other topics. An error ends it with a *[RecordError]; the records
// before that one are processed.
func (t *Task) Process(topic string, batch []plan.Raw) error {
	if err := t.Offer(topic, batch); err != nil {
		return err
	}
	return t.drain(t.byTopic[topic], len(batch))
}

// drain processes records of an input up to buf[n]. A panic that its policy gets
// over does not end it: the next source of the record, or the next record, follows.
func (t *Task) drain(in *input, n int) error {
	t.current = plan.Current{Topic: in.topic, Partition: t.id.Partition}
	var err error
	for in.done < n && err == nil {
		err = t.guarded(in, n)
	}
	if in.done > 0 {
		last := &in.buf[in.done-1]
		in.next = Position{last.Offset + 1, last.Epoch}
	}
	if in.done == len(in.buf) {
		in.buf, in.done = nil, 0
	}
	t.current.Raw = nil
	return err
}

func (t *Task) guarded(in *input, n int) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = t.panicked(v)
			in.decoded = false
			t.src++
		}
	}()
	for in.done < n {
		r := &in.buf[in.done]
		t.current.Raw = r
		taken := false
		if in.straight != nil && t.src == 0 && r.Timestamp >= 0 {
			var err error
			t.at = in.first
			if taken, err = in.straight(r, &in.time, &t.streamTime); err != nil {
				if err = t.refused(in.sources[0].node, err); err != nil {
					return err
				}
			}
		}
		if !taken {
			for ; t.src < len(in.sources); t.src++ {
				if err := t.take(in, &in.sources[t.src], r); err != nil {
					return err
				}
			}
			t.src = 0
		}
		in.done++
		t.records++
		if len(t.streamPuncts.list) > 0 && t.streamPuncts.due <= t.streamTime {
			if err := t.afterRecord(in, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// refused is for what a source's Take answered.
func (t *Task) refused(n *plan.Node, err error) error {
	if e, ok := errors.AsType[*plan.DecodeError](err); ok {
		_, err = t.failed(n, plan.Decoding, 0, e.Err)
		return err
	}
	return t.told(err)
}

// take runs a record through one source: decode, move time, pass on.
func (t *Task) take(in *input, s *source, r *plan.Raw) error {
	ts := in.head
	if !in.decoded {
		t.at = int32(s.node.ID)
		var err error
		if ts, err = s.in.Decode(r, in.time); err != nil {
			_, err = t.failed(s.node, plan.Decoding, 0, err)
			return err
		}
	}
	in.decoded = false
	if ts < 0 {
		return t.invalidTime(s.node, ts)
	}
	in.time = max(in.time, ts)
	t.streamTime = max(t.streamTime, ts)
	t.at = int32(s.node.ID)
	if err := s.in.Run(); err != nil {
		return t.told(err)
	}
	return nil
}

// invalidTime is Kafka's FailOnInvalidTimestamp, or what a source says instead.
func (t *Task) invalidTime(n *plan.Node, ts int64) error {
	if n.SkipInvalid || n.Extracts {
		t.drop(n, "negative timestamp")
		return nil
	}
	_, err := t.failed(n, plan.Decoding, 0, fmt.Errorf("timestamp %d is negative", ts))
	return err
}

// afterRecord runs the punctuations that a record has made due.
func (t *Task) afterRecord(in *input, r *plan.Raw) error {
	t.current = plan.Current{Partition: t.id.Partition}
	err := t.punctuate(&t.streamPuncts, t.streamTime)
	t.current = plan.Current{Topic: in.topic, Partition: t.id.Partition, Raw: r}
	return err
}
