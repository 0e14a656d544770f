// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// library is what sarama and kafka-go are wrapped in for the scenarios that
// they share. Partitions are 0 where none is named; errors are Kafka's where
// the broker refuses, and errLacks where the library has no such call.
type library interface {
	create(topic string, partitions, replicas int, configs map[string]string, validate bool) error
	grow(topic string, partitions int) error
	remove(topic string) error
	partitions(topic string) (int, error)
	alter(topic, name, value string) error
	config(topic, name string) (string, error)
	describe(group string) ([]any, error)
	deleteGroup(group string) error
	deleteRecords(topic string, to int64) error
	// offset is that of the first record at ms or later, -1 the end, -2 the start.
	offset(topic string, ms int64) (int64, error)
	produce(topic string, o producing, records ...sent) []error
	// read reads n records in order from an offset, with answers of at most limit bytes or 0.
	read(topic string, partition int, from int64, n, limit int) ([]record, error)
	// paused reads two partitions from their start while 0 is paused, until nothing
	// more comes, then 0; it returns the first value of each that came.
	paused(topic string) (before, after map[string]string, err error)
	commit(group, topic string, partition int, at int64, note string) error
	committed(group, topic string, partition int) (at int64, note string, err error)
	join(group, topic string, o joining) (member, error)
}

var errLacks = errors.New("the library has no such call")

type sent struct {
	record
	partition int
}

type producing struct {
	codec      string // "" is none
	idempotent bool
	limit      int // bytes of a batch
}

type joining struct {
	cooperative bool
	instance    string
}

// A member consumes in goroutines of its own until it leaves, which waits for
// them. A static one stays in its group when it leaves.
type member interface {
	assigned() []int32
	values() []string
	commit() error
	leave()
}

// shared are the scenarios of one library on one broker.
type shared struct {
	ctx     context.Context //nolint:containedctx // one run
	program string
	lib     library
	out     *outcomes
}

func (s *shared) codecs() {
	for _, codec := range codecs {
		s.out.scenario("codec "+codec, func(name string) error { return s.codec(name, codec) })
	}
}

func (s *shared) basics() {
	s.out.scenario("records", s.records)
	s.out.scenario("large", s.large)
	s.out.scenario("times", s.times)
	s.out.scenario("commits", s.commits)
	s.out.scenario("admin topics", s.adminTopics)
	s.out.scenario("admin configs", s.adminConfigs)
	s.out.scenario("admin groups", s.adminGroups)
}

func (s *shared) create(scenario string, partitions int) (string, error) {
	name := topic(s.program, scenario)
	if err := s.lib.create(name, partitions, 1, keepAll, false); err != nil {
		return "", fmt.Errorf("create %s: %w", name, err)
	}
	return name, until(s.ctx, "the topic", func() bool {
		n, err := s.lib.partitions(name)
		return err == nil && n == partitions
	})
}

func (s *shared) codec(scenario, codec string) error {
	name, err := s.create(scenario, 1)
	if err != nil {
		return err
	}
	var send []sent
	for i := range codecCount {
		send = append(send, sent{record: record{Key: new(strconv.Itoa(i)), Value: new(codecValue(codec, i))}})
	}
	if err := errors.Join(s.lib.produce(name, producing{codec: codec}, send...)...); err != nil {
		return err
	}
	read, err := s.lib.read(name, 0, 0, codecCount, 0)
	if err != nil {
		return err
	}
	equal := 0
	for i, r := range read {
		if *r.Key == strconv.Itoa(i) && *r.Value == codecValue(codec, i) {
			equal++
		}
	}
	s.out.got("codec", codec+", equal", equal)
	return nil
}

func (s *shared) records(scenario string) error {
	name, err := s.create(scenario, 1)
	if err != nil {
		return err
	}
	var send []sent
	for i, r := range recordsToSend() {
		r.Time = int64(i)
		send = append(send, sent{record: r})
	}
	if err := errors.Join(s.lib.produce(name, producing{}, send...)...); err != nil {
		return err
	}
	read, err := s.lib.read(name, 0, 0, len(send), 0)
	if err != nil {
		return err
	}
	for _, r := range read {
		s.out.got(scenario, fmt.Sprint(r.Offset), r)
	}
	return nil
}

