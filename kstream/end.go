// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
)

// An EndOption is an option of a step that ends a chain.
type EndOption interface{ applyEnd(*plan.Node) }

type endPolicy plan.Policy

func (p endPolicy) applyEnd(n *plan.Node) {
	policy := plan.Policy(p)
	n.Policy = &policy
}

// OnError is the policy for records at which a step that ends a chain fails: for
// [KStream.To] those that cannot be encoded, or are larger than the topic takes.
func OnError(p processor.Policy) EndOption { return endPolicy(p.Plan()) }

func applyEnd(n *plan.Node, options []EndOption) {
	for _, o := range options {
		o.applyEnd(n)
	}
}

// To writes the stream to a topic, which must exist when the application
// starts. The partition is that of Kafka's default partitioner: by the murmur2
// hash of the key, or any for a null key. Timestamps and headers go along.
func (s *KStream[K, V]) To(out topic.Topic[K, V], options ...EndOption) {
	flow.CheckTopic(s.end.T, out)
	n := flow.Sink(s.end, out.Name(), false, out.KeySerde(), out.ValueSerde(), func(v V) (V, bool) { return v, true })
	applyEnd(n, options)
}

// ToChosen writes each record to the topic that choose names, with the encodings of
// the stream: see Keys and Values. The topics must exist when the first record comes;
// a name that no topic can have is a failure of the record.
func (s *KStream[K, V]) ToChosen(choose func(processor.Record[K, V]) string, options ...EndOption) {
	keys, values := s.end.KeySerde("chosen topics"), s.end.ValueSerde("chosen topics")
	applyEnd(flow.DynamicSink(s.end, keys, values, choose), options)
}
