// SPDX-License-Identifier: Apache-2.0

package processor

import "github.com/millrace/millrace/internal/plan"

// A Record is one event on its way through a topology.
type Record[K, V any] struct {
	Key       K
	Value     V
	Timestamp int64    // event time, ms since the Unix epoch
	Headers   []Header // shared with other records: never changed in place
}

// A Header is one header of a record. A nil Value is a null.
type Header = plan.Header
