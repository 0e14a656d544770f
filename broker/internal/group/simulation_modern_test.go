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

// TestMixedSimulation runs seeds of clients of both protocols against one
// group: it is converted to and fro as they come and go, topics grow and are
// made anew, and the log fails. A partition never has two owners, and what was
// committed stays. SEED=n runs one.
func TestMixedSimulation(t *testing.T) {
	seeds := uint64(40)
	switch {
	case testing.Short():
		seeds = 5
	case os.Getenv("MILLRACE_LONG") != "":
		seeds = 5000
	}
	if s := os.Getenv("SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		runMixed(t, n)
		return
	}
	first := rand.Uint64N(1 << 40)
	upgrades, downgrades, granted := 0, 0, 0
	for i := range seeds {
		w := runMixed(t, first+i)
		if t.Failed() {
			return
		}
		upgrades, downgrades, granted = upgrades+w.upgrades, downgrades+w.downgrades, granted+w.granted
	}
	if !testing.Short() && (upgrades == 0 || downgrades == 0 || granted == 0) {
		t.Errorf("%d upgrades, %d downgrades, %d partitions given: this has tested nothing", upgrades, downgrades, granted)
	}
	t.Logf("%d upgrades, %d downgrades, %d partitions given", upgrades, downgrades, granted)
}

func runMixed(t *testing.T, seed uint64) (w *mixed) {
	t.Run(fmt.Sprint("SEED=", seed), func(t *testing.T) {
		w = newMixed(t, seed)
		for range 800 {
			w.act()
		}
		w.settle()
	})
	return w
}

// mixed is a core, the log behind it, and clients that hold one request each at
// a time.
type mixed struct {
	*checkedCore
	rng     *rand.Rand
	clients []*mixedClient
	byToken map[token]*mixedRequest
	last    token
	fresh   int

	durable   []Record
	pending   [][]Record // what each step made, which is appended together
	committed uint64
	held      []reply

	size, born byte // partitions and incarnation of topic t
	pure       bool // no classic clients: they know topics by name, so only without them t is made anew

	commits  []int64 // offsets in the order in which the core took them
	acked    int     // index in commits of the last that somebody knows of
	nextSent int64

	upgrades, downgrades, granted int // so that a test that tests nothing is seen
}

// mixedClient is a process. What it has is what it would work on.
type mixedClient struct {
	name     string
	instance *string
	classic  bool
	id       string
	epoch    int32 // or generation
	has      map[partitionID]bool
	tell     bool // what it has is to be told with the next heartbeat
	stable   bool // classic: has synced
	leader   bool
	assign   map[string][]byte // to send with the next sync, by the leader
	syncs    bool              // the next request is a sync
	regex    bool
	waiting  *mixedRequest
}

type mixedRequest struct {
	client *mixedClient
	floor  int
	offset int64
	epoch  int32
}

func newMixed(t *testing.T, seed uint64) *mixed {
	cfg := testConfig(nil)
	w := &mixed{
		checkedCore: newCheckedCore(t, cfg),
		rng:         rand.New(rand.NewPCG(seed, 8)),
		byToken:     map[token]*mixedRequest{},
		commits:     []int64{-1},
		size:        4,
		pure:        seed%4 == 0,
	}
	w.setTopics()
	for i := range 5 {
		c := &mixedClient{name: fmt.Sprint("c", i)}
		if i%2 == 1 {
			c.instance = kmsg.StringPtr(fmt.Sprint("static", i))
		}
		w.clients = append(w.clients, c)
		w.crash(c)
	}
	return w
}

func (w *mixed) setTopics() {
	w.topics = NewTopics([]Topic{{"t", [16]byte{1, w.born}, int32(w.size)}, {"u", [16]byte{2}, 3}})
	w.step(topicsEvent{w.topics})
}

func (w *mixed) act() {
	c := w.clients[w.rng.IntN(len(w.clients))]
	switch n := w.rng.IntN(200); {
	case n < 120:
		w.clientActs(c)
	case n < 150:
		w.pass(time.Duration(w.rng.IntN(6000)) * time.Millisecond)
	case n < 180:
		w.appendEnds(1 + w.rng.IntN(3))
	case n < 183:
		w.appendFails()
	case n < 186:
		w.crash(c)
	case n < 189:
		w.leave(c)
	case n < 190 && w.size < 9:
		w.size++
		w.setTopics()
	case n < 191 && w.pure && w.rng.IntN(2) == 0:
		w.born, w.size = w.born+1, 4
		w.setTopics()
	case n < 195:
		w.send(nil, func(tk token) event {
			return fetchEvent{token: tk, group: "g", epoch: -1, of: []topicPartition{{"t", 0}}}
		})
	default:
		if c.id != "" && c.epoch > 0 {
			w.commit(nil, c, c.epoch-int32(w.rng.IntN(2)))
		}
	}
	w.checkOwners()
}