func (s *shared) large(scenario string) error {
	name, err := s.create(scenario, 1)
	if err != nil {
		return err
	}
	for step, n := range map[string]int{"fits": largestValue, "one byte more": largestValue + 1} {
		r := sent{record: record{Value: new(string(make([]byte, n))), Time: time.Now().UnixMilli() - baseTime}}
		s.out.got(scenario, step, code(s.lib.produce(name, producing{limit: 4 << 20}, r)[0]))
	}
	for step, limit := range map[string]int{"read": 0, "read with small limits": 1000} {
		read, err := s.lib.read(name, 0, 0, 1, limit)
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		s.out.got(scenario, step, len(*read[0].Value))
	}
	return nil
}

func (s *shared) timed(scenario string) (string, error) {
	name, err := s.create(scenario, 1)
	if err != nil {
		return "", err
	}
	var send []sent
	for i := range int64(5) {
		send = append(send, sent{record: record{Value: new(fmt.Sprint(i)), Time: 1000 * i}})
	}
	return name, errors.Join(s.lib.produce(name, producing{}, send...)...)
}

func (s *shared) times(scenario string) error {
	name, err := s.timed(scenario)
	if err != nil {
		return err
	}
	end, err := s.lib.offset(name, -1)
	if err != nil {
		return err
	}
	s.out.got(scenario, "latest", end)
	for step, ms := range map[string]int64{"earliest": -2, "of a record": 2000, "between": 2500, "after all": 9000} {
		if ms >= 0 {
			ms += baseTime
		}
		at, err := s.lib.offset(name, ms)
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		if at < 0 {
			at = end
		}
		s.out.got(scenario, step, at)
	}
	return nil
}

func (s *shared) idempotent(scenario string) error {
	name, err := s.create(scenario, 1)
	if err != nil {
		return err
	}
	var send []sent
	for i := range idempotent {
		send = append(send, sent{record: record{Value: new(fmt.Sprint(i))}})
	}
	if err := errors.Join(s.lib.produce(name, producing{idempotent: true, limit: 1000}, send...)...); err != nil {
		return err
	}
	read, err := s.lib.read(name, 0, 0, idempotent, 0)
	if err != nil {
		return err
	}
	s.out.got(scenario, "in order", slices.EqualFunc(send, read, func(a sent, b record) bool { return *a.Value == *b.Value }))
	end, err := s.lib.offset(name, -1)
	s.out.got(scenario, "end", end)
	return err
}

func (s *shared) fill(scenario string, partitions int) (string, error) {
	name, err := s.create(scenario, partitions)
	if err != nil {
		return "", err
	}
	for p := range partitions {
		var send []sent
		for i := range groupEach {
			send = append(send, sent{record: record{Value: new(groupValue(p, i))}, partition: p})
		}
		if err := errors.Join(s.lib.produce(name, producing{}, send...)...); err != nil {
			return "", err
		}
	}
	return name, nil
}

func (s *shared) commits(scenario string) error {
	name, err := s.fill(scenario, 2)
	if err != nil {
		return err
	}
	if err := s.lib.commit(name, name, 0, 4, "note"); err != nil {
		return err
	}
	for p := range 2 {
		at, note, err := s.lib.committed(name, name, p)
		if err != nil {
			return err
		}
		s.out.got(scenario, fmt.Sprintf("committed of %d", p), []any{at, note})
	}
	m, err := s.lib.join(name, name, joining{})
	if err != nil {
		return err
	}
	defer m.leave()
	if err := until(s.ctx, "the rest", func() bool { return len(m.values()) >= 2*groupEach-4 }); err != nil {
		return err
	}
	all := slices.Sorted(slices.Values(m.values()))
	second, _ := slices.BinarySearch(all, groupValue(1, 0))
	s.out.got(scenario, "first of each after the commit", map[string]string{"0": all[0], "1": all[second]})
	read, err := s.lib.read(name, 0, 7, 1, 0)
	if err != nil {
		return err
	}
	s.out.got(scenario, "first after seek", map[string]string{"0": *read[0].Value})
	before, after, err := s.lib.paused(name)
	switch {
	case errors.Is(err, errLacks):
		return nil
	case err != nil:
		return err
	}
	s.out.got(scenario, "first while 0 is paused", before)
	s.out.got(scenario, "first after resume", after)
	return nil
}
