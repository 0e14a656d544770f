// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (f *franz) adminTopics(scenario string) error {
	name := topic(f.name, scenario)
	create := func(step string, partitions int32, replicas int16, configs map[string]*string, name string) {
		_, err := f.admin.CreateTopic(f.ctx, partitions, replicas, configs, name)
		f.out.got(scenario, step, code(err))
	}
	create("create", 3, 1, nil, name)
	create("create again", 3, 1, nil, name)
	create("create a wrong name", 3, 1, nil, "a wrong/name")
	create("create without partitions", 0, 1, nil, name+"-0")
	create("create with too many replicas", 1, 2, nil, name+"-r")
	create("create with an unknown config", 1, 1, map[string]*string{"no.such.config": new("1")}, name+"-c")
	create("create with a wrong config", 1, 1, map[string]*string{"retention.ms": new("long")}, name+"-c")
	only, err := f.admin.ValidateCreateTopics(f.ctx, 1, 1, nil, name+"-v")
	if err != nil {
		return err
	}
	f.out.got(scenario, "create, only validated", code(only[name+"-v"].Err))
	for _, p := range []struct {
		step string
		set  int
	}{{"more partitions", 5}, {"fewer partitions", 2}, {"as many partitions", 5}} {
		if err := f.partitions(scenario, p.step, name, p.set); err != nil {
			return err
		}
	}
	if err := f.partitions(scenario, "partitions of an unknown topic", name+"-u", 5); err != nil {
		return err
	}
	var details kadm.TopicDetails
	settle(f.ctx, func() bool {
		details, err = f.admin.ListTopics(f.ctx, name, name+"-v")
		return err != nil || len(details[name].Partitions) == 5
	})
	if err != nil {
		return err
	}
	f.out.got(scenario, "described", len(details[name].Partitions))
	f.out.got(scenario, "described, unknown", code(details[name+"-v"].Err))
	for _, step := range []string{"delete", "delete again"} {
		deleted, err := f.admin.DeleteTopics(f.ctx, name)
		if err != nil {
			return err
		}
		f.out.got(scenario, step, code(deleted[name].Err))
	}
	return nil
}

func (f *franz) partitions(scenario, step, name string, set int) error {
	got, err := f.admin.UpdatePartitions(f.ctx, set, name)
	if err != nil {
		return err
	}
	f.out.got(scenario, step, code(got[name].Err))
	return nil
}

func (f *franz) adminConfigs(scenario string) error {
	name, err := f.create(scenario, 1)
	if err != nil {
		return err
	}
	alter := func(step string, on string, configs ...kadm.AlterConfig) error {
		got, err := f.admin.AlterTopicConfigs(f.ctx, configs, on)
		if err != nil {
			return err
		}
		f.out.got(scenario, step, code(got[0].Err))
		return nil
	}
	for _, a := range []struct {
		step, on string
		config   kadm.AlterConfig
	}{
		{"set", name, kadm.AlterConfig{Op: kadm.SetConfig, Name: "segment.bytes", Value: new("2097152")}},
		{"append", name, kadm.AlterConfig{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: new("compact")}},
		{"delete", name, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "retention.ms"}},
		{"unknown name", name, kadm.AlterConfig{Op: kadm.SetConfig, Name: "no.such.config", Value: new("1")}},
		{"wrong value", name, kadm.AlterConfig{Op: kadm.SetConfig, Name: "segment.bytes", Value: new("many")}},
		{"append to what is no list", name, kadm.AlterConfig{Op: kadm.AppendConfig, Name: "segment.bytes", Value: new("1")}},
		{"unknown topic", name + "-u", kadm.AlterConfig{Op: kadm.SetConfig, Name: "segment.bytes", Value: new("2097152")}},
	} {
		if err := alter(a.step, a.on, a.config); err != nil {
			return err
		}
	}
	var described, unknown kadm.ResourceConfig
	settle(f.ctx, func() bool {
		got, oops := f.admin.DescribeTopicConfigs(f.ctx, name, name+"-u")
		unknown, _ = got.On(name+"-u", nil)
		described, _ = got.On(name, nil)
		err = oops
		return err != nil || len(described.Configs) > 0 && !slices.ContainsFunc(described.Configs, func(c kadm.Config) bool {
			return c.Key == "retention.ms" && c.Source == kmsg.ConfigSourceDynamicTopicConfig // the last that was altered
		})
	})
	if err != nil {
		return err
	}
	f.out.got(scenario, "described, unknown", code(unknown.Err))
	shown := []string{"segment.bytes", "cleanup.policy", "retention.ms", "max.message.bytes", "compression.type"}
	for _, c := range described.Configs {
		if slices.Contains(shown, c.Key) {
			f.out.got(scenario, c.Key, []any{c.Value, c.Source.String()})
		}
	}
	return nil
}

func (f *franz) adminGroups(scenario string) error {
	name, err := f.fill(scenario, groupParts)
	if err != nil {
		return err
	}
	m, err := f.join(name)
	if err != nil {
		return err
	}
	defer m.leave()
	if err := until(f.ctx, "the member", func() bool { return len(m.assigned()) == groupParts }); err != nil {
		return err
	}
	for _, step := range []string{"delete with a member", "delete", "delete again"} {
		if step == "delete" {
			m.leave()
			var offsets kadm.Offsets
			offsets.AddOffset(name, 0, 3, -1)
			offsets.AddOffset(name, 1, 4, -1)
			if err := f.admin.CommitAllOffsets(f.ctx, name, offsets); err != nil {
				return err
			}
			var one kadm.TopicsSet
			one.Add(name, 1)
			removed, err := f.admin.DeleteOffsets(f.ctx, name, one)
			if err != nil {
				return err
			}
			f.out.got(scenario, "delete offsets", code(removed[name][1]))
			if err := f.committed(scenario, name); err != nil {
				return err
			}
		}
		got, err := f.admin.DeleteGroups(f.ctx, name)
		if err != nil {
			return err
		}
		f.out.got(scenario, step, code(got[name].Err))
	}
	lag, err := f.admin.Lag(f.ctx, name)
	if err != nil {
		return err
	}
	f.out.got(scenario, "described, unknown", lag[name].State)
	return nil
}

func (f *franz) adminRecords(scenario string) error {
	name, err := f.timed(scenario)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		at   int64
	}{{"delete up to 3", 3}, {"delete up to 1", 1}, {"delete past the end", 9}, {"delete all", -1}} {
		var to kadm.Offsets
		to.AddOffset(name, 0, step.at, -1)
		got, err := f.admin.DeleteRecords(f.ctx, to)
		if err != nil {
			return err
		}
		r := got[name][0]
		f.out.got(scenario, step.name, []any{r.LowWatermark, code(r.Err)})
	}
	start, err := f.admin.ListStartOffsets(f.ctx, name)
	if err != nil {
		return err
	}
	o, _ := start.Lookup(name, 0)
	f.out.got(scenario, "earliest", o.Offset)
	return nil
}