// checkOwners: what a member works on is its own by the book of the group.
func (w *mixed) checkOwners() {
	g := w.core.groups["g"]
	if g == nil || g.modern == nil {
		return
	}
	for _, c := range w.clients {
		m := g.modern.members[c.id]
		if m == nil || m.classic != nil != c.classic {
			continue
		}
		for p := range c.has {
			if !m.assigned.has(p.topic, p.partition) && !m.revoking.has(p.topic, p.partition) {
				w.t.Fatalf("%s works on %v, which is not its own\n%s", c.id, p, g.modern.dump())
			}
		}
	}
}

// settle ends all faults: the living must come to have all partitions.
func (w *mixed) settle() {
	for round := 0; round < 600 && !w.atRest(); round++ {
		for _, c := range w.clients {
			w.clientActs(c)
			w.checkOwners()
		}
		w.appendEnds(1000)
		w.pass(500 * time.Millisecond)
	}
	w.appendEnds(1000)
	if !w.atRest() {
		g := w.core.groups["g"]
		text := fmt.Sprintf("%+v", g)
		if g != nil && g.modern != nil {
			text = g.modern.dump()
		}
		for _, c := range w.clients {
			text += fmt.Sprintf("\n%+v", *c)
		}
		w.t.Fatalf("did not come to rest: %s", text)
	}
}

func (w *mixed) atRest() bool {
	g := w.core.groups["g"]
	if g == nil || g.stateName() != "Stable" {
		return false
	}
	all := make(map[partitionID]bool)
	for _, c := range w.clients {
		if c.classic && (!c.stable || g.modern == nil && c.epoch != g.generation) || c.epoch <= 0 {
			return false
		}
		if g.modern != nil && g.modern.members[c.id] == nil || g.modern == nil && g.byID[c.id] == nil {
			return false
		}
		for p := range c.has {
			if all[p] {
				w.t.Fatalf("%v has two owners at rest", p)
			}
			all[p] = true
		}
	}
	return len(all) == int(w.topics.byName["t"].Partitions)
}

func (w *mixed) send(c *mixedClient, event func(token) event) *mixedRequest {
	w.last++
	q := &mixedRequest{client: c, floor: w.acked}
	w.byToken[w.last] = q
	if c != nil {
		c.waiting = q
	}
	ev := event(w.last)
	if e, ok := ev.(commitEvent); ok {
		q.offset, q.epoch = e.req.Topics[0].Partitions[0].Offset, e.req.Generation
	}
	w.take(w.step(ev))
	return q
}

func (w *mixed) take(fx effects) {
	for _, n := range fx.notes {
		switch n.text {
		case "classic group becomes a consumer group":
			w.upgrades++
		case "consumer group becomes a classic group":
			w.downgrades++
		}
	}
	w.commits = append(w.commits, commitsIn(fx.records)...)
	if len(fx.records) > 0 {
		w.pending = append(w.pending, fx.records)
	}
	w.held = append(w.held, fx.replies...)
	w.release()
}

// commitsIn returns the offsets of t/0 that recs commit.
func commitsIn(recs []Record) (offsets []int64) {
	for _, r := range recs {
		if _, offset, ok := strings.Cut(describeRecord(r), "offset g t/0="); ok {
			n, _ := strconv.ParseInt(offset, 10, 64)
			offsets = append(offsets, n)
		}
	}
	return offsets
}

