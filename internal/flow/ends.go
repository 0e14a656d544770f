// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"fmt"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topic"
)

// Source adds a source of a topic. A null that K or V cannot carry is dropped
// and counted.
func Source[K, V any](t *processor.Topology, topic string, internal bool, keys serde.Serde[K], values serde.Serde[V]) Stream[K, V] {
	return SourceAt(t, topic, internal, keys, values, nil)
}

// A TimeOf gives the event time of a record, in ms since the Unix epoch, negative to
// drop it. partitionTime is the highest time before it in its partition, or -1.
type TimeOf[K, V any] = func(r processor.Record[K, V], partitionTime int64) int64

// SourceAt is Source with an event time other than the records' own; nil is theirs.
func SourceAt[K, V any](t *processor.Topology, topic string, internal bool, keys serde.Serde[K], values serde.Serde[V], time TimeOf[K, V]) Stream[K, V] {
	n := &plan.Node{
		Kind: plan.Source, Op: "source", Site: plan.Site(), Topic: topic, Internal: internal, Extracts: time != nil,
	}
	n.Input = func(env plan.Env, outs []any) (plan.Input, error) {
		s := source[K, V]{env: env, node: n, keys: keys, values: values, time: time, next: Fan[K, V](env, n, outs)}
		in := plan.Input{Decode: s.decode, Run: s.run}
		if time == nil {
			in.Take = s.take
		}
		return in, nil
	}
	return Stream[K, V]{T: t, Node: t.Graph().Add(n), Keys: keys, Values: values}
}

// A source is the source of a task, with the record that was decoded last.
type source[K, V any] struct {
	env    plan.Env
	node   *plan.Node
	keys   serde.Serde[K]
	values serde.Serde[V]
	time   TimeOf[K, V]
	next   Next[K, V]

	record processor.Record[K, V]
	null   string // what of it is null and must not be
}

func (s *source[K, V]) decode(r *plan.Raw, partitionTime int64) (int64, error) {
	s.null = ""
	switch {
	case r.Key == nil && s.keys.IsNull == nil:
		s.null = "null key"
		return r.Timestamp, nil
	case r.Value == nil && s.values.IsNull == nil:
		s.null = "null value"
		return r.Timestamp, nil
	}
	var err error
	s.record.Timestamp, s.record.Headers = r.Timestamp, r.Headers
	if s.record.Key, err = s.keys.Decode(r.Key); err != nil {
		return 0, fmt.Errorf("decode the key: %w", err)
	}
	if s.record.Value, err = s.values.Decode(r.Value); err != nil {
		return 0, fmt.Errorf("decode the value: %w", err)
	}
	if s.time != nil {
		s.record.Timestamp = s.time(s.record, partitionTime)
	}
	return s.record.Timestamp, nil
}

func (s *source[K, V]) run() error {
	if s.null != "" {
		s.env.Drop(s.node, s.null)
		return nil
	}
	return s.next(s.record)
}

// take is decode and run in one: the record stays where the processor has it.
func (s *source[K, V]) take(r *plan.Raw, partitionTime, streamTime *int64) (bool, error) {
	if r.Key == nil && s.keys.IsNull == nil || r.Value == nil && s.values.IsNull == nil {
		return false, nil
	}
	key, err := s.keys.Decode(r.Key)
	if err != nil {
		return true, &plan.DecodeError{Err: fmt.Errorf("decode the key: %w", err)}
	}
	value, err := s.values.Decode(r.Value)
	if err != nil {
		return true, &plan.DecodeError{Err: fmt.Errorf("decode the value: %w", err)}
	}
	*partitionTime, *streamTime = max(*partitionTime, r.Timestamp), max(*streamTime, r.Timestamp)
	return true, s.next(processor.Record[K, V]{Key: key, Value: value, Timestamp: r.Timestamp, Headers: r.Headers})
}

// Sink adds a sink behind s that writes a topic. value gives what is written
// for a record: the stream's value, or a table's new one.
func Sink[K, V, W any](s Stream[K, V], topic string, internal bool, keys serde.Serde[K], values serde.Serde[W], value func(V) (W, bool)) *plan.Node {
	n := &plan.Node{Kind: plan.Sink, Op: "sink", Site: plan.Site(), Topic: topic, Internal: internal}
	n.Make = func(env plan.Env, _ []any) (any, error) {
		return output(env, n, keys, values, value, env.Output(n), nil), nil
	}
	return s.T.Graph().Add(n, s.Node)
}

// A PartitionOf chooses a partition, of n, for a record; a negative one is that of the
// default partitioner.
type PartitionOf[K, V any] = func(key K, value V, n int32) int32

// PartitionedSink is Sink with partitions of the program's choice.
func PartitionedSink[K, V any](s Stream[K, V], topic string, keys serde.Serde[K], values serde.Serde[V], choose PartitionOf[K, V]) *plan.Node {
	n := &plan.Node{Kind: plan.Sink, Op: "sink", Site: plan.Site(), Topic: topic, Partitioned: true}
	n.Make = func(env plan.Env, _ []any) (any, error) {
		count, byKey := env.Partitions(n), env.Output(n)
		outs := make([]plan.Output, count)
		to := func(r processor.Record[K, V]) (plan.Output, error) {
			p := choose(r.Key, r.Value, count)
			switch {
			case p < 0:
				return byKey, nil
			case p >= count:
				return nil, fmt.Errorf("partition %d was chosen, and topic %q has %d", p, topic, count)
			case outs[p] == nil:
				outs[p] = env.OutputAt(n, p)
			}
			return outs[p], nil
		}
		return output(env, n, keys, values, func(v V) (V, bool) { return v, true }, nil, to), nil
	}
	return s.T.Graph().Add(n, s.Node)
}

