// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/assign"
	"github.com/millrace/millrace/internal/runtime/link"
)

// An App is a running instance of a plan. Its methods may be called concurrently.
type App struct {
	plan *plan.Plan
	cfg  Config
	log  *slog.Logger
	dir  *dataDir
	life *lifecycle

	hard       context.Context // its end ends everything at once
	stopHard   context.CancelCauseFunc
	closeReq   chan struct{} // closed: close in good order
	reqOnce    sync.Once
	failed     chan struct{} // closed with the first error
	done       chan struct{} // closed at the very end
	wg         sync.WaitGroup
	restores   chan struct{} // as many as may be restored at a time
	pressure   *pressure
	memory     *memory
	commits    atomic.Int64 // that ended well
	committing atomic.Int64 // ns that they took
	restarts   atomic.Int64 // of tasks after failures
	view       atomic.Pointer[assign.View]

	// Set by the control goroutine before joined is closed.
	cluster   link.Cluster
	clusterID string
	topics    atomic.Pointer[topicSet] // replaced by the watcher later, under mu
	globals   []*global
	member    link.Member
	workers   []*worker
	joined    chan struct{}
	unsure    chan struct{} // capacity 1: the watcher is to look at the topics now

	mu      sync.Mutex // a worker's mutex may be taken under it
	slots   map[TaskID]*slot
	owners  map[link.Partition]*slot
	dormant map[TaskID]int64         // states that lie on disk: see assign.Copy
	ended   map[TaskID]chan struct{} // closed when the stores of the task's last slot are
	seeks   []*slot                  // whose inputs are to be fetched from where they stand
	poke    context.CancelFunc       // makes the fetch loop look at seeks
	unknown []link.Partition         // that the group gave before the watcher knew of them
	inGroup bool
	closing bool
	away    bool
	err     error
}

// Start runs a plan and returns at once: a broker that is away is waited for. The
// end of ctx closes the App as Close does, within Config.CloseTimeout. The errors
// are those of the configuration and of the data directory, [ErrInUse] among them.
func Start(ctx context.Context, p *plan.Plan, cfg Config) (*App, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	log := cfg.Log.With("app", p.App)
	mem := newMemory(&cfg)
	a := &App{
		plan: p, cfg: cfg, log: log,
		life:     newLifecycle(cfg.Listener),
		closeReq: make(chan struct{}),
		failed:   make(chan struct{}),
		done:     make(chan struct{}),
		joined:   make(chan struct{}),
		unsure:   make(chan struct{}, 1),
		restores: make(chan struct{}, cfg.Restorers),
		pressure: newPressure(),
		memory:   mem,
		slots:    map[TaskID]*slot{}, owners: map[link.Partition]*slot{}, ended: map[TaskID]chan struct{}{},
		dormant: map[TaskID]int64{},
	}
	var err error
	if a.dir, err = openDataDir(cfg.Stores.Dir(), p.App); err != nil {
		return nil, err
	}
	lc := cfg.Link
	lc.Group, lc.OnAway, lc.Log = p.App, a.onAway, log
	if a.cluster, err = cfg.Connect(lc); err != nil {
		return nil, errors.Join(err, a.dir.close())
	}
	a.hard, a.stopHard = context.WithCancelCause(context.Background())
	a.wg.Go(a.life.run)
	go a.control(ctx)
	return a, nil
}

// Err is the error that the App failed with, nil if it runs or was closed.
func (a *App) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Done is closed when the App is closed or failed and holds nothing any more.
func (a *App) Done() <-chan struct{} { return a.done }

// State is what the App is doing.
func (a *App) State() State { return a.life.get() }

// Close commits what is processed, releases the tasks, leaves the group unless
// Config.Stay is set, and waits for the end. When ctx ends before, the rest is
// dropped: it is processed again by who takes the tasks over; the error is then
// that of ctx. The error of an App that has failed is that of Err. A second call
// waits as well.
func (a *App) Close(ctx context.Context) error {
	a.reqOnce.Do(func() { close(a.closeReq) })
	select {
	case <-a.done:
		return a.Err()
	case <-ctx.Done():
	}
	a.stopHard(errClosing)
	grace := time.NewTimer(2 * time.Second)
	defer grace.Stop()
	select {
	case <-a.done:
	case <-grace.C:
		return fmt.Errorf("close %s: user code does not return: %w", a.plan.App, ctx.Err())
	}
	return errors.Join(fmt.Errorf("close %s: %w", a.plan.App, ctx.Err()), a.Err())
}

