// SPDX-License-Identifier: Apache-2.0

package ktable

import "github.com/millrace/millrace/internal/plan"

// A closing says when an operator that emits on close looks for what has closed. It
// follows maybeForwardFinalResult of Kafka Streams.
type closing struct {
	env plan.Env
	// done is the time of the last look: what closed by then was sent on. NoTime before
	// the first. It is committed, so that a restart neither skips a window nor sends one
	// twice.
	done *int64
	next int64 // the wall time before which there is no look
}

func newClosing(env plan.Env, name string) closing {
	return closing{env: env, done: env.Observed(&plan.Node{Name: name + " emitted"})} // no other name has a space
}

// look tells whether there is a look at the time to, and the time of the last one.
func (c *closing) look(to int64) (before int64, ok bool) {
	if interval := c.env.EmitInterval(); interval > 0 {
		now := c.env.WallTime()
		if now < c.next {
			return 0, false
		}
		c.next = now + interval
	}
	if before = *c.done; before >= to {
		return 0, false
	}
	*c.done = to
	return before, true
}
