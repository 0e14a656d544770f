// SPDX-License-Identifier: Apache-2.0

package link

import (
	"slices"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link/batch"
)

const (
	// shipmentBytes is how much of batches a request carries, but for one that is larger.
	shipmentBytes = 8 << 20
	// shipments is how many requests may be under way to a broker.
	shipments = 5
	// keptBytes is how much memory of batches that were acknowledged is kept for others.
	keptBytes = 8 << 20
)

// outbox is what a lane has appended and what is not acknowledged of it: a core,
// which knows the time and the leaders as it is told. Of a partition one batch is under
// way at a time, so that nothing overtakes, whatever has to be sent again; what is
// appended meanwhile goes into the next one.
type outbox struct {
	linger time.Duration
	piles  map[Partition]*pile
	active []*pile       // that have something and are not under way
	under  map[int32]int // requests under way, by broker
	hurry  bool          // nothing waits for more records
	free   []*parcel     // to be filled again
	kept   int           // memory of free, in bytes
}

// pile is what waits for one partition.
type pile struct {
	at       Partition
	limit    int // of a batch, in bytes
	open     *parcel
	sealed   []*parcel // before open, in order
	away     bool      // the first of sealed is under way
	listed   bool      // in active
	sequence int32     // of the next batch's first record
	again    time.Time // before it nothing is sent
	tries    int       // of the first of sealed
	unknown  int       // tries for which the broker did not know the topic
}

// parcel is a batch on its way.
type parcel struct {
	batch.Builder
	scratch  batch.Scratch
	bytes    []byte // as it is sent; nil before the first time
	sequence int32  // of its first record
	numbered bool
	due      time.Time // when it waits no longer for more records
	cost     int64     // of the budget
	flight   *flight
	dests    []landing
}

// landing is where a destination's last record lies in a batch.
type landing struct {
	dest *Dest
	last int32
}

// shipment is a request: the first batches of piles, which one broker leads.
type shipment struct {
	node  int32 // -1: leaders are not known
	loads []load
	bytes int
}

// load is the first batch of a pile, under way. Until it is back, the batch and the pile's
// tries belong to whom the shipment was given.
type load struct {
	pile  *pile
	batch *parcel
}

func newOutbox(linger time.Duration) *outbox {
	return &outbox{linger: linger, piles: map[Partition]*pile{}, under: map[int32]int{}}
}

// pile gives a partition's.
func (o *outbox) pile(at Partition, limit int) *pile {
	p := o.piles[at]
	if p == nil {
		p = &pile{at: at, limit: limit}
		o.piles[at] = p
	}
	return p
}

// begun says that the next record of size bytes goes into a batch that has records.
func (p *pile) begun(size int) bool { return p.open != nil && p.open.Len()+size <= p.limit }

// begin has the next records of a pile go into a batch of their own, and gives when it is due.
func (o *outbox) begin(p *pile, f *flight, now time.Time) time.Time {
	p.seal()
	p.open = o.parcel(f)
	p.open.due = now.Add(o.linger)
	o.list(p)
	return p.open.due
}

// add takes a record of at most size bytes into the batch that has begun.
func (p *pile) add(d *Dest, size int, key, value []byte, timestamp int64, headers []plan.Header) {
	b := p.open
	b.Add(key, value, timestamp, headers)
	b.cost += int64(size)
	if d.Num == AnyPartition {
		return // nobody asks for its offsets
	}
	if n := len(b.dests); n > 0 && b.dests[n-1].dest == d {
		b.dests[n-1].last = b.Records() - 1
	} else {
		b.dests = append(b.dests, landing{d, b.Records() - 1})
	}
}

func (o *outbox) parcel(f *flight) *parcel {
	var b *parcel
	if n := len(o.free); n > 0 {
		b, o.free = o.free[n-1], o.free[:n-1]
		o.kept -= b.Cap()
	} else {
		b = &parcel{}
	}
	b.flight = f
	f.add()
	return b
}

// list makes a pile one that take looks at.
func (o *outbox) list(p *pile) {
	if !p.listed && !p.away {
		p.listed = true
		o.active = append(o.active, p)
	}
}