var errClosing = errors.New("the application is closed")

// fail ends the App with an error. The first one counts.
func (a *App) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil || a.hard.Err() != nil {
		return
	}
	a.err = err
	close(a.failed)
}

// control is the life of the App, from the first connection to the last release.
func (a *App) control(ctx context.Context) {
	up, stopUp := context.WithCancel(a.hard)
	watched := make(chan struct{})
	go func() { // ends the connecting when the App is closed during it
		defer close(watched)
		select {
		case <-a.closeReq:
		case <-ctx.Done():
		case <-a.failed:
		case <-up.Done():
			return
		}
		stopUp()
	}()
	err := a.connect(up)
	if err == nil {
		a.log.Debug("started", "cluster", a.clusterID, "workers", len(a.workers), "instance", a.instance())
	} else if up.Err() == nil {
		a.fail(err)
	}
	fetching, stopFetch := context.WithCancel(a.hard)
	var fetchers sync.WaitGroup
	if a.member != nil {
		fetchers.Go(func() { a.fetch(fetching) })
		fetchers.Go(func() { a.probe(fetching) })
		fetchers.Go(func() { a.watch(fetching) })
	}
	select {
	case <-a.closeReq:
	case <-a.failed:
	case <-a.hard.Done():
	case <-ctx.Done():
		t := time.AfterFunc(a.cfg.CloseTimeout, func() { a.stopHard(errClosing) })
		defer t.Stop()
	}
	stopUp()
	<-watched
	stopFetch()
	a.mu.Lock()
	a.closing = true
	a.mu.Unlock()
	a.refresh()
	fetchers.Wait()
	a.shutDown()
}

