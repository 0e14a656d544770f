// SPDX-License-Identifier: Apache-2.0

package processor

import (
	"time"

	"github.com/millrace/millrace/internal/plan"
)

// A Policy says what becomes of a record that fails: that cannot be decoded, at
// which a function of the program returns an error or panics, or that cannot be
// written. It is given for the application, in [Config], or for one step, by the
// step's method OnError. The zero value is [Fail].
//
// A step that fails loses the record alone: what other branches of the topology do
// with it they still do, and what was stored before stays. A record that a policy
// goes on without is counted, and logged.
type Policy struct{ p plan.Policy }

// Fail ends the processing with the error: see [Config.OnFailure].
func Fail() Policy { return Policy{} }

// Skip goes on without the record.
func Skip() Policy { return Policy{plan.Policy{Action: plan.Skip}} }

// DeadLetter goes on without the record, and writes the record that came in from the
// source, with its key, value and headers as they were, to a topic of dead letters.
// The headers of KIP-1034 tell what happened: __streams.errors.exception (the type of
// the error), .message, .stacktrace, .topic, .partition and .offset.
func DeadLetter(topic string) Policy {
	return Policy{plan.Policy{Action: plan.DeadLetter, Topic: topic}}
}

// Retry calls a function that has returned an error again, up to times times, first
// after backoff, which doubles with each try, up to 30 s; other records of the
// worker wait meanwhile. Then p decides. What such a function has sent on or stored
// before it failed is done again. Only functions that return errors are tried again
// (Try forms, Process): a panic, or a record that cannot be decoded, goes to p at once.
func (p Policy) Retry(times int, backoff time.Duration) Policy {
	p.p.Retries, p.p.BackoffMs = times, backoff.Milliseconds()
	return p
}

// Plan is the policy as the packages of this module read it.
func (p Policy) Plan() plan.Policy { return p.p }

// Policies are those of the application as the packages of this module read them.
func (c Config) Policies() plan.Policies {
	return plan.Policies{
		plan.Decoding: c.OnDecodeError.p, plan.Processing: c.OnProcessError.p, plan.Producing: c.OnProduceError.p,
	}
}
