// SPDX-License-Identifier: Apache-2.0

package simtest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/assign"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// A program is what an instance runs: the counts of two topics together, of one by
// itself, and, in its newer version, a topic that is passed on with all that match a pattern.
type program struct {
	plan   *plan.Plan
	subs   []assign.Sub
	topics []string
}

func newProgram(newer bool) program {
	g := plan.NewGraph("app")
	count := func(name string, topics ...string) {
		st := g.AddStore(&plan.Store{Name: name, Site: "sim:1", Open: func(b state.Base, o state.Options) state.Store {
			return state.OpenKeyValue(name, serde.String, serde.Int64, b, o)
		}})
		var from []*plan.Node
		for _, t := range topics {
			from = append(from, g.Add(source(t)))
		}
		g.Add(counter(name, st), from...)
	}
	count("left", "left", "right")
	count("solo", "solo")
	if newer {
		g.Add(sink("out"), g.Add(source("pass")), g.Add(matching("pass-")))
	}
	p, err := g.Build()
	if err != nil {
		panic(err)
	}
	prog := program{plan: p}
	for _, s := range p.Subs {
		sub := assign.Sub{Name: s.Name, Stateful: len(s.Stores) > 0, Topics: s.Topics(nil), Patterns: s.Patterns()}
		slices.Sort(sub.Topics)
		prog.subs = append(prog.subs, sub)
		prog.topics = append(prog.topics, sub.Topics...)
	}
	return prog
}

func (p *program) sub(name string) *plan.Sub {
	i := slices.IndexFunc(p.plan.Subs, func(s *plan.Sub) bool { return s.Name == name })
	return p.plan.Subs[i]
}

func changelogOf(store string) string { return "app-" + store + "-changelog" }

type entry = func(key string, timestamp int64) error

func source(topic string) *plan.Node {
	return &plan.Node{
		Kind: plan.Source, Op: "source", Site: "sim:2", Topic: topic,
		Input: func(_ plan.Env, outs []any) (plan.Input, error) {
			var key string
			var at int64
			return plan.Input{
				Decode: func(r *plan.Raw, _ int64) (int64, error) {
					key, at = string(r.Key), r.Timestamp
					return at, nil
				},
				Run: func() error {
					for _, o := range outs {
						if err := o.(entry)(key, at); err != nil {
							return err
						}
					}
					return nil
				},
			}, nil
		},
	}
}

// matching is a source of all topics whose names begin so.
func matching(prefix string) *plan.Node {
	n := source("")
	n.Pattern = &plan.Pattern{Expr: prefix + ".*", Matches: func(topic string) bool { return strings.HasPrefix(topic, prefix) }}
	return n
}

func counter(name string, st *plan.Store) *plan.Node {
	return &plan.Node{
		Kind: plan.Operator, Op: "count", Site: "sim:3", Stores: []*plan.Store{st},
		Make: func(env plan.Env, _ []any) (any, error) {
			s, ok := env.Store(name).(*state.KeyValueStore[string, int64])
			if !ok {
				return nil, fmt.Errorf("store %q is of another kind", name)
			}
			return func(key string, at int64) error {
				c, err := s.Cell(key)
				if err == nil {
					s.Set(c, c.Value+1, at)
				}
				return err
			}, nil
		},
	}
}

func sink(topic string) *plan.Node {
	n := &plan.Node{Kind: plan.Sink, Op: "sink", Site: "sim:4", Topic: topic}
	n.Make = func(env plan.Env, _ []any) (any, error) {
		out := env.Output(n)
		return func(key string, at int64) error { return out([]byte(key), []byte("v"), at, nil) }, nil
	}
	return n
}
