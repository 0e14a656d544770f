// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"container/heap"
	"math"
	"slices"
)

// What it costs to give a member one more task of a sub-topology. A task that moves
// away from its owner costs most; one that nobody has and that does not go to its
// home half of that, which is why a task that was just released is not drawn back.
// That a copy waits at the member decides between what is equal otherwise: a task
// that is being copied keeps its aim.
const (
	moveCost     = 1 << 16
	statefulCost = 16 * moveCost
	forbidden    = int64(math.MaxInt64)
)

// spread finds how many tasks of each sub-topology each member gets, within the
// quota and with the least cost.
func (p *problem) spread() [][]int {
	q := p.quota()
	f := &flow{rows: len(p.subs), cols: len(p.members), left: q.left, lo: q.lo, hi: q.hi}
	f.cost = make([]int64, f.rows*f.cols)
	f.pick = make([]bool, f.rows*f.cols)
	f.weight = make([]int, f.cols)
	for m := range p.members {
		f.weight[m] = p.capacity(m)
	}
	for s := range p.subs {
		p.costs(s, q, f.cost[s*f.cols:(s+1)*f.cols])
	}
	f.solve()
	for s := range q.floor {
		for m := range q.floor[s] {
			if f.pick[s*f.cols+m] {
				q.floor[s][m]++
			}
		}
	}
	return q.floor
}

// costs fills in what it costs to have one task more than the floor.
func (p *problem) costs(sub int, q *quota, row []int64) {
	full := int64(moveCost)
	if p.subs[sub].Stateful {
		full = statefulCost
	}
	owned, homes, copies := make([]int, len(row)), make([]int, len(row)), make([]int, len(row))
	for _, t := range p.of(sub) {
		if t.owner >= 0 {
			owned[t.owner]++
		} else if t.home >= 0 {
			homes[t.home]++
		}
		for _, h := range t.copies {
			if h.member != t.owner && h.member != t.home {
				copies[h.member]++
			}
		}
	}
	for m := range row {
		nth := q.floor[sub][m] + 1
		switch {
		case !q.more[sub][m]:
			row[m] = forbidden
		case nth <= owned[m]:
			row[m] = 0
		case nth <= owned[m]+homes[m]:
			row[m] = full / 2
		case nth <= owned[m]+homes[m]+copies[m]:
			row[m] = full - 1
		default:
			row[m] = full
		}
	}
}

// A flow picks cells of a table: left[r] of row r, and of each column between lo
// and hi, at the least cost. It begins with the cheapest cells of each row, which is
// optimal but for the bounds of the columns, and then moves single picks along
// shortest paths from columns that have too many to columns that have too few:
// successive shortest paths, with potentials (Ahuja, Magnanti, Orlin).
//
// Nodes are the columns, the sink that all columns drain to, and the rows.
type flow struct {
	rows, cols   int
	cost         []int64 // by row and column; forbidden: no such cell
	pick         []bool
	left, lo, hi []int
	weight       []int // of columns: the one with the least per weight gets what is equal

	count     []int // picks of a column
	drain     []int // how many of them go on to the sink: always within the bounds
	surplus   int   // what the sink has got beyond the number of all picks
	potential []int64
	dist      []int64
	done      []bool
	from      []int // the node before, on the shortest path
	queue     nodeQueue
}

func (f *flow) solve() {
	f.begin()
	nodes := f.cols + 1 + f.rows
	f.dist, f.done, f.from = make([]int64, nodes), make([]bool, nodes), make([]int, nodes)
	for {
		target := f.search()
		if target < 0 {
			return
		}
		f.augment(target)
	}
}

// begin picks the cheapest cells of each row.
func (f *flow) begin() {
	f.count = make([]int, f.cols)
	f.potential = make([]int64, f.cols+1+f.rows)
	order := make([]int, f.cols)
	for r := range f.rows {
		row := f.cost[r*f.cols : (r+1)*f.cols]
		for c := range order {
			order[c] = c
		}
		slices.SortFunc(order, func(a, b int) int {
			if row[a] != row[b] {
				return compareInt64(row[a], row[b])
			}
			return f.compareRoom(a, b)
		})
		for _, c := range order[:f.left[r]] {
			f.pick[r*f.cols+c] = true
			f.count[c]++
			f.potential[f.cols+1+r] = -row[c]
		}
	}
	f.drain = make([]int, f.cols)
	for c, n := range f.count {
		f.drain[c] = min(max(n, f.lo[c]), f.hi[c])
		f.surplus += f.drain[c] - n
	}
}

