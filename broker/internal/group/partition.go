// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/mutant"
)

// A call is a request on its way through a partition.
type call struct {
	event  func(token) event
	answer chan answer // room for the one answer
}

// An answer is the body of a reply, or, with a code, that there is none.
type answer struct {
	body any
	code int16
}

const (
	firstReloadDelay = 100 * time.Millisecond // doubled each time
	maxReloadDelay   = 5 * time.Second
)

// A partition is the shell around one core. All fields below the channels
// belong to the goroutine in run.
//
//	        replay ended            append failed
//	Loading ------------> Active ------------------> Loading
//	  ^  | replay failed
//	  +--+
//
// The first failure is followed by a replay at once, further ones by a pause
// before it, until an append succeeds: a log that cannot be written to must not
// be read over and over.
//
// While an append is under way, further events are stepped and their records
// gather for the next one (group commit). There is no bound on these but the
// number of requests that wait for them.
type partition struct {
	id  int32
	cfg Config
	log *slog.Logger

	inbox    chan *call     // a few wait while an event is stepped; then callers do
	done     chan struct{}  // closed when run has returned
	replayed chan *core     // room for one: a replay never waits for the loop
	appended chan appending // likewise
	worker   sync.WaitGroup // the replay or the append under way

	core      *core // nil while loading
	lastToken token
	waiting   map[token]*call
	held      []reply  // replies that wait for records
	pending   []Record // records that wait for an append
	steps     []int    // how many of them each step made: they are appended together
	next      uint64   // number of the first record in pending
	committed uint64   // number of the last record below the high watermark
	busy      bool     // an append is under way
	timer     *time.Timer
	reload    time.Duration     // pause before the next replay
	deleted   map[string]uint64 // topics to drop, and the record that says so
}

// appending is the end of an append: of the records up to number last.
type appending struct {
	last uint64
	err  error
}

func newPartition(id int32, cfg Config) *partition {
	return &partition{
		id:       id,
		cfg:      cfg,
		log:      cfg.Logger.With("partition", id),
		inbox:    make(chan *call, 64),
		done:     make(chan struct{}),
		replayed: make(chan *core, 1),
		appended: make(chan appending, 1),
		waiting:  make(map[token]*call),
		deleted:  make(map[string]uint64),
	}
}

// run serves the partition until ctx ends.
func (p *partition) run(ctx context.Context) {
	defer close(p.done)
	p.timer = time.NewTimer(time.Hour)
	p.timer.Stop()
	defer p.timer.Stop()
	p.load(ctx)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case q := <-p.inbox:
			p.serve(ctx, q)
		case <-p.timer.C:
			p.tick(ctx)
		case loaded := <-p.replayed:
			p.activate(ctx, loaded)
		case a := <-p.appended:
			p.appendEnded(ctx, a)
		}
	}
	p.worker.Wait()
	p.refuseAll(errCoordinatorNotAvailable)
}

// serve steps a request, or refuses it while the log is replayed.
func (p *partition) serve(ctx context.Context, q *call) {
	p.lastToken++
	ev := q.event(p.lastToken)
	q.event = nil // a request that waits for long is not kept for as long
	if d, ok := ev.(topicDeletedEvent); ok {
		// It has no reply to wait for, and must outlive a failed append.
		p.deleted[d.topic] = 0
		if p.core != nil {
			p.dropTopics(ctx)
		}
		q.answer <- answer{}
		return
	}
	if p.core == nil && mutant.On(mutant.GroupEmptyWhileLoading) {
		p.core = newCore(p.cfg)
	}
	if p.core == nil {
		q.answer <- answer{code: errCoordinatorLoadInProgress}
		return
	}
	p.waiting[p.lastToken] = q
	if p.core.needsTopics(ev) {
		p.seeTopics(ctx)
	}
	p.take(ctx, p.core.step(time.Now(), ev))
}

