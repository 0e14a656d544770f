// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestSimulation runs seeds of simulated clients against a core whose log
// fails, and checks RELIABILITY's invariants of groups. SEED=n runs one.
func TestSimulation(t *testing.T) {
	seeds := uint64(60)
	switch {
	case testing.Short():
		seeds = 10
	case os.Getenv("MILLRACE_LONG") != "":
		seeds = 5000
	}
	if s := os.Getenv("SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		runSeed(t, n)
		return
	}
	first := rand.Uint64N(1 << 40)
	for i := range seeds {
		runSeed(t, first+i)
		if t.Failed() {
			return
		}
	}
}

func runSeed(t *testing.T, seed uint64) {
	t.Run(fmt.Sprint("SEED=", seed), func(t *testing.T) {
		w := newWorld(t, seed)
		for range 800 {
			w.act()
		}
		w.settle()
	})
}

const (
	simPartitions = 6 // of the one topic of the simulation
	simClients    = 5
)

// A world is a core, the log behind it, and clients that hold one request each
// at a time. It does what the shell does, one seeded choice after the other.
type world struct {
	*checkedCore
	rng     *rand.Rand
	clients []*simClient
	byToken map[token]*simRequest
	last    token
	fresh   int

	durable   []Record // below the high watermark
	pending   []Record // not yet
	committed uint64   // number of the last durable record of this core
	held      []reply

	// The model.
	owners   map[int32]map[int]string // generation, partition: owner, by instance or member id
	lastGen  int32                    // of the last assignment that was delivered
	commits  []int64                  // offsets in the order in which the core took them
	acked    int                      // index in commits of the last that was acknowledged
	nextSent int64
}

// A simClient is a consumer. Static ones keep their instance id for life.
type simClient struct {
	name       string
	instance   *string
	topics     string
	id         string
	generation int32
	leader     bool
	next       func() // request to send when it acts; nil: join
	stable     bool
	waiting    *simRequest
}

// A simRequest is a request on its way.
type simRequest struct {
	client   *simClient
	floor    int   // for a fetch: index of the last commit acknowledged before
	genFloor int32 // for a commit: the last assignment delivered before
	gen      int32 // for a commit and a sync: the generation it is of
	offset   int64 // for a commit
	member   string
}

func newWorld(t *testing.T, seed uint64) *world {
	cfg := testConfig(nil)
	cfg.InitialRebalanceDelay = 3 * time.Second
	w := &world{
		checkedCore: newCheckedCore(t, cfg),
		rng:         rand.New(rand.NewPCG(seed, 7)),
		byToken:     map[token]*simRequest{},
		owners:      map[int32]map[int]string{},
		commits:     []int64{-1},
	}
	for i := range simClients {
		c := &simClient{name: fmt.Sprint("c", i), topics: "t"}
		if i%2 == 1 {
			c.instance = kmsg.StringPtr(fmt.Sprint("static", i))
		}
		w.clients = append(w.clients, c)
	}
	return w
}

// act makes one random thing happen.
func (w *world) act() {
	switch n := w.rng.IntN(100); {
	case n < 55:
		w.clientActs(w.clients[w.rng.IntN(len(w.clients))])
	case n < 70:
		w.pass(time.Duration(w.rng.IntN(5000)) * time.Millisecond)
	case n < 84:
		w.appendEnds(1 + w.rng.IntN(3))
	case n < 85:
		w.appendFails()
	case n < 88:
		w.crash(w.clients[w.rng.IntN(len(w.clients))])
	case n < 92:
		w.send(nil, func(tk token) event {
			return fetchEvent{token: tk, group: "g", all: false, of: []topicPartition{{"t", 0}}}
		})
	case n < 93:
		w.leave(w.clients[w.rng.IntN(len(w.clients))])
	case n < 95:
		c := w.clients[w.rng.IntN(len(w.clients))]
		c.topics = []string{"t", "t+u"}[w.rng.IntN(2)]
		if c.waiting == nil {
			c.next = nil // rejoin
		}
	default:
		w.stray()
	}
}