// excess is what a column or the sink has to pass on; below zero, what it lacks.
func (f *flow) excess(n int) int {
	if n == f.cols {
		return f.surplus
	}
	return f.count[n] - f.drain[n]
}

// compareRoom orders columns by how much they still need, then by how much they can take.
func (f *flow) compareRoom(a, b int) int {
	tier := func(c int) int {
		switch n := f.count[c]; {
		case n < f.lo[c]:
			return 0
		case n < f.hi[c]:
			return 1
		}
		return 2
	}
	if x, y := tier(a), tier(b); x != y {
		return x - y
	}
	if x, y := f.count[a]*f.weight[b], f.count[b]*f.weight[a]; x != y {
		return x - y
	}
	return a - b
}

func compareInt64(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// search finds the node with too little that is nearest to one with too much,
// -1 if nothing is out of bounds, and adjusts the potentials.
func (f *flow) search() int {
	for n := range f.dist {
		f.dist[n], f.done[n], f.from[n] = forbidden, false, -1
	}
	f.queue = f.queue[:0]
	for n := range f.cols + 1 {
		if f.excess(n) > 0 {
			f.reach(n, 0, -1)
		}
	}
	for len(f.queue) > 0 {
		n := heap.Pop(&f.queue).(entry).node
		if f.done[n] {
			continue
		}
		f.done[n] = true
		if n <= f.cols && f.excess(n) < 0 {
			for v, d := range f.dist {
				f.potential[v] += min(d, f.dist[n])
			}
			return n
		}
		f.expand(n)
	}
	return -1
}

func (f *flow) expand(n int) {
	sink := f.cols
	switch {
	case n < sink:
		for r := range f.rows {
			if i := r*f.cols + n; f.pick[i] {
				f.relax(n, sink+1+r, -f.cost[i])
			}
		}
		if f.drain[n] < f.hi[n] {
			f.relax(n, sink, 0)
		}
	case n == sink:
		for c := range f.cols {
			if f.drain[c] > f.lo[c] {
				f.relax(n, c, 0)
			}
		}
	default:
		r := n - sink - 1
		for c := range f.cols {
			if i := r*f.cols + c; !f.pick[i] && f.cost[i] != forbidden {
				f.relax(n, c, f.cost[i])
			}
		}
	}
}

func (f *flow) relax(from, to int, cost int64) {
	f.reach(to, f.dist[from]+cost+f.potential[from]-f.potential[to], from)
}

func (f *flow) reach(n int, d int64, from int) {
	if d < f.dist[n] {
		f.dist[n], f.from[n] = d, from
		heap.Push(&f.queue, entry{d, n})
	}
}

// augment moves one pick along the path to a node.
func (f *flow) augment(to int) {
	sink := f.cols
	for f.from[to] >= 0 {
		n := f.from[to]
		switch {
		case to == sink:
			f.drain[n]++
			f.surplus++
		case n == sink:
			f.drain[to]--
			f.surplus--
		case to > sink:
			f.pick[(to-sink-1)*f.cols+n] = false
			f.count[n]--
		default:
			f.pick[(n-sink-1)*f.cols+to] = true
			f.count[to]++
		}
		to = n
	}
}

type entry struct {
	dist int64
	node int
}

// nodeQueue is a heap of nodes, the nearest first, in an order that is always the same.
type nodeQueue []entry

func (q nodeQueue) Len() int { return len(q) }
func (q nodeQueue) Less(i, j int) bool {
	return q[i].dist < q[j].dist || q[i].dist == q[j].dist && q[i].node < q[j].node
}
func (q nodeQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *nodeQueue) Push(x any) { *q = append(*q, x.(entry)) }

// Pop implements heap.Interface.
func (q *nodeQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
