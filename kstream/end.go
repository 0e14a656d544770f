// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
)

// An EndOption is an option of a step that ends a chain.
type EndOption interface{ applyEnd(*endOptions) }

type endOptions struct {
	policy    *plan.Policy
	partition any // a flow.PartitionOf of the stream's types
}

type endOption func(*endOptions)

func (f endOption) applyEnd(o *endOptions) { f(o) }

// OnError is the policy for records at which a step that ends a chain fails: for
// [KStream.To] those that cannot be encoded, or are larger than the topic takes.
func OnError(p processor.Policy) EndOption {
	return endOption(func(o *endOptions) {
		policy := p.Plan()
		o.policy = &policy
	})
}

// PartitionBy puts each record that [KStream.To] writes into the partition that f
// answers, of the n that the topic has; a negative answer leaves it to the default. A
// partition that does not exist is a failure of the record. n is the number when the
// application started: the topic must exist then, and partitions that it is given later
// count from the next start on. K and V must be the stream's types.
func PartitionBy[K, V any](f func(key K, value V, n int32) int32) EndOption {
	return endOption(func(o *endOptions) { o.partition = f })
}

func gatherEnd(options []EndOption) endOptions {
	var o endOptions
	for _, option := range options {
		option.applyEnd(&o)
	}
	return o
}

// end gives a node that ends a chain its options, but for a partitioner, which only To
// takes.
func (o endOptions) end(s *plan.Graph, n *plan.Node) {
	n.Policy = o.policy
	if o.partition != nil && !n.Partitioned {
		s.Fail(n.Site, "%s: PartitionBy is for To alone", n.Op)
	}
}

// To writes the stream to a topic, which must exist when the application
// starts. The partition is that of Kafka's default partitioner: by the murmur2
// hash of the key, or any for a null key; or see [PartitionBy]. Timestamps and headers
// go along.
func (s *KStream[K, V]) To(out topic.Topic[K, V], options ...EndOption) {
	flow.CheckTopic(s.end.T, out)
	o := gatherEnd(options)
	choose, ok := o.partition.(flow.PartitionOf[K, V])
	if o.partition != nil && !ok {
		s.end.T.Graph().Fail(plan.Site(), "topic %q: PartitionBy was given a %T, the records are of other types", out.Name(), o.partition)
		o.partition = nil
	}
	if choose != nil {
		o.end(s.end.T.Graph(), flow.PartitionedSink(s.end, out.Name(), out.KeySerde(), out.ValueSerde(), choose))
		return
	}
	o.end(s.end.T.Graph(), flow.Sink(s.end, out.Name(), false, out.KeySerde(), out.ValueSerde(), func(v V) (V, bool) { return v, true }))
}

// ToChosen writes each record to the topic that choose names, with the encodings of
// the stream: see Keys and Values. The topics must exist when the first record comes;
// a name that no topic can have is a failure of the record.
func (s *KStream[K, V]) ToChosen(choose func(processor.Record[K, V]) string, options ...EndOption) {
	keys, values := s.end.KeySerde("chosen topics"), s.end.ValueSerde("chosen topics")
	gatherEnd(options).end(s.end.T.Graph(), flow.DynamicSink(s.end, keys, values, choose))
}
