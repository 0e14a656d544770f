// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"errors"
	"fmt"
	"slices"
)

// describe notes what the library says of a group, once it has a state, if it
// gets there soon.
func (s *shared) describe(scenario, step, group, state string) error {
	var got []any
	var err error
	settle(s.ctx, func() bool {
		got, err = s.lib.describe(group)
		return err != nil || got[1] == state
	})
	if err != nil {
		return err
	}
	s.out.got(scenario, step, got)
	return nil
}

// share waits until two members have half of the partitions each.
func (s *shared) share(one, two member) error {
	err := until(s.ctx, "two members to share", func() bool {
		return len(one.assigned()) == groupParts/2 && len(two.assigned()) == groupParts/2
	})
	if err != nil {
		return fmt.Errorf("%w: %v and %v", err, one.assigned(), two.assigned())
	}
	return nil
}

// group: one member joins and reads, a second joins, the first leaves.
func (s *shared) group(scenario string, o joining) error {
	name, err := s.fill(scenario, groupParts)
	if err != nil {
		return err
	}
	one, err := s.lib.join(name, name, o)
	if err != nil {
		return err
	}
	defer one.leave()
	if err := until(s.ctx, "all records", func() bool { return len(one.values()) >= groupParts*groupEach }); err != nil {
		return err
	}
	s.out.got(scenario, "read by one", slices.Equal(slices.Sorted(slices.Values(one.values())), groupValues()))
	if err := one.commit(); err != nil {
		return err
	}
	two, err := s.lib.join(name, name, o)
	if err != nil {
		return err
	}
	defer two.leave()
	if err := s.share(one, two); err != nil {
		return err
	}
	s.out.got(scenario, "shared by two", sizes(one.assigned(), two.assigned()))
	s.out.got(scenario, "partitions of both", slices.Sorted(slices.Values(append(one.assigned(), two.assigned()...))))
	if err := s.describe(scenario, "described with two", name, "Stable"); err != nil {
		return err
	}
	one.leave()
	if err := until(s.ctx, "one member to have all", func() bool { return len(two.assigned()) == groupParts }); err != nil {
		return err
	}
	s.out.got(scenario, "after one has left", sizes(two.assigned()))
	s.out.got(scenario, "read again", len(two.values()))
	two.leave()
	if err := s.committed(scenario, name); err != nil {
		return err
	}
	return s.describe(scenario, "described when both have left", name, "Empty")
}

func (s *shared) committed(scenario, name string) error {
	all := make(map[int32]int64)
	for p := range groupParts {
		at, _, err := s.lib.committed(name, name, p)
		if err != nil {
			return err
		}
		if at >= 0 {
			all[int32(p)] = at
		}
	}
	s.out.got(scenario, "committed", byPartition(all))
	return nil
}

// static: a member with an instance id that comes back has what it had.
func (s *shared) static(scenario string) error {
	name, err := s.fill(scenario, groupParts)
	if err != nil {
		return err
	}
	one, err := s.lib.join(name, name, joining{instance: "one"})
	if err != nil {
		return err
	}
	defer one.leave()
	two, err := s.lib.join(name, name, joining{instance: "two"})
	if err != nil {
		return err
	}
	defer func() { two.leave() }()
	if err := s.share(one, two); err != nil {
		return err
	}
	before := two.assigned()
	two.leave()
	if err := s.describe(scenario, "one is away", name, "Stable"); err != nil {
		return err
	}
	if two, err = s.lib.join(name, name, joining{instance: "two"}); err != nil {
		return err
	}
	if err := s.share(one, two); err != nil {
		return err
	}
	s.out.got(scenario, "same partitions after it came back", slices.Equal(before, two.assigned()))
	return s.describe(scenario, "it is back", name, "Stable")
}

func (s *shared) adminTopics(scenario string) error {
	name := topic(s.program, scenario)
	step := func(step string, err error) {
		if !errors.Is(err, errLacks) {
			s.out.got(scenario, step, code(err))
		}
	}
	step("create", s.lib.create(name, 3, 1, nil, false))
	step("create again", s.lib.create(name, 3, 1, nil, false))
	step("create a wrong name", s.lib.create("a wrong/name", 3, 1, nil, false))
	step("create without partitions", s.lib.create(name+"-0", 0, 1, nil, false))
	step("create with too many replicas", s.lib.create(name+"-r", 1, 2, nil, false))
	step("create with an unknown config", s.lib.create(name+"-c", 1, 1, map[string]string{"no.such.config": "1"}, false))
	step("create with a wrong config", s.lib.create(name+"-c", 1, 1, map[string]string{"retention.ms": "long"}, false))
	step("create, only validated", s.lib.create(name+"-v", 1, 1, nil, true))
	step("more partitions", s.lib.grow(name, 5))
	step("fewer partitions", s.lib.grow(name, 2))
	step("as many partitions", s.lib.grow(name, 5))
	step("partitions of an unknown topic", s.lib.grow(name+"-u", 5))
	var n int
	var err error
	settle(s.ctx, func() bool {
		n, err = s.lib.partitions(name)
		return n == 5
	})
	if err != nil {
		return err
	}
	s.out.got(scenario, "described", n)
	step("delete", s.lib.remove(name))
	step("delete again", s.lib.remove(name))
	return nil
}

func (s *shared) adminConfigs(scenario string) error {
	name, err := s.create(scenario, 1)
	if err != nil {
		return err
	}
	s.out.got(scenario, "set", code(s.lib.alter(name, "segment.bytes", "2097152")))
	s.out.got(scenario, "unknown name", code(s.lib.alter(name, "no.such.config", "1")))
	s.out.got(scenario, "wrong value", code(s.lib.alter(name, "segment.bytes", "many")))
	s.out.got(scenario, "unknown topic", code(s.lib.alter(name+"-u", "segment.bytes", "2097152")))
	settle(s.ctx, func() bool {
		v, err := s.lib.config(name, "segment.bytes")
		return err != nil || v == "2097152"
	})
	for _, config := range []string{"segment.bytes", "max.message.bytes", "compression.type", "cleanup.policy"} {
		v, err := s.lib.config(name, config)
		if err != nil {
			return err
		}
		s.out.got(scenario, config+", value", v)
	}
	return nil
}

func (s *shared) adminGroups(scenario string) error {
	name, err := s.fill(scenario, groupParts)
	if err != nil {
		return err
	}
	m, err := s.lib.join(name, name, joining{})
	if err != nil {
		return err
	}
	defer m.leave()
	if err := until(s.ctx, "the member", func() bool { return len(m.assigned()) == groupParts }); err != nil {
		return err
	}
	s.out.got(scenario, "delete with a member", code(s.lib.deleteGroup(name)))
	m.leave()
	if err := s.lib.commit(name, name, 0, 3, ""); err != nil {
		return err
	}
	if err := s.committed(scenario, name); err != nil {
		return err
	}
	s.out.got(scenario, "delete", code(s.lib.deleteGroup(name)))
	s.out.got(scenario, "delete again", code(s.lib.deleteGroup(name)))
	return nil
}

func (s *shared) adminRecords(scenario string) error {
	name, err := s.timed(scenario)
	if err != nil {
		return err
	}
	for _, d := range []struct {
		step string
		to   int64
	}{{"delete up to 3", 3}, {"delete up to 1", 1}, {"delete past the end", 9}, {"delete all", -1}} {
		err := s.lib.deleteRecords(name, d.to)
		if errors.Is(err, errLacks) {
			return nil
		}
		s.out.got(scenario, d.step+", code", code(err))
	}
	start, err := s.lib.offset(name, -2)
	s.out.got(scenario, "earliest", start)
	return err
}
