// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/plan"
)

// A fetcher brings a member the batches of its partitions by requests of its own. What is
// to be asked is decided by [cursors], under its lock; it has a goroutine for each way to a broker
// that sends it, and one for each topic whose leaders are looked for. A broker has at most one
// answer ahead of Poll on each way.
type fetcher struct {
	link   *Kafka
	size   *fetchSize
	decomp kgo.Decompressor
	gate   *gate
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ended  context.Context
	ready  chan struct{} // capacity 1: there may be something to poll
	inUse  chan struct{} // closed when client is set
	client *kgo.Client   // the group's

	maxWait time.Duration
	minWant int32

	mu      sync.Mutex
	closed  bool
	cursors *cursors
	pulls   map[way]chan struct{} // capacity 1: there may be something to do
}

// newFetcher makes a fetcher. It asks for nothing before use.
func newFetcher(k *Kafka, size *fetchSize, keep int64) *fetcher {
	ctx, cancel := context.WithCancel(k.ctx)
	return &fetcher{
		link: k, size: size, gate: newGate(), ended: ctx, cancel: cancel,
		ready: make(chan struct{}, 1), inUse: make(chan struct{}),
		cursors: newCursors(keep), pulls: map[way]chan struct{}{},
	}
}

// options implements intake: it has a gate of its own.
func (f *fetcher) options() []kgo.Opt { return nil }

// use sets the group's client: what it is told of fetches counts, and what goes wrong with the group comes
// with its polls, of which there is never any record.
func (f *fetcher) use(client *kgo.Client) {
	f.client = client
	f.size.use(client)
	f.decomp, _ = client.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
	if f.decomp == nil {
		f.decomp = kgo.DefaultDecompressor()
	}
	f.maxWait, _ = client.OptValue(kgo.FetchMaxWait).(time.Duration)
	f.minWant, _ = client.OptValue(kgo.FetchMinBytes).(int32)
	close(f.inUse)
	f.wg.Go(func() { f.listen(f.ended) })
}

// listen passes on what the group's client has to tell.
func (f *fetcher) listen(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := f.client.PollFetches(ctx)
		if fetches.IsClientClosed() {
			return
		}
		fetches.EachError(func(topic string, num int32, err error) {
			if err = fetchError(ctx, Partition{topic, num}, err); err != nil && ctx.Err() == nil {
				f.do(func(s *cursors) { s.errs = append(s.errs, err) })
			}
		})
	}
}

// do lets something happen to the cursors, and has done what it leads to.
func (f *fetcher) do(event func(s *cursors)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	event(f.cursors)
	if f.cursors.pollable() {
		signal(f.ready)
	}
	for _, topic := range f.cursors.asks() {
		f.wg.Go(func() { f.ask(f.ended, topic) })
	}
	for node := range f.cursors.touched {
		for _, w := range []way{{node: node}, {node: node, second: true}} {
			wake := f.pulls[w]
			if wake == nil {
				wake = make(chan struct{}, 1)
				f.pulls[w] = wake
				f.wg.Go(func() { f.pull(f.ended, w, wake) })
			}
			signal(wake)
		}
	}
	clear(f.cursors.touched)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it has been told
	}
}

// ask looks for leaders of a topic until all its cursors have one.
func (f *fetcher) ask(ctx context.Context, topic string) {
	for {
		now := f.link.lead.of(topic)
		f.mu.Lock()
		tries, stale, ok := f.cursors.wants(topic, now)
		f.mu.Unlock()
		if !ok || tries > 1 && wait(ctx, tries-1) != nil {
			return
		}
		have := now
		if !stale {
			have = nil
		}
		d, err := f.link.lead.ask(ctx, topic, have, false)
		if ctx.Err() != nil {
			return
		}
		f.do(func(s *cursors) {
			if err == nil {
				s.leads(topic, d)
				return
			}
			_, refused := errors.AsType[*kerr.Error](err)
			s.unled(topic, err, refused && !kerr.IsRetriable(err))
		})
	}
}

