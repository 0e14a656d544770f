// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
)

// A SourceOption is an option of [From], [FromAll] and [FromPattern].
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
	return from(t, in, fmt.Sprintf("topic %q", in.Name()), options)
}

// from adds a source; what is its topic or pattern in messages.
func from[K, V any](t *processor.Topology, in topic.Topic[K, V], what string, options []SourceOption) *KStream[K, V] {
	var o sourceOptions
	for _, option := range options {
		option.applySource(&o)
	}
	times, ok := o.time.(flow.TimeOf[K, V])
	if o.time != nil && !ok {
		t.Graph().Fail(plan.Site(), "%s: TimeBy was given a %T, the records are of other types", what, o.time)
	}
	if o.reset.AgoMs < 0 {
		t.Graph().Fail(plan.Site(), "%s: Since was given a negative time", what)
	}
	s := flow.SourceAt(t, in.Name(), false, in.KeySerde(), in.ValueSerde(), times)
	s.Node.SkipInvalid, s.Node.Reset = o.skipInvalid, o.reset
	return of(s)
}

// FromPattern begins one stream with the records of all topics whose names match: those
// that there are when the application starts, which may be none, and those that are
// created while it runs, found within Config.TopicsInterval. Tasks that run go on with
// the new topic's partitions beside their own. In all else it is [FromAll]: keys are
// encoded alike, and records of one number of partition come to one task, in the order
// of their timestamps as far as Config.MaxTaskIdle allows. The options are for each of
// the topics; with [Latest] a new topic begins at its end as of when it is found, and with
// [CommittedOnly] one without a committed offset ends the application.
//
// Topics that begin with two underscores and the application's internal ones never
// match. A topic has one source: a topology whose pattern matches the topic of another
// source is refused, and an application whose patterns are found to match one topic
// fails. Where the records of a key must meet, in a store, all matching topics must
// have as many partitions as each other. A matching topic that is deleted is read no
// more, and the rest goes on.
//
// The pattern is part of the name of the tasks' folders: where it changes, stores are
// restored from their changelogs. Several streams of one pattern read the same topics.
func FromPattern[K, V any](t *processor.Topology, in topic.Pattern[K, V], options ...SourceOption) *KStream[K, V] {
	if err := in.Err(); err != nil {
		t.Graph().Fail(plan.Site(), "%w (defined at %s)", err, in.Site())
	}
	s := from(t, in.Topic(""), fmt.Sprintf("pattern %q", in), options)
	s.end.Node.Pattern = &plan.Pattern{Expr: in.String(), Matches: in.Matches}
	return s
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
