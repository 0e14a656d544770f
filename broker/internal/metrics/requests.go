// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"sync/atomic"
	"time"
)

// A Stage is a part of a request's time in the broker.
type Stage int

// The stages of a request, in their order. Wait is what Handle would have in it
// otherwise: for data, for an fsync, for replicas or for a group.
const (
	Queue  Stage = iota // from the arrival of its length: reading, waiting for memory and for the requests before it
	Handle              // in the handler, without Wait
	Wait                // parked
	Write               // sending the answer
	Total               // of all stages
	stages
)

// String is the value of the label "stage".
func (s Stage) String() string {
	return [...]string{"queue", "handle", "wait", "write", "total"}[s]
}

// Stages are all stages.
func Stages() []Stage { return []Stage{Queue, Handle, Wait, Write, Total} }

// A Request counts the requests of one key.
type Request struct {
	Count             atomic.Uint64
	InBytes, OutBytes atomic.Uint64 // of frames, lengths included
	took              [stages]Histogram
}

// A Timing is one request's way through the broker. It belongs to its
// connection and is used for one request after the other.
type Timing struct {
	of                    *Request
	arrived, began, ended time.Time
	waited                time.Duration
	bytes                 int
}

// Arrive starts a request that began to arrive at a time and has come in whole,
// with some bytes.
func (t *Timing) Arrive(at time.Time, bytes int) { *t = Timing{arrived: at, bytes: bytes} }

// Begin says whose handler runs from now on.
func (t *Timing) Begin(of *Request) { t.of, t.began = of, time.Now() }

// Waited says that the handler was parked since a time. With defer it takes one
// line.
func (t *Timing) Waited(since time.Time) { t.waited += time.Since(since) }

// End says that the handler is done, and whether it has done nothing but wait for
// another's answer.
func (t *Timing) End(waited bool) {
	t.ended = time.Now()
	if waited {
		t.waited = t.ended.Sub(t.began)
	}
}

// Finish counts the request, once its answer of some bytes has been sent. It
// does nothing for a request that no handler took.
func (t *Timing) Finish(bytes int) {
	if t.of == nil {
		return
	}
	now, handled := time.Now(), t.ended.Sub(t.began)
	r := t.of
	r.Count.Add(1)
	r.InBytes.Add(uint64(t.bytes))
	r.OutBytes.Add(uint64(bytes))
	r.took[Queue].Observe(t.began.Sub(t.arrived))
	r.took[Handle].Observe(handled - t.waited)
	r.took[Wait].Observe(t.waited)
	r.took[Write].Observe(now.Sub(t.ended))
	r.took[Total].Observe(now.Sub(t.arrived))
	t.of = nil
}

// Took is how long a stage took.
func (r *Request) Took(s Stage) *Histogram { return &r.took[s] }