// seal ends the batch that is filled.
func (p *pile) seal() {
	if p.open != nil {
		p.sealed = append(p.sealed, p.open)
		p.open = nil
	}
}

// sealAll ends all batches: what is appended from now on does not go with them. false: there
// is nothing to send.
func (o *outbox) sealAll() bool {
	some := len(o.active) > 0
	for _, p := range o.piles {
		p.seal()
		some = some || p.away
	}
	return some
}

// ready says when a pile has something to send, at the earliest.
func (o *outbox) ready(p *pile) time.Time {
	if len(p.sealed) > 0 || o.hurry || p.again.After(p.open.due) {
		return p.again
	}
	return p.open.due
}

// take gives what is to be sent now, and when to look again: zero if that is for
// something else to say. What it gives is under way until back.
func (o *outbox) take(now time.Time, lead func(Partition) int32) (out []*shipment, next time.Time) {
	left := o.active[:0]
	for _, p := range o.active {
		at := o.ready(p)
		if at.After(now) {
			left = append(left, p)
			if next.IsZero() || at.Before(next) {
				next = at
			}
			continue
		}
		if !o.ship(&out, p, lead(p.at)) {
			left = append(left, p) // a request that comes back makes room
		}
	}
	clear(o.active[len(left):])
	o.active = left
	return out, next
}

// ship puts the first batch of a pile into a request. false: there are too many already.
func (o *outbox) ship(out *[]*shipment, p *pile, node int32) bool {
	size := p.first()
	i := slices.IndexFunc(*out, func(s *shipment) bool {
		return s.node == node && (node < 0 || s.bytes+size <= shipmentBytes)
	})
	if i < 0 {
		if node >= 0 && o.under[node] >= shipments {
			return false
		}
		o.under[node]++
		i = len(*out)
		*out = append(*out, &shipment{node: node})
	}
	if len(p.sealed) == 0 {
		p.seal()
	}
	b := p.sealed[0]
	if !b.numbered {
		b.sequence, b.numbered = p.sequence, true
		p.sequence = sequenceAfter(p.sequence, b.Records())
	}
	p.away, p.listed = true, false
	s := (*out)[i]
	s.loads = append(s.loads, load{p, b})
	s.bytes += size
	return true
}

// first is the size of the batch that goes next.
func (p *pile) first() int {
	if len(p.sealed) > 0 {
		return p.sealed[0].Len()
	}
	return p.open.Len()
}

// back ends a request, when for each batch of it landed or retry has been told, or neither: it
// goes again at once.
func (o *outbox) back(s *shipment) {
	o.under[s.node]--
	for _, l := range s.loads {
		p := l.pile
		p.away = false
		if p.open != nil || len(p.sealed) > 0 {
			o.list(p)
		}
	}
}

// landed takes the first batch of a pile away, which was acknowledged.
func (o *outbox) landed(p *pile) *parcel {
	b := p.sealed[0]
	p.sealed = slices.Delete(p.sealed, 0, 1)
	p.tries, p.unknown, p.again = 0, 0, time.Time{}
	return b
}

// retry has the first batch of a pile sent again, later.
func (o *outbox) retry(p *pile, now time.Time) {
	p.tries++
	p.again = now.Add(backoff(p.tries))
}

// drop takes away all that is not under way.
func (o *outbox) drop() []*parcel {
	var gone []*parcel
	for _, p := range o.piles {
		p.seal()
		keep := 0
		if p.away {
			keep = 1
		}
		gone = append(gone, p.sealed[keep:]...)
		p.sealed = slices.Delete(p.sealed, keep, len(p.sealed))
		p.listed = false
	}
	o.active = nil
	return gone
}

// recycle keeps a batch's memory for another one, unless there is enough.
func (o *outbox) recycle(b *parcel) {
	b.Reset()
	clear(b.dests)
	b.dests, b.bytes, b.flight, b.cost = b.dests[:0], nil, nil, 0
	b.numbered = false
	if o.kept+b.Cap() > keptBytes {
		return
	}
	o.kept += b.Cap()
	o.free = append(o.free, b)
}

// sequenceAfter follows Kafka: after the highest int32 comes 0.
func sequenceAfter(sequence, records int32) int32 {
	return int32((int64(sequence) + int64(records)) & 0x7fffffff)
}
