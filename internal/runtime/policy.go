// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/millrace/millrace/internal/plan"
)

// maxBackoffMs bounds the wait before a record is tried again.
const maxBackoffMs = 30_000

// failed applies the policy of a node, or the application's for the stage.
func (t *Task) failed(n *plan.Node, stage plan.Stage, try int, cause error) (again bool, _ error) {
	if e, ok := errors.AsType[*RecordError](cause); ok {
		return false, e // a policy has seen it
	}
	p := &t.cfg.Policies[stage]
	if n.Policy != nil {
		p = n.Policy
	}
	if try > 0 && try <= p.Retries {
		err := t.pause(p, try)
		if err == nil {
			return true, nil
		}
		cause = errors.Join(err, cause)
		p = &plan.Policy{}
	}
	e := t.recordError(n, stage, cause)
	switch p.Action {
	case plan.Skip:
	case plan.DeadLetter:
		if err := t.bury(p.Topic, e); err != nil {
			e.Err = errors.Join(e.Err, fmt.Errorf("write the dead letter: %w", err))
			return false, e
		}
	default:
		return false, e
	}
	t.drop(n, "failed: "+stage.String())
	if t.cfg.Report != nil {
		t.cfg.Report(e)
	}
	return false, nil
}

func (t *Task) pause(p *plan.Policy, try int) error {
	if t.cfg.Pause == nil || p.BackoffMs <= 0 {
		return nil
	}
	return t.cfg.Pause(min(p.BackoffMs<<min(try-1, 20), maxBackoffMs))
}

// panicked applies the policy to a panic at the node that t.at tells. A panic is not
// tried again: what was done before it would be done twice.
func (t *Task) panicked(v any) error {
	n := t.nodes[t.at]
	_, err := t.failed(n, t.stageOf(n), 0, newPanic(v))
	return err
}

// stageOf is what a node does while a function of the program runs in it.
func (t *Task) stageOf(n *plan.Node) plan.Stage {
	switch n.Kind {
	case plan.Source:
		return plan.Decoding
	case plan.Sink:
		return plan.Producing
	default:
		return plan.Processing
	}
}

// told makes an error that no policy has seen, such as that of a store, one that
// tells its place.
func (t *Task) told(err error) error {
	if _, ok := errors.AsType[*RecordError](err); ok {
		return err
	}
	n := t.nodes[t.at]
	return t.recordError(n, t.stageOf(n), err)
}

func (t *Task) recordError(n *plan.Node, stage plan.Stage, err error) *RecordError {
	e := &RecordError{
		Task: t.id, Topic: t.current.Topic, Partition: t.current.Partition, Offset: -1,
		Node: describe(n), Stage: stage, Err: err,
	}
	if t.current.Raw != nil {
		e.Offset = t.current.Raw.Offset
	}
	return e
}

// bury sends the record that came in, or an empty one where there was none, to a
// topic of dead letters, with the headers of KIP-1034.
func (t *Task) bury(topic string, e *RecordError) error {
	out := t.dead[topic]
	if out == nil {
		out = t.cfg.Out.Output(topic)
		t.dead[topic] = out
	}
	raw := t.current.Raw
	if raw == nil {
		raw = &plan.Raw{Timestamp: max(t.streamTime, 0)}
	}
	headers := slices.Clone(raw.Headers)
	add := func(key, value string) {
		headers = append(headers, plan.Header{Key: "__streams.errors." + key, Value: []byte(value)})
	}
	add("exception", kindOf(e.Err))
	add("message", e.Err.Error())
	add("stacktrace", stackOf(e))
	add("topic", e.Topic)
	add("partition", strconv.Itoa(int(e.Partition)))
	add("offset", strconv.FormatInt(e.Offset, 10))
	return out(raw.Key, raw.Value, max(raw.Timestamp, 0), headers)
}

// kindOf names the type of the innermost error.
func kindOf(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return fmt.Sprintf("%T", err)
		}
		err = inner
	}
}

// stackOf is where it failed: the stack of a panic, or the node.
func stackOf(e *RecordError) string {
	if p, ok := errors.AsType[*PanicError](e.Err); ok {
		return e.Node + "\n" + string(p.Stack)
	}
	return e.Node
}
