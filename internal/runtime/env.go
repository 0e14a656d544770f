// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/state"
)

// env is what nodes see of their task.
type env struct{ t *Task }

var _ plan.Env = env{}

func (e env) Store(name string) state.Store { return e.t.byName[name] }

func (e env) Global(name string) state.Store {
	if e.t.cfg.Global == nil {
		return nil
	}
	return e.t.cfg.Global(name)
}

func (e env) Output(sink *plan.Node) plan.Output { return e.t.cfg.Out.Output(sink.Topic) }

func (e env) OutputTo(topic string) plan.Output { return e.t.cfg.Out.Output(topic) }

func (e env) Partitions(sink *plan.Node) int32 {
	if out, ok := e.t.cfg.Out.(PartitionedOutputs); ok {
		return out.Partitions(sink.Topic)
	}
	return 1
}

func (e env) OutputAt(sink *plan.Node, partition int32) plan.Output {
	if out, ok := e.t.cfg.Out.(PartitionedOutputs); ok {
		return out.OutputAt(sink.Topic, partition)
	}
	return e.t.cfg.Out.Output(sink.Topic)
}

func (e env) Current() *plan.Current { return &e.t.current }

func (e env) Drop(n *plan.Node, reason string) { e.t.drop(n, reason) }

func (e env) AtCommit(n *plan.Node, fn func() error) {
	e.t.hooks = append(e.t.hooks, hook{n, fn})
}

func (e env) StreamTime() int64 { return e.t.streamTime }

func (e env) WallTime() int64 { return e.t.now }

func (e env) EmitInterval() int64 { return e.t.cfg.EmitInterval }

func (e env) Observed(n *plan.Node) *int64 { return e.t.observed(n.Name) }

func (e env) AtTime(n *plan.Node, fn func(int64) error) {
	e.t.timed = append(e.t.timed, timed{n, fn})
}

func (e env) Schedule(n *plan.Node, s plan.Schedule, fn func(int64) error) func() {
	return e.t.schedule(n, s, fn)
}

func (e env) At() *int32 { return &e.t.at }

func (e env) Failed(n *plan.Node, stage plan.Stage, try int, err error) (bool, error) {
	return e.t.failed(n, stage, try, err)
}

func (e env) Panicked(v any) error { return e.t.panicked(v) }
