// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
)

// A SourceOption is an option of [From].
type SourceOption interface{ applySource(*sourceOptions) }

type sourceOptions struct {
	time        any // a flow.TimeOf of the source's types
	skipInvalid bool
}

type sourceOption func(*sourceOptions)

func (f sourceOption) applySource(o *sourceOptions) { f(o) }

// TimeBy takes the event time of a source's records from what f answers, in ms since
// the Unix epoch; a record for which it is negative is dropped and counted. The record
// comes with its own timestamp; partitionTime is the highest time of the records before
// it in its partition, -1 if there are none. K and V must be the source's types.
func TimeBy[K, V any](f func(r processor.Record[K, V], partitionTime int64) int64) SourceOption {
	return sourceOption(func(o *sourceOptions) { o.time = f })
}

// SkipInvalidTime drops and counts records with a negative timestamp. Without it they
// are failures.
func SkipInvalidTime() SourceOption {
	return sourceOption(func(o *sourceOptions) { o.skipInvalid = true })
}

// From begins a stream with the records of a topic, which must exist when the
// application starts. In the order of a partition, from the committed offset,
// or from the topic's start where there is none.
func From[K, V any](t *processor.Topology, in topic.Topic[K, V], options ...SourceOption) *KStream[K, V] {
	flow.CheckTopic(t, in)
	var o sourceOptions
	for _, option := range options {
		option.applySource(&o)
	}
	time, ok := o.time.(flow.TimeOf[K, V])
	if o.time != nil && !ok {
		t.Graph().Fail(plan.Site(), "topic %q: TimeBy was given a %T, the records are of other types", in.Name(), o.time)
	}
	s := flow.SourceAt(t, in.Name(), false, in.KeySerde(), in.ValueSerde(), time)
	s.Node.SkipInvalid = o.skipInvalid
	return of(s)
}
