// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"time"

	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/window"
)

// An Option is an option of an operator that makes a table with a store.
type Option interface{ applyTable(*tableOptions) }

type tableOptions struct {
	emit   window.EmitMode
	values any // a serde.Serde of the table's value type
	retain time.Duration
	store  string
}

type optionFunc func(*tableOptions)

func (f optionFunc) applyTable(o *tableOptions) { f(o) }

// Emit says when the table sends its changes on. The default is OnUpdate.
func Emit(mode window.EmitMode) Option {
	return optionFunc(func(o *tableOptions) { o.emit = mode })
}

// Values says how the table's values are encoded in its store and changelog.
// Without it the encoding is found by type. A must be the type of the values.
func Values[A any](s serde.Serde[A]) Option {
	return optionFunc(func(o *tableOptions) { o.values = s })
}

// Store gives a table that needs none a store of that name, with a changelog: for
// queries, and for joins that look rows up.
func Store(name string) Option {
	return optionFunc(func(o *tableOptions) { o.store = name })
}

// Retention says how long a window's row is kept after the window's start, by
// stream time: at least the window's size and grace, which is the default. For
// sessions: after their end.
func Retention(d time.Duration) Option {
	return optionFunc(func(o *tableOptions) { o.retain = d })
}

// valuesOf is the encoding of a table's values: what Values was given, else that
// found by type.
func valuesOf[A any](t *processor.Topology, o tableOptions, what string) serde.Serde[A] {
	given, ok := o.values.(serde.Serde[A])
	if !ok && o.values != nil {
		t.Graph().Fail(plan.Site(), "%s: Values was given %T, the table's values are of another type", what, o.values)
	}
	return flow.Values(t, given, what)
}

// retention is how long rows are kept, in ms, of windows that are done with after least.
func retention(t *processor.Topology, o tableOptions, least int64, what string) int64 {
	if o.retain == 0 {
		return least
	}
	if o.retain.Milliseconds() < least {
		t.Graph().Fail(plan.Site(), "%s: a retention of %s is shorter than the %d ms in which its windows change", what, o.retain, least)
	}
	return o.retain.Milliseconds()
}

func gather(options []Option) tableOptions {
	var o tableOptions
	for _, opt := range options {
		opt.applyTable(&o)
	}
	return o
}
