// SPDX-License-Identifier: Apache-2.0

package topic

import (
	"runtime"

	"github.com/millrace/millrace/serde"
)

// NoKey is the key type of a topic whose keys do not matter: it reads any key,
// also none, and writes none. It is always a null: grouping needs another key.
type NoKey struct{}

// Unkeyed is the topic of that name whose keys do not matter; V is encoded as
// in [Of].
func Unkeyed[V any](name string) Topic[NoKey, V] {
	t := Of[NoKey, V](name).Keys(noKey)
	var pcs [1]uintptr
	runtime.Callers(2, pcs[:])
	t.pc = pcs[0]
	return t
}

var noKey = serde.Serde[NoKey]{
	Name:   "none",
	Append: func(dst []byte, _ NoKey) ([]byte, error) { return dst, nil },
	Decode: func([]byte) (NoKey, error) { return NoKey{}, nil },
	IsNull: func(NoKey) bool { return true },
}
