// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/window"
)

// An Option is an option of an operator that makes a table with a store.
type Option interface{ applyTable(*tableOptions) }

type tableOptions struct {
	emit   window.EmitMode
	values any // a serde.Serde of the table's value type
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

func gather(options []Option) tableOptions {
	var o tableOptions
	for _, opt := range options {
		opt.applyTable(&o)
	}
	return o
}