// DynamicSink adds a sink that writes each record to the topic that choose names.
func DynamicSink[K, V any](s Stream[K, V], keys serde.Serde[K], values serde.Serde[V], choose func(processor.Record[K, V]) string) *plan.Node {
	n := &plan.Node{Kind: plan.Sink, Op: "dynamic sink", Site: plan.Site()}
	n.Make = func(env plan.Env, _ []any) (any, error) {
		outs := map[string]plan.Output{}
		to := func(r processor.Record[K, V]) (plan.Output, error) {
			name := choose(r)
			out := outs[name]
			if out == nil {
				if err := topic.CheckName(name); err != nil {
					return nil, fmt.Errorf("chosen by the record: %w", err)
				}
				out = env.OutputTo(name)
				outs[name] = out
			}
			return out, nil
		}
		return output(env, n, keys, values, func(v V) (V, bool) { return v, true }, nil, to), nil
	}
	return s.T.Graph().Add(n, s.Node)
}

// output encodes records and sends them to out, or where to says.
func output[K, V, W any](env plan.Env, n *plan.Node, keys serde.Serde[K], values serde.Serde[W], value func(V) (W, bool), out plan.Output, to func(processor.Record[K, V]) (plan.Output, error)) Next[K, V] {
	kenc, venc := &encoder[K]{serde: keys, what: "key"}, &encoder[W]{serde: values, what: "value"}
	here := PlaceOf(env, n)
	failed := func(err error) error {
		_, err = env.Failed(n, plan.Producing, 0, err)
		return err
	}
	return func(r processor.Record[K, V]) error {
		here.Enter()
		key, err := kenc.encode(r.Key)
		if err != nil {
			return failed(err)
		}
		var val []byte
		if w, ok := value(r.Value); ok {
			if val, err = venc.encode(w); err != nil {
				return failed(err)
			}
		}
		if r.Timestamp < 0 {
			return failed(fmt.Errorf("timestamp %d is negative", r.Timestamp))
		}
		way := out
		if to != nil {
			if way, err = to(r); err != nil {
				return failed(err)
			}
		}
		if err := way(key, val, r.Timestamp, r.Headers); err != nil {
			if errors.Is(err, plan.ErrTooLarge) {
				return failed(err)
			}
			return err
		}
		return nil
	}
}

// An encoder encodes into a buffer of its own: Output copies what it is given.
type encoder[T any] struct {
	serde serde.Serde[T]
	what  string // in errors
	buf   []byte
}

// encode gives the bytes of v until the next call, nil for a null.
func (e *encoder[T]) encode(v T) ([]byte, error) {
	if e.serde.IsNull != nil && e.serde.IsNull(v) {
		return nil, nil
	}
	b, err := e.serde.Append(e.buf[:0], v)
	if err != nil {
		return nil, fmt.Errorf("encode the %s: %w", e.what, err)
	}
	if b == nil {
		b = []byte{} // present, though of no bytes
	}
	if cap(b) > cap(e.buf) {
		e.buf = b
	}
	return b, nil
}

// Repartition sends s through a topic of the application's own, so that records
// of equal keys meet in one task, and returns the stream that comes out of it.
// Records with a null key are dropped, since they can meet nothing.
func Repartition[K, V any](s Stream[K, V], name string) Stream[K, V] {
	return RepartitionInto(s, name, 0)
}

// RepartitionInto is Repartition through a topic with so many partitions; 0: as many as
// its sources have.
func RepartitionInto[K, V any](s Stream[K, V], name string, partitions int32) Stream[K, V] {
	isNull := s.KeySerde("repartition").IsNull
	if isNull == nil {
		return repartition(s, name, partitions)
	}
	keyed := Then(s, "filter", "", func(env plan.Env, n *plan.Node, next Next[K, V]) Next[K, V] {
		return func(r processor.Record[K, V]) error {
			if isNull(r.Key) {
				env.Drop(n, "null key before a repartition topic")
				return nil
			}
			return next(r)
		}
	})
	return repartition(keyed.Same(s), name, partitions)
}

// RepartitionAll is Repartition with the records that have a null key, in any
// partition.
func RepartitionAll[K, V any](s Stream[K, V], name string) Stream[K, V] {
	return repartition(s, name, 0)
}

func repartition[K, V any](s Stream[K, V], name string, partitions int32) Stream[K, V] {
	g := s.T.Graph()
	topic := g.Repartition(name)
	what := fmt.Sprintf("repartition topic %q", topic)
	if name == "" {
		g.Fail(plan.Site(), "the key has changed, so the records go through a repartition topic, which needs a name")
	}
	keys, values := s.KeySerde(what), s.ValueSerde(what)
	Sink(s, topic, true, keys, values, func(v V) (V, bool) { return v, true }).Partitions = partitions
	return Source(s.T, topic, true, keys, values)
}

// CheckTopic notes what is wrong with a topic that the program gave.
func CheckTopic[K, V any](t *processor.Topology, given topic.Topic[K, V]) {
	if err := given.Err(); err != nil {
		t.Graph().Fail(plan.Site(), "%w (defined at %s)", err, given.Site())
	}
}

// Check notes an error in what the program gave to a call of the DSL.
func Check(t *processor.Topology, err error) {
	if err != nil {
		t.Graph().Fail(plan.Site(), "%w", err)
	}
}
