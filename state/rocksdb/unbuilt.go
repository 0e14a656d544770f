// SPDX-License-Identifier: Apache-2.0

//go:build !rocksdb

package rocksdb

import "github.com/millrace/millrace/state"

const built = false

type shared struct{}

func newShared(limits) *shared { return &shared{} }

func (*shared) destroy() {}

func openDB(string, *shared, func()) (state.DB, error) { return nil, ErrNotBuilt }
