// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// fill creates a topic of partitions with records in each.
func (f *franz) fill(scenario string, partitions int) (string, error) {
	name, err := f.create(scenario, int32(partitions))
	if err != nil {
		return "", err
	}
	var send []*kgo.Record
	for p := range partitions {
		for i := range groupEach {
			send = append(send, &kgo.Record{Topic: name, Partition: int32(p), Value: []byte(groupValue(p, i))})
		}
	}
	return name, f.produce(send)
}

// commits: what is committed is where the next consumer goes on; seek; pause.
func (f *franz) commits(scenario string) error {
	name, err := f.fill(scenario, 2)
	if err != nil {
		return err
	}
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: name, Partition: 0, At: 4, LeaderEpoch: -1, Metadata: "note"})
	if err := f.admin.CommitAllOffsets(f.ctx, name, offsets); err != nil {
		return err
	}
	committed, err := f.admin.FetchOffsetsForTopics(f.ctx, name, name)
	if err != nil {
		return err
	}
	for p := range int32(2) {
		o, _ := committed.Lookup(name, p)
		f.out.got(scenario, fmt.Sprintf("committed of %d", p), []any{o.At, o.Metadata})
	}
	cl, err := f.client(kgo.ConsumerGroup(name), kgo.ConsumeTopics(name), kgo.DisableAutoCommit())
	if err != nil {
		return err
	}
	defer cl.Close()
	read, err := f.poll(cl, 2*groupEach-4)
	if err != nil {
		return err
	}
	f.out.got(scenario, "first of each after the commit", firsts(read))
	cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{name: {0: {Epoch: -1, Offset: 7}}})
	if read, err = f.poll(cl, groupEach-7); err != nil {
		return err
	}
	f.out.got(scenario, "first after seek", firsts(read))
	cl.PauseFetchPartitions(map[string][]int32{name: {0}})
	cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{name: {0: {Epoch: -1, Offset: 0}, 1: {Epoch: -1, Offset: 0}}})
	if read, err = f.poll(cl, groupEach); err != nil {
		return err
	}
	f.out.got(scenario, "first while 0 is paused", firsts(read))
	cl.ResumeFetchPartitions(map[string][]int32{name: {0}})
	if read, err = f.poll(cl, groupEach); err != nil {
		return err
	}
	f.out.got(scenario, "first after resume", firsts(read))
	return nil
}

// firsts are the first values of each partition.
func firsts(read []*kgo.Record) map[string]string {
	all := make(map[string]string)
	for _, r := range read {
		if p := fmt.Sprint(r.Partition); all[p] == "" {
			all[p] = string(r.Value)
		}
	}
	return all
}

// franzMember is a consumer of a group that polls in a goroutine of its own.
type franzMember struct {
	cl   *kgo.Client
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	owned  []int32
	values []string
}

func (f *franz) join(name string, opts ...kgo.Opt) (*franzMember, error) {
	m := &franzMember{}
	change := func(owned func([]int32, int32) []int32) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, p := range parts[name] {
				m.owned = owned(m.owned, p)
			}
		}
	}
	drop := change(func(all []int32, p int32) []int32 {
		return slices.DeleteFunc(all, func(q int32) bool { return p == q })
	})
	cl, err := f.client(append(opts, kgo.ConsumerGroup(name), kgo.ConsumeTopics(name), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(change(func(all []int32, p int32) []int32 { return append(all, p) })),
		kgo.OnPartitionsRevoked(drop), kgo.OnPartitionsLost(drop))...)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(f.ctx)
	m.cl, m.stop = cl, stop
	m.wg.Go(func() {
		for ctx.Err() == nil {
			fetches := cl.PollFetches(ctx)
			m.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) { m.values = append(m.values, string(r.Value)) })
			m.mu.Unlock()
		}
	})
	return m, nil
}

// leave ends the member; a static one stays in its group.
func (m *franzMember) leave() {
	m.stop()
	m.wg.Wait()
	m.cl.Close()
}

func (m *franzMember) assigned() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(slices.Values(m.owned))
}

func (m *franzMember) read() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.values)
}

