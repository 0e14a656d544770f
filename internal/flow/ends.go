// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topic"
)

// Source adds a source of a topic. A null that K or V cannot carry is dropped
// and counted.
func Source[K, V any](t *processor.Topology, topic string, internal bool, keys serde.Serde[K], values serde.Serde[V]) Stream[K, V] {
	n := &plan.Node{Kind: plan.Source, Op: "source", Site: plan.Site(), Topic: topic, Internal: internal}
	n.Input = func(env plan.Env, outs []any) (plan.Input, error) {
		return input(env, n, keys, values, Fan[K, V](outs)), nil
	}
	return Stream[K, V]{T: t, Node: t.Graph().Add(n), Keys: keys, Values: values}
}

func input[K, V any](env plan.Env, n *plan.Node, keys serde.Serde[K], values serde.Serde[V], next Next[K, V]) plan.Input {
	return func(r *plan.Raw) error {
		if r.Key == nil && keys.IsNull == nil {
			env.Drop(n, "null key")
			return nil
		}
		if r.Value == nil && values.IsNull == nil {
			env.Drop(n, "null value")
			return nil
		}
		k, err := keys.Decode(r.Key)
		if err != nil {
			return fmt.Errorf("decode the key: %w", err)
		}
		v, err := values.Decode(r.Value)
		if err != nil {
			return fmt.Errorf("decode the value: %w", err)
		}
		return next(processor.Record[K, V]{Key: k, Value: v, Timestamp: r.Timestamp, Headers: r.Headers})
	}
}

// Sink adds a sink behind s that writes a topic. value gives what is written
// for a record: the stream's value, or a table's new one.
func Sink[K, V, W any](s Stream[K, V], topic string, internal bool, keys serde.Serde[K], values serde.Serde[W], value func(V) (W, bool)) {
	n := &plan.Node{Kind: plan.Sink, Op: "sink", Site: plan.Site(), Topic: topic, Internal: internal}
	n.Make = func(env plan.Env, _ []any) (any, error) {
		return output(env.Output(n), keys, values, value), nil
	}
	s.T.Graph().Add(n, s.Node)
}

// output encodes into two buffers of the task's: Output copies what it is given.
func output[K, V, W any](out plan.Output, keys serde.Serde[K], values serde.Serde[W], value func(V) (W, bool)) Next[K, V] {
	var kbuf, vbuf []byte
	return func(r processor.Record[K, V]) error {
		var key, val []byte
		var err error
		if key, kbuf, err = Encode(&keys, kbuf, r.Key, "key"); err != nil {
			return err
		}
		if w, ok := value(r.Value); ok {
			if val, vbuf, err = Encode(&values, vbuf, w, "value"); err != nil {
				return err
			}
		}
		return out(key, val, r.Timestamp, r.Headers)
	}
}

// Repartition sends s through a topic of the application's own, so that records
// of equal keys meet in one task, and returns the stream that comes out of it.
// Records with a null key are dropped, since they can meet nothing.
func Repartition[K, V any](s Stream[K, V], name string) Stream[K, V] {
	isNull := s.KeySerde("repartition").IsNull
	if isNull == nil {
		return RepartitionAll(s, name)
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
	return RepartitionAll(keyed.Same(s), name)
}

// RepartitionAll is Repartition with the records that have a null key, in any
// partition.
func RepartitionAll[K, V any](s Stream[K, V], name string) Stream[K, V] {
	g := s.T.Graph()
	topic := g.Repartition(name)
	what := fmt.Sprintf("repartition topic %q", topic)
	if name == "" {
		g.Fail(plan.Site(), "the key has changed, so the records go through a repartition topic, which needs a name")
	}
	keys, values := s.KeySerde(what), s.ValueSerde(what)
	Sink(s, topic, true, keys, values, func(v V) (V, bool) { return v, true })
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