// pull sends what there is to be asked on a way, one request at a time.
func (f *fetcher) pull(ctx context.Context, w way, wake chan struct{}) {
	select {
	case <-f.inUse:
	case <-ctx.Done():
	}
	for ctx.Err() == nil {
		f.mu.Lock()
		j := f.cursors.next(w)
		if j.what == fetching && !w.second {
			if second := f.pulls[way{node: w.node, second: true}]; second != nil {
				signal(second) // who comes now goes there
			}
		}
		f.mu.Unlock()
		if j.what == nothing {
			select {
			case <-wake:
			case <-ctx.Done():
			}
			continue
		}
		answers, err := f.request(ctx, &j)
		if err != nil {
			f.link.cfg.Log.Debug("a broker does not answer a member's fetches", "node", w.node, "err", err)
			if w.second {
				f.client.ForceMetadataRefresh()
			}
		}
		if ctx.Err() == nil {
			f.warn(&j, answers)
			f.do(func(s *cursors) { s.done(&j, answers) })
		}
	}
}

// warn tells of records that are gone before they were read.
func (f *fetcher) warn(j *job, answers []*answer) {
	for i, a := range answers {
		if a != nil && a.out {
			f.link.cfg.Log.Warn("an offset is not in the log any more: the partition is read from the start of the log",
				"topic", j.items[i].part.Topic, "partition", j.items[i].part.Num, "offset", j.items[i].offset)
		}
	}
}

// poll implements intake.
func (f *fetcher) poll(ctx context.Context) ([]Batch, error) {
	for {
		if f.ended.Err() != nil {
			return nil, ErrClosed
		}
		f.mu.Lock()
		some := f.cursors.pollable()
		f.mu.Unlock()
		if some || ctx.Err() != nil {
			first := f.gate.poll()
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			var batches []Batch
			var errs []error
			f.do(func(s *cursors) { batches, errs = s.take() })
			if len(batches)+len(errs) > 0 {
				return batches, errors.Join(errs...)
			}
			if first { // it has gone meanwhile
				f.gate.delivered()
			}
		}
		select {
		case <-f.ready:
		case <-ctx.Done():
		case <-f.ended.Done():
		}
	}
}

func (f *fetcher) delivered() { f.gate.delivered() }

func (f *fetcher) pause(parts []Partition) { f.do(func(s *cursors) { s.pause(parts) }) }

func (f *fetcher) resume(parts []Partition) { f.do(func(s *cursors) { s.resume(parts) }) }

func (f *fetcher) seek(to map[Partition]int64) { f.do(func(s *cursors) { s.seek(to) }) }

func (f *fetcher) assigned(client *kgo.Client, parts []Partition, handler func()) {
	f.gate.handle(func() {
		client.PauseFetchPartitions(numbers(parts)) // for good
		f.do(func(s *cursors) { s.assign(parts) })
		handler()
	})
}

func (f *fetcher) gone(parts []Partition, handler func()) {
	f.gate.handle(func() {
		f.do(func(s *cursors) { s.drop(parts) })
		handler()
	})
}

// begin takes the committed offsets of new partitions. The client gets none: it fetches nothing.
func (f *fetcher) begin(offsets map[string]map[int32]kgo.Offset, resets map[string]plan.Reset) map[string]map[int32]kgo.Offset {
	now := time.Now().UnixMilli()
	f.do(func(s *cursors) {
		for topic, nums := range offsets {
			r := resets[topic]
			for num, o := range nums {
				p, at := Partition{topic, num}, o.EpochOffset()
				switch {
				case at.Offset >= 0:
					s.begin(p, known, at.Offset, 0, at.Epoch)
				case r.From == plan.ResetEnd:
					s.begin(p, atEnd, -1, 0, -1)
				case r.From == plan.ResetAgo:
					s.begin(p, atTime, -1, now-r.AgoMs, -1)
				default:
					s.begin(p, atStart, -1, 0, -1)
				}
			}
		}
	})
	return map[string]map[int32]kgo.Offset{}
}

// stop lets handlers run and ends polls. It waits for nothing.
func (f *fetcher) stop() {
	f.gate.end()
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cancel()
}

// wait waits for the goroutines after stop.
func (f *fetcher) wait() { f.wg.Wait() }