func (w *mixed) release() {
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

func (w *mixed) pass(d time.Duration) {
	end := w.now.Add(d)
	for !w.deadline.IsZero() && !w.deadline.After(end) {
		w.now = w.deadline
		w.take(w.step(nil))
	}
	w.now = end
}

// appendEnds makes what up to n steps have written durable.
func (w *mixed) appendEnds(n int) {
	for range min(n, len(w.pending)) {
		w.durable = append(w.durable, w.pending[0]...)
		w.committed += uint64(len(w.pending[0]))
		w.pending = w.pending[1:]
	}
	w.release()
}

// appendFails loses what the last steps have written, and loads the core from
// the log.
func (w *mixed) appendFails() {
	kept := w.rng.IntN(len(w.pending) + 1)
	for _, recs := range w.pending[kept:] {
		w.commits = w.commits[:len(w.commits)-len(commitsIn(recs))]
	}
	for _, recs := range w.pending[:kept] {
		w.durable = append(w.durable, recs...)
	}
	if w.rng.IntN(3) > 0 { // the cleaner was there
		w.durable = compacted(w.durable)
	}
	w.pending, w.held, w.committed = nil, nil, 0
	for _, q := range w.byToken { // refused: COORDINATOR_LOAD_IN_PROGRESS
		if q.client != nil && q.client.waiting == q {
			q.client.waiting = nil
			q.client.tell = true
		}
	}
	clear(w.byToken)
	w.take(w.restart(slices.Clone(w.durable)))
}

// crash makes c a new process, which may speak the other protocol.
func (w *mixed) crash(c *mixedClient) {
	w.fresh++
	*c = mixedClient{name: c.name, instance: c.instance, classic: !w.pure && w.rng.IntN(2) == 0, regex: w.rng.IntN(4) == 0, has: map[partitionID]bool{}}
	if !c.classic {
		c.id = fmt.Sprint(c.name, "-", w.fresh)
	}
}

func (w *mixed) leave(c *mixedClient) {
	if c.id == "" || c.waiting != nil {
		return
	}
	id, epoch := c.id, int32(epochLeave)
	if c.instance != nil && w.rng.IntN(2) == 0 {
		epoch = epochLeaveStatic
	}
	if c.classic {
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group = 5, "g"
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID, m.InstanceID = id, c.instance
		req.Members = append(req.Members, m)
		w.crash(c)
		w.send(nil, func(tk token) event { return leaveEvent{token: tk, req: req} })
		return
	}
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = 1, "g", id, epoch, c.instance
	w.crash(c)
	w.send(nil, func(tk token) event { return consumerHeartbeatEvent{token: tk, req: req} })
}

func (w *mixed) clientActs(c *mixedClient) {
	switch {
	case c.waiting != nil:
	case !c.classic:
		if c.epoch > 0 && w.rng.IntN(4) == 0 {
			w.commit(c, c, c.epoch)
			return
		}
		w.beatConsumer(c)
	case c.syncs:
		c.syncs = false
		req := syncRequest("g", c.id, c.epoch, nil)
		req.InstanceID = c.instance
		for _, other := range slices.Sorted(maps.Keys(c.assign)) {
			ga := kmsg.NewSyncGroupRequestGroupAssignment()
			ga.MemberID, ga.MemberAssignment = other, c.assign[other]
			req.GroupAssignment = append(req.GroupAssignment, ga)
		}
		w.send(c, func(tk token) event { return syncEvent{token: tk, req: req} })
	case c.stable && w.rng.IntN(3) == 0:
		w.commit(c, c, c.epoch)
	case c.stable:
		req := heartbeatRequest("g", c.id, c.epoch)
		req.InstanceID = c.instance
		w.send(c, func(tk token) event { return heartbeatEvent{token: tk, req: req} })
	default:
		w.joinClassic(c)
	}
}

// beatConsumer sends a heartbeat, in full now and then.
func (w *mixed) beatConsumer(c *mixedClient) {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = 1, "g", c.id, c.epoch, c.instance
	full := c.epoch == 0 || w.rng.IntN(10) == 0
	if full {
		req.RebalanceTimeoutMillis = 15_000
		req.SubscribedTopicNames = []string{"t"}
		if c.regex {
			req.SubscribedTopicNames, req.SubscribedTopicRegex = []string{}, kmsg.StringPtr("t+")
		}
	}
	if full || c.tell {
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		of := make(partitions)
		for p := range c.has {
			of[p.topic] = append(of[p.topic], p.partition)
		}
		for id, ps := range of.inOrder() {
			slices.Sort(ps)
			rt := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			rt.TopicID, rt.Partitions = id, ps
			req.Topics = append(req.Topics, rt)
		}
		c.tell = false
	}
	w.send(c, func(tk token) event {
		return consumerHeartbeatEvent{token: tk, client: Client{c.name, "/10.0.0.1"}, req: req}
	})
}

// joinClassic sends a JoinGroup of an eager consumer: it lets go of all first.
func (w *mixed) joinClassic(c *mixedClient) {
	c.has = map[partitionID]bool{}
	w.fresh++
	req := joinRequest("g", c.id)
	req.RebalanceTimeoutMillis, req.Version, req.InstanceID = 15_000, 9, c.instance
	req.Protocols[0].Metadata = subscribe("t")
	if c.instance == nil && w.rng.IntN(3) == 0 {
		req.Version = 3
	}
	fresh := strconv.Itoa(w.fresh)
	w.send(c, func(tk token) event {
		return joinEvent{token: tk, client: Client{c.name, "/10.0.0.1"}, req: req, fresh: fresh}
	})
}

func (w *mixed) commit(to, c *mixedClient, epoch int32) {
	w.nextSent++
	req := commitRequest("g", c.id, epoch, "t", w.nextSent)
	req.Version, req.InstanceID = 9, c.instance
	w.send(to, func(tk token) event {
		return commitEvent{token: tk, req: req, names: []string{"t"}, codes: []int16{errNone}}
	})
}

func (w *mixed) deliver(r reply) {
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
		at := slices.Index(w.commits, b[0].offset)
		if at < q.floor {
			w.t.Fatalf("fetched %d, number %d of %v, but number %d was known before", b[0].offset, at, w.commits, q.floor)
		}
		w.acked = max(w.acked, at)
	case *kmsg.OffsetCommitResponse:
		code := b.Topics[0].Partitions[0].ErrorCode
		at := slices.Index(w.commits, q.offset)
		if (at >= 0) != (code == errNone) {
			w.t.Fatalf("commit of %d was answered %s, and is number %d", q.offset, codeName(code), at)
		}
		w.acked = max(w.acked, at)
		w.learn(c, code)
	case *kmsg.HeartbeatResponse:
		w.learn(c, b.ErrorCode)
	case *kmsg.JoinGroupResponse:
		w.joined(c, b)
	case *kmsg.SyncGroupResponse:
		w.synced(c, b)
	case *kmsg.ConsumerGroupHeartbeatResponse:
		w.beaten(c, b)
	}
}