// seeTopics tells the core of topics that were made, deleted or grown.
func (p *partition) seeTopics(ctx context.Context) {
	if topics := p.cfg.Topics(); topics != p.core.topics {
		p.take(ctx, p.core.step(time.Now(), topicsEvent{topics}))
	}
}

// tick fires the timers of the core, or tries to load again.
func (p *partition) tick(ctx context.Context) {
	if p.core == nil {
		p.load(ctx)
		return
	}
	p.take(ctx, p.core.step(time.Now(), nil))
}

// dropTopics steps the deletions of topics that are not in the log yet.
func (p *partition) dropTopics(ctx context.Context) {
	for _, topic := range slices.Sorted(maps.Keys(p.deleted)) {
		if p.deleted[topic] != 0 {
			continue
		}
		fx := p.core.step(time.Now(), topicDeletedEvent{topic})
		p.deleted[topic] = fx.seq
		if fx.seq <= p.committed {
			delete(p.deleted, topic)
		}
		p.take(ctx, fx)
	}
}

// take carries out the effects of a step.
func (p *partition) take(ctx context.Context, fx effects) {
	for _, n := range fx.notes {
		p.log.LogAttrs(ctx, slog.LevelInfo, n.text, n.attrs()...)
	}
	if n := len(fx.records); n > 0 {
		p.pending = append(p.pending, fx.records...)
		p.steps = append(p.steps, n)
	}
	for _, r := range fx.replies {
		if r.after > p.committed && !mutant.On(mutant.GroupAnswerBeforeAppend) {
			p.held = append(p.held, r)
			continue
		}
		p.answer(r)
	}
	if fx.deadline.IsZero() {
		p.timer.Stop()
	} else {
		p.timer.Reset(time.Until(fx.deadline))
	}
	p.startAppend(ctx)
}

// answer sends a reply. Nobody may be there any more: see Coordinator.
func (p *partition) answer(r reply) {
	if q, ok := p.waiting[r.token]; ok {
		delete(p.waiting, r.token)
		q.answer <- answer{body: r.body}
	}
}

// startAppend appends what is pending, as much as one append may hold, unless
// one is under way.
func (p *partition) startAppend(ctx context.Context) {
	if p.busy || len(p.pending) == 0 {
		return
	}
	n := p.nextAppend()
	recs := p.pending[:n:n]
	p.pending = p.pending[n:]
	if len(p.pending) == 0 {
		p.pending = nil
	}
	p.next += uint64(n)
	last := p.next - 1
	p.busy = true
	p.worker.Go(func() {
		p.appended <- appending{last, p.cfg.Log.Append(ctx, p.id, recs)}
	})
}

// nextAppend takes from steps what goes into one append, and returns how many
// records that are. The records of a step are one whole, such as a group that
// changes its type, and stay together unless they are too many for an append.
func (p *partition) nextAppend() int {
	size := 0
	fits := func(recs []Record) (n int) {
		for ; n < len(recs); n++ {
			size += len(recs[n].Key) + len(recs[n].Value)
			if size > p.cfg.MaxRecordBytes {
				return n
			}
		}
		return n
	}
	n, steps := 0, 0
	for ; steps < len(p.steps); steps++ {
		of := p.pending[n : n+p.steps[steps]]
		if fit := fits(of); fit < len(of) {
			if n == 0 { // too many in any case
				n = max(1, fit)
				p.steps[0] -= n
				if p.steps[0] > 0 {
					return n
				}
				steps++
			}
			break
		}
		n += len(of)
	}
	p.steps = p.steps[steps:]
	if len(p.steps) == 0 {
		p.steps = nil
	}
	return n
}