// group: one member joins and reads, a second joins, the first leaves.
func (f *franz) group(scenario string, opts ...kgo.Opt) error {
	name, err := f.fill(scenario, groupParts)
	if err != nil {
		return err
	}
	one, err := f.join(name, opts...)
	if err != nil {
		return err
	}
	defer one.leave()
	err = until(f.ctx, "all records at one member", func() bool { return len(one.read()) >= groupParts*groupEach })
	if err != nil {
		return err
	}
	f.out.got(scenario, "read by one", slices.Equal(slices.Sorted(slices.Values(one.read())), groupValues()))
	if err := one.cl.CommitUncommittedOffsets(f.ctx); err != nil {
		return err
	}
	two, err := f.join(name, opts...)
	if err != nil {
		return err
	}
	defer two.leave()
	if err := until(f.ctx, "two members to share", func() bool {
		return len(one.assigned()) == groupParts/2 && len(two.assigned()) == groupParts/2
	}); err != nil {
		return fmt.Errorf("%w: %v and %v", err, one.assigned(), two.assigned())
	}
	f.out.got(scenario, "shared by two", sizes(one.assigned(), two.assigned()))
	f.out.got(scenario, "partitions of both", slices.Sorted(slices.Values(append(one.assigned(), two.assigned()...))))
	if err := f.describe(scenario, "described with two", name, "Stable"); err != nil {
		return err
	}
	one.leave()
	if err := until(f.ctx, "one member to have all", func() bool { return len(two.assigned()) == groupParts }); err != nil {
		return err
	}
	f.out.got(scenario, "after one has left", sizes(two.assigned()))
	f.out.got(scenario, "read again", len(two.read()))
	two.leave()
	if err := f.committed(scenario, name); err != nil {
		return err
	}
	return f.describe(scenario, "described when both have left", name, "Empty")
}

func (f *franz) committed(scenario, name string) error {
	all, err := f.admin.FetchOffsets(f.ctx, name)
	if err != nil {
		return err
	}
	at := make(map[int32]int64)
	all.Each(func(o kadm.OffsetResponse) { at[o.Partition] = o.At })
	f.out.got(scenario, "committed", byPartition(at))
	return nil
}

// describe notes a group's type, state and number of members, once it has a
// state, if it gets there soon.
func (f *franz) describe(scenario, step, name, state string) error {
	var listed kadm.ListedGroups
	var err error
	settle(f.ctx, func() bool {
		listed, err = f.admin.ListGroups(f.ctx)
		return err != nil || listed[name].State == state
	})
	if err != nil {
		return err
	}
	f.out.got(scenario, step+", listed", []string{listed[name].State, listed[name].ProtocolType})
	if consumers, err := f.admin.DescribeConsumerGroups(f.ctx, name); err == nil && consumers[name].Err == nil {
		g := consumers[name]
		f.out.got(scenario, step, []any{"consumer", g.State, g.AssignorName, len(g.Members)})
		return nil
	}
	classic, err := f.admin.DescribeGroups(f.ctx, name)
	if err != nil {
		return err
	}
	g := classic[name]
	f.out.got(scenario, step, []any{"classic", g.State, g.Protocol, len(g.Members)})
	return nil
}

// static: a member with an instance id that comes back has what it had. It is a
// member of the classic protocol: one of the consumer protocol that franz-go
// closes does not tell the coordinator, and is waited for until its session ends.
func (f *franz) static(scenario string) error {
	name, err := f.fill(scenario, groupParts)
	if err != nil {
		return err
	}
	join := func(instance string) (*franzMember, error) {
		return f.join(name, kgo.Balancers(kgo.RangeBalancer()), kgo.InstanceID(instance))
	}
	one, err := join("one")
	if err != nil {
		return err
	}
	defer one.leave()
	two, err := join("two")
	if err != nil {
		return err
	}
	defer func() { two.leave() }()
	if err := until(f.ctx, "two members to share", func() bool {
		return len(one.assigned()) == groupParts/2 && len(two.assigned()) == groupParts/2
	}); err != nil {
		return err
	}
	before := two.assigned()
	two.leave()
	if err := f.describe(scenario, "one is away", name, "Stable"); err != nil {
		return err
	}
	if two, err = join("two"); err != nil {
		return err
	}
	if err := until(f.ctx, "the member that came back", func() bool { return len(two.assigned()) == groupParts/2 }); err != nil {
		return err
	}
	f.out.got(scenario, "same partitions after it came back", slices.Equal(before, two.assigned()))
	if err := f.describe(scenario, "it is back", name, "Stable"); err != nil {
		return err
	}
	two.leave()
	left, err := f.admin.LeaveGroup(f.ctx, kadm.LeaveGroup(name).InstanceIDs("two", "unknown"))
	if err != nil {
		return err
	}
	f.out.got(scenario, "removed", []any{code(left["two"].Err), code(left["unknown"].Err)})
	err = until(f.ctx, "the other to have all", func() bool { return len(one.assigned()) == groupParts })
	f.out.got(scenario, "after its removal", sizes(one.assigned()))
	return err
}