// learn has c react to an error as clients do.
func (w *mixed) learn(c *mixedClient, code int16) {
	if c == nil || code == errNone {
		return
	}
	c.stable = false
	switch code {
	case errRebalanceInProgress:
	case errStaleMemberEpoch: // of a commit: wait for the next heartbeat
	case errUnreleasedInstanceID:
		c.epoch, c.has = 0, map[partitionID]bool{}
	case errUnknownMemberID, errFencedMemberEpoch, errGroupIDNotFound, errIllegalGeneration:
		c.epoch, c.has, c.assign, c.syncs = 0, map[partitionID]bool{}, nil, false
		if c.classic {
			c.id = ""
		}
	case errFencedInstanceID:
		w.crash(c)
	default:
		w.t.Fatalf("client %+v got %s", *c, codeName(code))
	}
}

func (w *mixed) beaten(c *mixedClient, b *kmsg.ConsumerGroupHeartbeatResponse) {
	if c == nil {
		return
	}
	if b.ErrorCode != errNone {
		w.learn(c, b.ErrorCode)
		return
	}
	if b.MemberEpoch < c.epoch {
		w.t.Fatalf("%s: epoch %d after %d", c.id, b.MemberEpoch, c.epoch)
	}
	c.epoch = b.MemberEpoch
	if b.Assignment == nil {
		return
	}
	before := c.has
	c.has = map[partitionID]bool{}
	for _, t := range b.Assignment.Topics {
		for _, p := range t.Partitions {
			at := partitionID{t.TopicID, p}
			c.has[at] = true
			if !before[at] {
				w.grant(c, at)
			}
		}
	}
	c.tell = true
}

// grant: nobody who is still in the group works on what c is given.
func (w *mixed) grant(c *mixedClient, p partitionID) {
	w.granted++
	g := w.core.groups["g"]
	for _, other := range w.clients {
		if other == c || !other.has[p] || g == nil {
			continue
		}
		if g.modern != nil && g.modern.members[other.id] != nil {
			w.t.Fatalf("%v is given to %s, but %s works on it\n%s", p, c.id, other.id, g.modern.dump())
		}
		if g.modern == nil && g.byID[other.id] != nil && other.epoch == c.epoch {
			w.t.Fatalf("%v is given to %s, but %s works on it in generation %d", p, c.id, other.id, c.epoch)
		}
	}
}

func (w *mixed) joined(c *mixedClient, b *kmsg.JoinGroupResponse) {
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
	c.id, c.epoch, c.leader, c.stable, c.syncs = b.MemberID, b.Generation, b.LeaderID == b.MemberID, false, true
	c.assign = nil
	if !c.leader || b.SkipAssignment {
		return
	}
	// The leader deals the partitions out, at random.
	byID := make(map[string][]int32)
	for p := range w.topics.byName["t"].Partitions {
		id := b.Members[w.rng.IntN(len(b.Members))].MemberID
		byID[id] = append(byID[id], p)
	}
	c.assign = make(map[string][]byte)
	for id, of := range byID {
		a := kmsg.ConsumerMemberAssignment{Topics: []kmsg.ConsumerMemberAssignmentTopic{{Topic: "t", Partitions: of}}}
		c.assign[id] = a.AppendTo(nil)
	}
}

func (w *mixed) synced(c *mixedClient, b *kmsg.SyncGroupResponse) {
	if c == nil {
		return
	}
	if b.ErrorCode != errNone {
		w.learn(c, b.ErrorCode)
		return
	}
	c.stable = true
	assigned, _, ok := readAssignment(b.MemberAssignment)
	if !ok {
		w.t.Fatalf("assignment % x", b.MemberAssignment)
	}
	for _, a := range assigned {
		for _, p := range a.partitions {
			at := partitionID{w.topics.byName[a.topic].ID, p}
			c.has[at] = true
			w.grant(c, at)
		}
	}
}
