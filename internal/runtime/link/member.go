// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/assign"
	core "github.com/millrace/millrace/internal/runtime/link/member"
)

// member is a [Member] by the classic group protocol with an assignor of our own.
type member struct {
	link   *Kafka
	cfg    MemberConfig
	client *kgo.Client
	cancel context.CancelFunc
	once   sync.Once
	group  *balancer
	in     intake
	wg     sync.WaitGroup

	mu     sync.Mutex
	topics []string
	resets map[string]plan.Reset
}

// An intake is how a member comes by its records.
type intake interface {
	poll(ctx context.Context) ([]Batch, error)
	delivered()
	pause(parts []Partition)
	resume(parts []Partition)
	seek(to map[Partition]int64)

	// options are what it needs of the group's client, and use gives that, before any of the
	// methods above is called.
	options() []kgo.Opt
	use(client *kgo.Client)
	// assigned and gone call a handler between a delivery and the next poll, for partitions
	// that are new, and paused, or that bring nothing more.
	assigned(client *kgo.Client, parts []Partition, handler func())
	gone(parts []Partition, handler func())
	// begin takes where new partitions begin, and gives what of it the client is to know.
	begin(offsets map[string]map[int32]kgo.Offset, resets map[string]plan.Reset) map[string]map[int32]kgo.Offset
	// stop ends it before the client is closed, and wait waits for what it has begun.
	stop()
	wait()
}

// Join implements [Cluster].
func (k *Kafka) Join(cfg MemberConfig) (Member, error) {
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = 45 * time.Second
	}
	if cfg.RebalanceTimeout == 0 {
		cfg.RebalanceTimeout = time.Minute
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{
		link: k, cfg: cfg, cancel: cancel,
		group:  newBalancer(&cfg, k.cfg.Log),
		topics: cfg.Topics, resets: cfg.Resets,
	}
	m.in = k.intake(&cfg)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		cancel()
		return nil, ErrClosed
	}
	var err error
	if m.client, err = k.client(ctx, m.options()...); err != nil {
		cancel()
		return nil, fmt.Errorf("join the group: %w", err)
	}
	m.in.use(m.client)
	k.members = append(k.members, m)
	return m, nil
}

// intake is one of batches, unless an option of the client's needs its own way: a rack, by which
// it picks the replica (KIP-392), or a hook that is told of fetches.
func (k *Kafka) intake(cfg *MemberConfig) intake {
	size := newFetchSize(cfg.FetchMemory, cfg.PartitionMemory)
	rack, _ := k.main.OptValue(kgo.Rack).(string)
	told := hooked(k.main, func(h kgo.Hook) bool {
		switch h.(type) {
		case kgo.HookFetchBatchRead, kgo.HookFetchRecordBuffered, kgo.HookFetchRecordUnbuffered:
			return true
		}
		return false
	})
	if k.cfg.ByRecord || rack != "" || told {
		return &records{size: size}
	}
	return newFetcher(k, size, cfg.FetchMemory)
}

func (m *member) options() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ConsumerGroup(m.link.cfg.Group),
		kgo.ConsumeTopics(m.cfg.Topics...),
		kgo.Balancers(m.group),
		kgo.WithHooks(m.group),
		kgo.DisableAutoCommit(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AdjustFetchOffsetsFn(m.begin),
		kgo.SessionTimeout(m.cfg.SessionTimeout),
		kgo.RebalanceTimeout(m.cfg.RebalanceTimeout),
		kgo.HeartbeatInterval(min(3*time.Second, m.cfg.SessionTimeout/3)),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.FetchMaxBytes(16 << 20),
		kgo.FetchMaxPartitionBytes(1 << 20),
		kgo.MetadataMaxAge(time.Minute),
		kgo.OnPartitionsAssigned(m.assigned),
		kgo.OnPartitionsRevoked(m.revoked),
		kgo.OnPartitionsLost(m.lost),
	}
	if m.cfg.Instance != "" {
		opts = append(opts, kgo.InstanceID(m.cfg.Instance))
	}
	return append(opts, m.in.options()...)
}

// begin tells where new partitions begin: at the committed offsets, or where their topics do.
func (m *member) begin(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	m.mu.Lock()
	resets := m.resets
	m.mu.Unlock()
	return m.in.begin(offsets, resets), nil
}

