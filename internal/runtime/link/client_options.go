// SPDX-License-Identifier: Apache-2.0

package link

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ClientOptions are the options of a franz-go client for the same cluster, with
// the same way to it and the same security.
func (c Config) ClientOptions() []kgo.Opt {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return append(c.options(), c.Extra...)
}
