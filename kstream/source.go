// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"slices"
	"time"

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
	reset       plan.Reset
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

// Earliest begins a source at its topic's start where nothing is committed: the default.
func Earliest() SourceOption { return reset(plan.Reset{From: plan.ResetStart}) }

// Latest begins a source at its topic's end where nothing is committed: with what is
// written after the task's start. What came before the first commit may be skipped when
// the task is restarted.
func Latest() SourceOption { return reset(plan.Reset{From: plan.ResetEnd}) }

// Since begins a source with the records of the last d, by their timestamps and the time
// of day at the task's start, where nothing is committed (KIP-1106).
func Since(d time.Duration) SourceOption {
	return reset(plan.Reset{From: plan.ResetAgo, AgoMs: d.Milliseconds()})
}

// CommittedOnly has a source begin where its group has committed; where nothing is
// committed the application fails ([processor.ErrNotCommitted]).
func CommittedOnly() SourceOption { return reset(plan.Reset{From: plan.ResetNever}) }

func reset(r plan.Reset) SourceOption {
	return sourceOption(func(o *sourceOptions) { o.reset = r })
}

// From begins a stream with the records of a topic, which must exist when the
// application starts. In the order of a partition, from the committed offset,
// or where there is none from the topic's start: see [Latest], [Since] and
// [CommittedOnly].
func From[K, V any](t *processor.Topology, in topic.Topic[K, V], options ...SourceOption) *KStream[K, V] {
	flow.CheckTopic(t, in)
	var o sourceOptions
	for _, option := range options {
		option.applySource(&o)
	}
	times, ok := o.time.(flow.TimeOf[K, V])
	if o.time != nil && !ok {
		t.Graph().Fail(plan.Site(), "topic %q: TimeBy was given a %T, the records are of other types", in.Name(), o.time)
	}
	if o.reset.AgoMs < 0 {
		t.Graph().Fail(plan.Site(), "topic %q: Since was given a negative time", in.Name())
	}
	s := flow.SourceAt(t, in.Name(), false, in.KeySerde(), in.ValueSerde(), times)
	s.Node.SkipInvalid, s.Node.Reset = o.skipInvalid, o.reset
	return of(s)
}

// FromAll begins one stream with the records of several topics, in the order of their
// timestamps as far as Config.MaxTaskIdle allows. Keys must be encoded alike in all, so
// that those which are equal meet; records of one number of partition come to one task.
// A topic with fewer partitions than another is no error. The options are for each of the
// topics.
func FromAll[K, V any](t *processor.Topology, topics []topic.Topic[K, V], options ...SourceOption) *KStream[K, V] {
	if len(topics) == 0 {
		t.Graph().Fail(plan.Site(), "FromAll needs a topic")
		return of(flow.Stream[K, V]{T: t, Node: t.Graph().Add(&plan.Node{Kind: plan.Source, Op: "source", Site: plan.Site()})})
	}
	var streams []*KStream[K, V]
	for i, in := range topics {
		if name := in.KeySerde().Name; name != topics[0].KeySerde().Name {
			t.Graph().Fail(plan.Site(), "topics %q and %q are one source, and their keys are encoded as %s and %s",
				topics[0].Name(), in.Name(), topics[0].KeySerde().Name, name)
		}
		if slices.ContainsFunc(topics[:i], func(other topic.Topic[K, V]) bool { return other.Name() == in.Name() }) {
			t.Graph().Fail(plan.Site(), "topic %q is in one source twice", in.Name())
		}
		streams = append(streams, From(t, in, options...))
	}
	return streams[0].Merge(streams[1:]...)
}