// connect finds the cluster, sets the topics up and joins the group.
func (a *App) connect(ctx context.Context) error {
	var err error
	if a.clusterID, err = a.cluster.ID(ctx); err != nil {
		return err
	}
	others, err := a.dir.otherClusters(a.clusterID)
	if err != nil {
		return err
	}
	for _, dir := range others {
		a.log.Warn("state of this application under another cluster id is left aside: it belongs to other topics",
			"path", dir, "cluster", a.clusterID)
	}
	s, err := setUpTopics(ctx, a.cluster, a.plan, a.cfg.Replication)
	if err != nil {
		return err
	}
	a.warn(s.findings)
	a.tellLeftovers(ctx, s.matches)
	topics := newTopicSet(a.plan, s, nil)
	topics.limits = limitsOf(ctx, a.cluster, a.plan, a.log)
	a.topics.Store(topics)
	a.shareOut()
	if err := a.openGlobals(ctx); err != nil {
		return err
	}
	for range a.cfg.Workers {
		a.workers = append(a.workers, newWorker(a))
	}
	reads := topics.subscription(a.plan)
	member, err := a.cluster.Join(link.MemberConfig{
		Topics: reads.Topics, Resets: reads.Resets, Instance: a.instance(),
		SessionTimeout: a.cfg.SessionTimeout, RebalanceTimeout: a.cfg.RebalanceTimeout,
		Assigned: a.assigned, Revoked: a.revoked, Lost: a.lost,
		Balancing:   a.balancing(reads.Subs),
		FetchMemory: a.cfg.MemoryLimit / 16, PartitionMemory: a.partitionMemory(),
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.member = member
	a.inGroup = len(topics.topics) == 0 // there is nothing to join for yet
	a.mu.Unlock()
	for _, g := range a.globals {
		a.wg.Go(func() { g.run(a.hard) })
	}
	for _, w := range a.workers {
		a.wg.Go(func() { w.run(a.hard) })
		a.wg.Go(func() { w.runCommits(a.hard) })
	}
	close(a.joined)
	a.refresh()
	return nil
}

// fetch moves batches from the member to the tasks' queues. It gives full queues a
// moment, then pauses their inputs: one task that is slow holds no other up.
func (a *App) fetch(ctx context.Context) {
	for {
		if !a.pressure.ease(ctx) {
			a.mu.Lock()
			for _, s := range a.slots {
				for _, in := range s.inputs() {
					in.queue.hold()
				}
			}
			a.mu.Unlock()
		}
		batches, err := a.poll(ctx)
		if ctx.Err() != nil {
			a.member.Delivered()
			return
		}
		for i := range batches {
			a.deliver(batches[i])
		}
		a.seek()
		a.member.Delivered()
		if err != nil {
			a.fail(err)
			return
		}
	}
}

// poll is the member's, until there is something to seek.
func (a *App) poll(ctx context.Context) ([]link.Batch, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	a.poke = cancel
	if len(a.seeks) > 0 {
		cancel()
	}
	a.mu.Unlock()
	batches, err := a.member.Poll(ctx)
	if ctx.Err() != nil {
		err = nil
	}
	return batches, err
}

func (a *App) deliver(b link.Batch) {
	a.mu.Lock()
	s := a.owners[b.Partition]
	stale := s != nil && s.rewinding
	a.mu.Unlock()
	if s == nil || stale {
		return
	}
	in := s.inputs()[b.Partition]
	if in != nil && in.queue.push(b) {
		in.end.Store(b.End)
		in.fetched.Store(b.Records[len(b.Records)-1].Offset + 1)
		s.offer()
	}
}

// shutDown ends what connect has begun, in good order unless the App has failed.
func (a *App) shutDown() {
	a.release(a.Err() != nil)
	if a.member != nil {
		ctx := a.hard
		if a.Err() != nil {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(a.hard, 5*time.Second)
			defer cancel()
		}
		if err := a.member.Leave(ctx, a.cfg.Stay); err != nil && a.hard.Err() == nil {
			a.log.Warn("the group was not left: its other members wait for the session to end", "err", err)
		}
	}
	a.stopHard(errClosing)
	a.closeLanes()
	a.cluster.Close()
	a.refreshEnd()
	a.life.end()
	a.wg.Wait()
	a.abandon()
	a.closeGlobals()
	if err := a.dir.close(); err != nil {
		a.log.Warn("release the data directory", "err", err)
	}
	close(a.done)
}

// release ends all tasks, with a commit or, after a failure, without, and waits
// until they are released and their stores closed.
func (a *App) release(drop bool) {
	stop := context.AfterFunc(a.hard, a.closeLanes)
	defer stop()
	if drop {
		a.closeLanes()
	}
	a.mu.Lock()
	var all []*slot
	for _, s := range a.tasks() {
		all = append(all, s)
		a.end(s, drop)
	}
	a.mu.Unlock()
	for _, s := range all {
		select {
		case <-s.closed:
		case <-a.hard.Done():
			return
		case <-a.failedUnless(drop):
			a.release(true)
			return
		}
	}
}

// closeLanes makes workers go on that wait for room in their lanes.
func (a *App) closeLanes() {
	for _, w := range a.workers {
		w.closeLane()
	}
}

// failedUnless is the channel of a failure that is still to be noticed.
func (a *App) failedUnless(noticed bool) <-chan struct{} {
	if noticed {
		return nil
	}
	return a.failed
}

// abandon closes the stores of tasks that their workers did not get to release.
// No worker runs any more.
func (a *App) abandon() {
	a.mu.Lock()
	left := a.tasks()
	a.mu.Unlock()
	for _, s := range left {
		if !isClosed(s.closed) {
			s.discarded = true
			a.closeSlot(s)
		}
	}
}

// onAway follows the reach of the brokers; each change is told once.
func (a *App) onAway(cause error) {
	a.mu.Lock()
	changed := a.away != (cause != nil)
	a.away = cause != nil
	a.mu.Unlock()
	switch {
	case !changed:
	case cause != nil:
		a.log.Warn("no broker can be reached: waiting for one", "brokers", a.cfg.Link.Brokers, "cause", cause)
	default:
		a.log.Info("the broker is back")
	}
	a.refresh()
}

// refresh brings the state up to date.
func (a *App) refresh() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.life.set(a.stateNow())
}

func (a *App) stateNow() State {
	switch {
	case a.closing:
		return Closing
	case a.away:
		return WaitingForBroker
	case a.member == nil:
		return Created
	case !a.inGroup:
		return Rebalancing
	}
	for _, s := range a.slots {
		if s.phase != running {
			return Rebalancing
		}
	}
	return Running
}

func (a *App) refreshEnd() {
	if a.Err() != nil {
		a.log.Error("the application has failed", "err", a.Err())
		a.life.set(Failed)
		return
	}
	a.life.set(Closed)
}