// settle ends all faults: the living must come to one assignment of all
// partitions.
func (w *world) settle() {
	for round := 0; round < 400 && !w.atRest(); round++ {
		for _, c := range w.clients {
			w.clientActs(c)
		}
		w.appendEnds(1000)
		w.pass(500 * time.Millisecond)
	}
	w.appendEnds(1000)
	if g := w.core.groups["g"]; !w.atRest() {
		w.t.Fatalf("did not come to rest: %+v", g)
	}
}

// atRest reports whether all clients are members of one generation, and own
// all partitions.
func (w *world) atRest() bool {
	g := w.core.groups["g"]
	if g == nil || g.state != stateStable || len(g.members) != len(w.clients) {
		return false
	}
	for _, c := range w.clients {
		if !c.stable || c.generation != g.generation || g.byID[c.id] == nil {
			return false
		}
	}
	return len(w.owners[g.generation]) == simPartitions
}

// send steps the event that make returns, for a request of c; c may be nil.
func (w *world) send(c *simClient, event func(token) event) *simRequest {
	w.last++
	q := &simRequest{client: c, floor: w.acked, genFloor: w.lastGen}
	w.byToken[w.last] = q
	if c != nil {
		c.waiting = q
	}
	ev := event(w.last)
	if e, ok := ev.(commitEvent); ok {
		q.gen, q.member, q.offset = e.req.Generation, e.req.MemberID, e.req.Topics[0].Partitions[0].Offset
	}
	if e, ok := ev.(syncEvent); ok {
		q.gen, q.member = e.req.Generation, e.req.MemberID
	}
	w.take(w.step(ev))
	return q
}

func (w *world) take(fx effects) {
	for _, r := range fx.records {
		if strings.Contains(describeRecord(r), "offset g t/0=") {
			_, offset, _ := strings.Cut(describeRecord(r), "=")
			n, _ := strconv.ParseInt(offset, 10, 64)
			w.commits = append(w.commits, n)
		}
	}
	w.pending = append(w.pending, fx.records...)
	w.held = append(w.held, fx.replies...)
	w.release()
}

// release delivers the replies whose records are durable.
func (w *world) release() {
	held := w.held
	w.held = nil
	for _, r := range held {
		if r.after > w.committed {
			w.held = append(w.held, r)
			continue
		}
		w.deliver(r)
	}
}

// pass lets time go by, from deadline to deadline.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for !w.deadline.IsZero() && !w.deadline.After(end) {
		w.now = w.deadline
		w.take(w.step(nil))
	}
	w.now = end
}

// appendEnds makes up to n pending records durable.
func (w *world) appendEnds(n int) {
	n = min(n, len(w.pending))
	w.durable = append(w.durable, w.pending[:n]...)
	w.pending = w.pending[n:]
	w.committed += uint64(n)
	w.release()
}

// appendFails loses the pending records, all but some first ones, and loads
// the core from the log.
func (w *world) appendFails() {
	w.appendEnds(0)
	kept := w.rng.IntN(len(w.pending) + 1)
	lost := 0
	for _, r := range w.pending[kept:] {
		if strings.Contains(describeRecord(r), "offset g t/0=") {
			lost++
		}
	}
	w.commits = w.commits[:len(w.commits)-lost]
	w.durable = append(w.durable, w.pending[:kept]...)
	w.pending, w.held, w.committed = nil, nil, 0
	for _, q := range w.byToken { // refused: COORDINATOR_LOAD_IN_PROGRESS
		if q.client != nil && q.client.waiting == q {
			q.client.waiting = nil
		}
	}
	clear(w.byToken)
	w.take(w.restart(slices.Clone(w.durable)))
}

// crash makes c a new process that knows nothing. Its request goes on.
func (w *world) crash(c *simClient) {
	c.id, c.generation, c.leader, c.next, c.stable, c.waiting = "", 0, false, nil, false, nil
}