// assigned runs before the first record of new partitions is fetched.
func (m *member) assigned(_ context.Context, cl *kgo.Client, by map[string][]int32) {
	parts := partitions(by)
	m.in.assigned(cl, parts, func() {
		m.group.own(parts, true)
		m.cfg.Assigned(parts)
	})
}

func (m *member) revoked(_ context.Context, _ *kgo.Client, by map[string][]int32) {
	if len(by) == 0 {
		return
	}
	parts := partitions(by)
	m.in.gone(parts, func() {
		m.cfg.Revoked(parts)
		m.group.own(parts, false)
	})
}

func (m *member) lost(_ context.Context, _ *kgo.Client, by map[string][]int32) {
	parts := partitions(by)
	m.in.gone(parts, func() {
		m.group.own(parts, false)
		if len(parts) > 0 {
			m.cfg.Lost(parts)
		}
	})
}

// Poll implements [Member].
func (m *member) Poll(ctx context.Context) ([]Batch, error) { return m.in.poll(ctx) }

// Delivered implements [Member].
func (m *member) Delivered() { m.in.delivered() }

// fetchError tells what ends a partition from what the client gets over by itself.
func fetchError(ctx context.Context, p Partition, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return context.Cause(ctx)
	}
	if errors.Is(err, kerr.FencedInstanceID) {
		return ErrFenced
	}
	if _, ok := errors.AsType[*kgo.ErrGroupSession](err); ok || kerr.IsRetriable(err) {
		return nil // it joins again, and tells of what is lost
	}
	if _, ok := errors.AsType[*kgo.ErrDataLoss](err); ok {
		return nil
	}
	return fmt.Errorf("fetch %s: %w", p, err)
}

// Pause implements [Member].
func (m *member) Pause(parts ...Partition) { m.in.pause(parts) }

// Resume implements [Member].
func (m *member) Resume(parts ...Partition) { m.in.resume(parts) }

// Seek implements [Member].
func (m *member) Seek(to map[Partition]int64) { m.in.seek(to) }

// Commit implements [Member]. The client itself holds a commit back while the
// group joins; what is refused all the same (the commit was on its way when the
// generation ended) is tried again.
func (m *member) Commit(ctx context.Context, offsets map[Partition]Position) error {
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		annotate(req, offsets)
		return nil
	})
	mine := m.group.commit(offsets)
	for try := 1; ; try++ {
		left := m.filter(mine, offsets)
		if len(left) == 0 {
			return nil
		}
		again, unknown, err := m.commit(ctx, left)
		if err != nil || !again {
			return err
		}
		if try >= unknownTries && len(unknown) > 0 {
			m.link.cfg.Log.Debug("offsets are not committed: the group does not know the topics", "topics", unknown)
			offsets = maps.Clone(offsets)
			maps.DeleteFunc(offsets, func(p Partition, _ Position) bool { return slices.Contains(unknown, p.Topic) })
		}
		if err := wait(ctx, try); err != nil {
			return fmt.Errorf("commit offsets: %w", err)
		}
	}
}

// filter keeps what this member has owned since the commit began.
func (m *member) filter(mine *core.Commit, offsets map[Partition]Position) map[string]map[int32]kgo.EpochOffset {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	left := map[string]map[int32]kgo.EpochOffset{}
	for p, pos := range offsets {
		if !mine.Holds(assign.Partition(p)) {
			continue
		}
		if left[p.Topic] == nil {
			left[p.Topic] = map[int32]kgo.EpochOffset{}
		}
		left[p.Topic][p.Num] = kgo.EpochOffset{Epoch: pos.Epoch, Offset: pos.Offset}
	}
	return left
}

// unknownTries is how often the offset of a topic is committed that the group's
// coordinator does not know. A new topic is known soon; of one that was deleted there is
// nothing to commit, and what is committed with it shall not wait. It takes 3 s.
const unknownTries = 6