// appendEnded lets go of the replies that waited for the records of an append,
// or, if it failed, of the state that is ahead of the log.
func (p *partition) appendEnded(ctx context.Context, a appending) {
	p.busy = false
	if a.err != nil {
		if ctx.Err() == nil {
			p.log.Error("append to the offsets log; the groups are loaded again", "err", a.err)
			p.unload(ctx)
		}
		return
	}
	p.committed = a.last
	p.reload = 0
	held := p.held
	p.held = p.held[:0]
	for _, r := range held {
		if r.after > p.committed {
			p.held = append(p.held, r)
			continue
		}
		p.answer(r)
	}
	clear(held[len(p.held):])
	for topic, seq := range p.deleted {
		if seq != 0 && seq <= p.committed {
			delete(p.deleted, topic)
		}
	}
	p.startAppend(ctx)
}

// unload drops the state and begins to load it from the log.
func (p *partition) unload(ctx context.Context) {
	p.core, p.pending, p.steps, p.held = nil, nil, nil, nil
	for topic := range p.deleted {
		p.deleted[topic] = 0
	}
	p.refuseAll(errCoordinatorLoadInProgress)
	if p.reload == 0 {
		p.reload = firstReloadDelay
		p.load(ctx)
		return
	}
	p.loadLater()
}

// loadLater has tick load again after a pause.
func (p *partition) loadLater() {
	p.timer.Reset(p.reload)
	p.reload = min(2*p.reload, maxReloadDelay)
}

// refuseAll answers all requests that wait.
func (p *partition) refuseAll(code int16) {
	for t, q := range p.waiting {
		delete(p.waiting, t)
		q.answer <- answer{code: code}
	}
}

// load begins to replay the log into a new core.
func (p *partition) load(ctx context.Context) {
	p.timer.Stop()
	p.worker.Go(func() {
		c := newCore(p.cfg)
		if err := p.replay(ctx, c); err != nil {
			if ctx.Err() == nil {
				p.log.Error("replay the offsets log; tried again", "err", err)
			}
			c = nil
		}
		p.replayed <- c
	})
}

// replay reads the log into c. Records that cannot be decoded are reported and
// passed over: one damaged record must not take all groups away.
func (p *partition) replay(ctx context.Context, c *core) error {
	position := 0
	err := p.cfg.Log.Replay(ctx, p.id, func(key, value []byte, timestamp int64) error {
		err := c.replay(key, value)
		level := slog.LevelError
		if errors.Is(err, errUnknownKey) {
			level = slog.LevelDebug
		}
		if err != nil {
			p.log.Log(ctx, level, "record of the offsets log passed over",
				"position", position, "timestamp", timestamp, "err", err)
		}
		position++
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("replay partition %d after %d records: %w", p.id, position, err)
	}
	return nil
}

// activate takes a core that was loaded; nil means that the replay failed.
func (p *partition) activate(ctx context.Context, c *core) {
	if c == nil {
		p.reload = max(p.reload, firstReloadDelay)
		p.loadLater()
		return
	}
	p.core, p.committed, p.next = c, 0, 1
	c.topics = p.cfg.Topics()
	p.log.Debug("groups loaded", "groups", len(c.groups))
	p.take(ctx, c.loaded(time.Now()))
	p.missTopics()
	p.dropTopics(ctx)
}

// missTopics has the offsets dropped of topics that are there no more: they were
// deleted, and the broker died before the log said so.
func (p *partition) missTopics() {
	if p.cfg.TopicID == nil {
		return
	}
	for _, g := range p.core.groups {
		for tp := range g.offsets {
			if _, ok := p.cfg.TopicID(tp.topic); !ok {
				p.deleted[tp.topic] = 0
			}
		}
	}
}

// attrs returns what n tells besides its text.
func (n note) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("group", n.group)}
	if n.member != "" {
		attrs = append(attrs, slog.String("member", n.member))
	}
	if n.reason != "" {
		attrs = append(attrs, slog.String("reason", n.reason))
	}
	if n.members > 0 {
		attrs = append(attrs, slog.Int("members", n.members))
	}
	if n.generation > 0 {
		attrs = append(attrs, slog.Int("generation", int(n.generation)))
	}
	return attrs
}

// newUUID returns a random UUID (version 4), as Kafka ends member ids with.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
