// SPDX-License-Identifier: Apache-2.0

package assign

import "math/big"

// A quota says how many tasks each member may get. Its fair part of a
// sub-topology's n tasks is n times its part of the capacity, which is no whole
// number; it gets that rounded down or up, and so it is with the sum of all its
// tasks. Then the loads of two members, by unit of capacity, differ by at most one.
// That both can be had at once is the theorem of controlled rounding.
type quota struct {
	floor [][]int  // by sub-topology and member: what it gets at least
	more  [][]bool // it may get one more
	left  []int    // by sub-topology: tasks above the floors
	lo    []int    // by member: how many of those it gets at least
	hi    []int    // and at most
}

func (p *problem) quota() *quota {
	q := &quota{left: make([]int, len(p.subs))}
	fair := make([]fraction, len(p.members))
	floors := make([]int, len(p.members))
	for s := range p.subs {
		l := &p.subs[s]
		floor, more := make([]int, len(p.members)), make([]bool, len(p.members))
		n := l.end - l.first
		q.left[s] = n
		for _, m := range l.members {
			part := n * p.capacity(m)
			floor[m], more[m] = part/l.capacity, part%l.capacity != 0
			q.left[s] -= floor[m]
			floors[m] += floor[m]
			fair[m].add(part, l.capacity)
		}
		q.floor, q.more = append(q.floor, floor), append(q.more, more)
	}
	for m := range p.members {
		lo, hi := fair[m].bounds()
		q.lo, q.hi = append(q.lo, lo-floors[m]), append(q.hi, hi-floors[m])
	}
	return q
}

// A fraction is a sum of fractions. Those with one denominator, nearly always all,
// are summed up as integers.
type fraction struct {
	num, den int
	rest     *big.Rat
}

func (f *fraction) add(num, den int) {
	if f.den == den || f.den == 0 {
		f.num, f.den = f.num+num, den
		return
	}
	if f.rest == nil {
		f.rest = new(big.Rat)
	}
	f.rest.Add(f.rest, big.NewRat(int64(num), int64(den)))
}

// bounds rounds down and up.
func (f *fraction) bounds() (lo, hi int) {
	if f.den == 0 {
		return 0, 0
	}
	sum := big.NewRat(int64(f.num), int64(f.den))
	if f.rest != nil {
		sum.Add(sum, f.rest)
	}
	lo = int(new(big.Int).Div(sum.Num(), sum.Denom()).Int64())
	if sum.IsInt() {
		return lo, lo
	}
	return lo, lo + 1
}