// commit sends a commit. again says that some of it is to be tried again, unknown are
// those topics of it that the coordinator does not know.
func (m *member) commit(ctx context.Context, offsets map[string]map[int32]kgo.EpochOffset) (again bool, unknown []string, err error) {
	m.client.CommitOffsetsSync(ctx, offsets, func(
		_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, cerr error,
	) {
		if cerr != nil {
			err = fmt.Errorf("commit offsets: %w", cerr)
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				perr := kerr.ErrorForCode(p.ErrorCode)
				switch core.Judge(perr) {
				case core.Done:
				case core.Fenced:
					err = fmt.Errorf("commit offsets: %w", ErrFenced)
				case core.Again:
					again = true
					if errors.Is(perr, kerr.UnknownTopicOrPartition) {
						unknown = append(unknown, t.Topic)
					}
				case core.Failed:
					err = fmt.Errorf("commit the offset of %s-%d: %w", t.Topic, p.Partition, perr)
				}
			}
		}
	})
	return again, unknown, err
}

// annotate adds the metadata, which the client leaves to be filled in.
func annotate(req *kmsg.OffsetCommitRequest, offsets map[Partition]Position) {
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if pos := offsets[Partition{t.Topic, p.Partition}]; pos.Metadata != "" {
				p.Metadata = &pos.Metadata
			}
		}
	}
}

// Subscribe implements [Member]. A topic that the client does not know yet is joined for
// as soon as it does, and so are partitions that were added to one, by the group's leader.
func (m *member) Subscribe(ctx context.Context, s Subscription) {
	m.mu.Lock()
	before := m.topics
	m.topics, m.resets = s.Topics, s.Resets
	m.mu.Unlock()
	gone := without(before, s.Topics)
	m.group.subscribe(s.Subs, gone)
	if len(gone) > 0 {
		purged := make(chan struct{})
		m.wg.Go(func() { // it waits for a broker that is away
			defer close(purged)
			m.client.PurgeTopicsFromConsuming(gone...)
		})
		select {
		case <-purged:
		case <-ctx.Done():
			return
		}
	}
	m.client.AddConsumeTopics(without(s.Topics, before)...)
	m.client.ForceMetadataRefresh()
}

// without gives what is in a and not in b.
func without(a, b []string) []string {
	var left []string
	for _, s := range a {
		if !slices.Contains(b, s) {
			left = append(left, s)
		}
	}
	return left
}

// Rebalance implements [Member].
func (m *member) Rebalance() { m.group.again() }

// Leave implements [Member].
func (m *member) Leave(ctx context.Context, stay bool) error {
	m.in.delivered()
	id, _ := m.client.GroupMetadata()
	err := m.client.LeaveGroupContext(ctx) // sends nothing for a static member
	if err == nil && m.cfg.Instance != "" && !stay && id != "" {
		err = m.leaveStatic(ctx, id)
	}
	if err != nil {
		err = fmt.Errorf("leave the group: %w", err)
	}
	m.close()
	return err
}

func (m *member) leaveStatic(ctx context.Context, id string) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = m.link.cfg.Group, id
	who := kmsg.NewLeaveGroupRequestMember()
	who.MemberID, who.InstanceID = id, &m.cfg.Instance
	who.Reason = kmsg.StringPtr("closed")
	req.Members = append(req.Members, who)
	resp, err := req.RequestWith(ctx, asker{m.link.main})
	if err != nil {
		return err
	}
	errs := []error{kerr.ErrorForCode(resp.ErrorCode)}
	for _, gone := range resp.Members {
		errs = append(errs, kerr.ErrorForCode(gone.ErrorCode))
	}
	err = errors.Join(errs...)
	if errors.Is(err, kerr.UnknownMemberID) {
		return nil // it is gone already
	}
	return err
}

// close ends the client without waiting for a broker.
func (m *member) close() {
	m.once.Do(func() {
		m.in.stop()
		m.cancel()
		m.client.CloseAllowingRebalance()
		m.in.wait()
		m.wg.Wait()
	})
}

func partitions(by map[string][]int32) []Partition {
	var parts []Partition
	for topic, nums := range by {
		for _, n := range nums {
			parts = append(parts, Partition{topic, n})
		}
	}
	return parts
}

func numbers(parts []Partition) map[string][]int32 {
	by := make(map[string][]int32)
	for _, p := range parts {
		by[p.Topic] = append(by[p.Topic], p.Num)
	}
	return by
}