func (w *world) leave(c *simClient) {
	if c.id == "" || c.waiting != nil {
		return
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, "g"
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID, m.InstanceID = c.id, c.instance
	req.Members = append(req.Members, m)
	w.crash(c)
	w.send(nil, func(tk token) event { return leaveEvent{token: tk, req: req} })
}

// stray sends a request that no living client would: of a past generation, or
// of a member id that was replaced.
func (w *world) stray() {
	g := w.core.groups["g"]
	c := w.clients[w.rng.IntN(len(w.clients))]
	generation := c.generation - int32(w.rng.IntN(2))
	if g == nil || c.id == "" || generation < 0 {
		return
	}
	switch w.rng.IntN(3) {
	case 0:
		w.commit(nil, c, generation)
	case 1:
		req := syncRequest("g", c.id, generation, nil)
		req.InstanceID = c.instance
		if c.leader && generation == c.generation || c.waiting != nil {
			return
		}
		w.send(nil, func(tk token) event { return syncEvent{token: tk, req: req} })
	case 2:
		w.send(nil, func(tk token) event {
			return heartbeatEvent{token: tk, req: heartbeatRequest("g", c.id, generation)}
		})
	}
}

// clientActs has c send its next request, unless it waits for an answer.
func (w *world) clientActs(c *simClient) {
	switch {
	case c.waiting != nil:
	case c.next != nil:
		next := c.next
		c.next = nil
		next()
	case c.stable:
		if w.rng.IntN(2) == 0 {
			w.commit(c, c, c.generation)
			return
		}
		req := heartbeatRequest("g", c.id, c.generation)
		req.InstanceID = c.instance
		w.send(c, func(tk token) event { return heartbeatEvent{token: tk, req: req} })
	default:
		w.fresh++
		req := joinRequest("g", c.id)
		req.RebalanceTimeoutMillis = 15_000
		req.Version = []int16{3, 5, 9}[w.rng.IntN(3)]
		if c.instance != nil {
			req.Version = 9
		}
		req.InstanceID = c.instance
		req.Protocols[0].Metadata = subscribe(strings.Split(c.topics, "+")...)
		fresh := strconv.Itoa(w.fresh)
		w.send(c, func(tk token) event {
			return joinEvent{token: tk, client: Client{c.name, "/10.0.0.1"}, req: req, fresh: fresh}
		})
	}
}

// commit commits in the name of c; the answer is for to, which may be nil.
func (w *world) commit(to, c *simClient, generation int32) {
	w.nextSent++
	req := commitRequest("g", c.id, generation, "t", w.nextSent)
	req.InstanceID = c.instance
	w.send(to, func(tk token) event {
		return commitEvent{token: tk, req: req, names: []string{"t"}, codes: []int16{errNone}}
	})
}

// deliver hands a reply to its client, and checks what it says.
func (w *world) deliver(r reply) {
	q := w.byToken[r.token]
	delete(w.byToken, r.token)
	if q == nil {
		w.t.Fatalf("request %d was answered twice: %s", r.token, describe(r.body))
	}
	c := q.client
	if c != nil && c.waiting != q {
		c = nil // it has crashed since
	}
	if c != nil {
		c.waiting = nil
	}
	switch b := r.body.(type) {
	case []fetched:
		w.checkFetch(q, b[0].offset)
	case *kmsg.OffsetCommitResponse:
		code := b.Topics[0].Partitions[0].ErrorCode
		w.checkCommit(q, code)
		w.learn(c, code)
	case *kmsg.SyncGroupResponse:
		w.checkSync(q, b)
		if c != nil && b.ErrorCode == errNone {
			c.stable = true
		}
		w.learn(c, b.ErrorCode)
	case *kmsg.HeartbeatResponse:
		w.learn(c, b.ErrorCode)
	case *kmsg.JoinGroupResponse:
		w.joined(c, b)
	}
}

// learn has c react to an error as clients do.
func (w *world) learn(c *simClient, code int16) {
	if c == nil || code == errNone {
		return
	}
	c.stable = false
	switch code {
	case errRebalanceInProgress: // rejoin
	case errUnknownMemberID, errFencedInstanceID, errIllegalGeneration, errGroupIDNotFound:
		w.crash(c) // a fenced process is started again
	default:
		w.t.Fatalf("client %s got %s", c.name, codeName(code))
	}
}

func (w *world) joined(c *simClient, b *kmsg.JoinGroupResponse) {
	if c == nil {
		return
	}
	if b.ErrorCode == errMemberIDRequired {
		c.id = b.MemberID
		return
	}
	if b.ErrorCode != errNone {
		w.learn(c, b.ErrorCode)
		return
	}
	if b.Generation < c.generation && c.id == b.MemberID && c.stable {
		w.t.Fatalf("generation %d after %d", b.Generation, c.generation)
	}
	c.id, c.generation, c.leader, c.stable = b.MemberID, b.Generation, b.LeaderID == b.MemberID, false
	var assign map[string]string
	if c.leader && !b.SkipAssignment {
		assign = w.assignment(b)
	}
	c.next = func() {
		req := syncRequest("g", c.id, c.generation, nil)
		req.InstanceID = c.instance
		for _, id := range slices.Sorted(maps.Keys(assign)) {
			ga := kmsg.NewSyncGroupRequestGroupAssignment()
			ga.MemberID, ga.MemberAssignment = id, []byte(assign[id])
			req.GroupAssignment = append(req.GroupAssignment, ga)
		}
		w.send(c, func(tk token) event { return syncEvent{token: tk, req: req} })
	}
}

// assignment deals the partitions out to the members, at random.
func (w *world) assignment(b *kmsg.JoinGroupResponse) map[string]string {
	assign := map[string]string{}
	for p := range simPartitions {
		id := b.Members[w.rng.IntN(len(b.Members))].MemberID
		assign[id] += fmt.Sprintf("%d ", p)
	}
	return assign
}

// checkFetch: what was acknowledged before the fetch is not lost.
func (w *world) checkFetch(q *simRequest, offset int64) {
	at := slices.Index(w.commits, offset)
	if at < q.floor {
		w.t.Fatalf("fetched %d, number %d of %v, but number %d was acknowledged before", offset, at, w.commits, q.floor)
	}
	// What one reader saw, later ones see.
	w.acked = max(w.acked, at)
}

// checkCommit: acknowledged means durable, and no stale one is acknowledged.
func (w *world) checkCommit(q *simRequest, code int16) {
	if code != errNone {
		if slices.Contains(w.commits, q.offset) {
			w.t.Fatalf("commit of %d was refused with %s but took effect", q.offset, codeName(code))
		}
		return
	}
	at := slices.Index(w.commits, q.offset)
	if at < 0 {
		w.t.Fatalf("commit of %d was acknowledged but is not there", q.offset)
	}
	if q.gen < q.genFloor {
		w.t.Fatalf("commit of generation %d was taken after an assignment of generation %d", q.gen, q.genFloor)
	}
	durable := replayed(w.t, w.cfg, w.durable).groups["g"]
	if got := slices.Index(w.commits, durable.offsets[topicPartition{"t", 0}].offset); got < at {
		w.t.Fatalf("commit of %d was acknowledged but the log has an older one", q.offset)
	}
	w.acked = max(w.acked, at)
}

// checkSync: an assignment is durable before anybody is told, generations only
// grow, and a partition has one owner a generation.
func (w *world) checkSync(q *simRequest, b *kmsg.SyncGroupResponse) {
	if b.ErrorCode != errNone {
		return
	}
	if q.gen < w.lastGen {
		w.t.Fatalf("an assignment of generation %d after one of %d", q.gen, w.lastGen)
	}
	w.lastGen = q.gen
	durable := replayed(w.t, w.cfg, w.durable).groups["g"]
	if durable == nil || durable.generation < q.gen {
		w.t.Fatalf("the assignment of generation %d is not in the log", q.gen)
	}
	owner := q.member
	if q.client != nil && q.client.instance != nil {
		owner = *q.client.instance
	} else if i := strings.LastIndexByte(owner, '-'); strings.HasPrefix(owner, "static") {
		owner = owner[:i]
	}
	if w.owners[q.gen] == nil {
		w.owners[q.gen] = map[int]string{}
	}
	for f := range strings.FieldsSeq(string(b.MemberAssignment)) {
		p, _ := strconv.Atoi(f)
		if other, ok := w.owners[q.gen][p]; ok && other != owner {
			w.t.Fatalf("generation %d: partition %d is given to %s and %s", q.gen, p, other, owner)
		}
		w.owners[q.gen][p] = owner
	}
}
