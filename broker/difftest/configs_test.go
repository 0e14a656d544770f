// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func configCases() []testCase {
	return []testCase{
		{name: "describe configs", key: kmsg.DescribeConfigs, run: describeConfigs},
		{name: "describe configs of a broker", key: kmsg.DescribeConfigs, alone: true, run: describeBrokerConfigs},
		{name: "alter configs", key: kmsg.AlterConfigs, run: altersConfigs},
		{name: "alter configs incrementally", key: kmsg.IncrementalAlterConfigs, run: altersIncrementally},
		{name: "config values", once: true, run: configValues},
		{name: "broker configs", once: true, alone: true, run: brokerConfigs},
		{name: "list config resources", key: kmsg.ListConfigResources, alone: true, run: func(s *script) {
			req := kmsg.NewPtrListConfigResourcesRequest()
			for _, kinds := range [][]int8{{}, {2}, {4}, {8}, {16}, {32}, {2, 4}, {2, 2}, {0}, {7}, {-1}} {
				req.ResourceTypes = kinds
				s.do(fmt.Sprint("kinds ", kinds), req)
			}
		}},
	}
}

// The kinds of what has configs.
const (
	ofTopic, ofBroker, ofLogger, ofMetrics, ofGroup = 2, 4, 8, 16, 32
)

func describeRequest(kind kmsg.ConfigResourceType, name string, configs ...string) *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	rr := kmsg.NewDescribeConfigsRequestResource()
	rr.ResourceType, rr.ResourceName, rr.ConfigNames = kind, name, configs
	req.Resources = append(req.Resources, rr)
	return req
}

func describeConfigs(s *script) {
	s.do("all", describeRequest(ofTopic, "base"))
	s.do("what is set", describeRequest(ofTopic, "compacted", "cleanup.policy", "retention.ms"))
	req := describeRequest(ofTopic, "compacted")
	req.IncludeSynonyms, req.IncludeDocumentation = true, true
	s.do("with synonyms and texts", req)
	s.do("unknown names", describeRequest(ofTopic, "base", "no.such.config", "", "retention.ms"))
	s.do("names twice", describeRequest(ofTopic, "base", "retention.ms", "retention.ms"))
	req = describeRequest(ofTopic, "base")
	req.Resources[0].ConfigNames = []string{}
	s.do("no names", req)
	s.do("unknown topic", describeRequest(ofTopic, "nowhere"))
	s.do("invalid topic", describeRequest(ofTopic, "a b"))
	s.do("topic of no name", describeRequest(ofTopic, ""))
	s.do("internal topic", describeRequest(ofTopic, "__consumer_offsets"))
	for _, kind := range []kmsg.ConfigResourceType{0, 1, 3, ofLogger, ofMetrics, ofGroup, 64, -1} {
		s.do(fmt.Sprint("kind ", int(kind)), describeRequest(kind, "simple"))
		s.do(fmt.Sprint("kind ", int(kind), " of no name"), describeRequest(kind, ""))
	}
	s.do("kind 8 of the node", describeRequest(ofLogger, "1", "root"))
	s.do("another node", describeRequest(ofBroker, "7"))
	s.do("no node", describeRequest(ofBroker, "x"))
	req = describeRequest(ofTopic, "base", "retention.ms")
	req.Resources = append(req.Resources, describeRequest(ofTopic, "base", "segment.ms").Resources...)
	req.Resources = append(req.Resources, describeRequest(ofTopic, "nowhere").Resources...)
	s.do("twice, and elsewhere", req)
	req.Resources = nil
	s.do("nothing", req)
}

func describeBrokerConfigs(s *script) {
	req := describeRequest(ofBroker, "1")
	s.do("all", req)
	req.IncludeSynonyms, req.IncludeDocumentation = true, true
	s.do("with synonyms and texts", req)
	s.do("of all brokers", describeRequest(ofBroker, ""))
	s.do("some", describeRequest(ofBroker, "1", "log.retention.ms", "no.such.config"))
}

func alterRequest(kind kmsg.ConfigResourceType, name string, configs ...string) *kmsg.AlterConfigsRequest {
	req := kmsg.NewPtrAlterConfigsRequest()
	rr := kmsg.NewAlterConfigsRequestResource()
	rr.ResourceType, rr.ResourceName = kind, name
	for i := 0; i < len(configs); i += 2 {
		rr.Configs = append(rr.Configs, kmsg.AlterConfigsRequestResourceConfig{Name: configs[i], Value: &configs[i+1]})
	}
	req.Resources = append(req.Resources, rr)
	return req
}

// shown records what a resource has set, once it is as the last change left it.
func (s *script) shown(label string, kind kmsg.ConfigResourceType, name, config, want string) {
	var resp kmsg.Response
	req := describeRequest(kind, name)
	s.until(label, func() bool {
		d := ask[*kmsg.DescribeConfigsResponse](s, req)
		resp = d
		have := ""
		for _, c := range d.Resources[0].Configs {
			if c.Name == config && c.Value != nil && (c.Source == 1 || c.Source == 2 || c.Source == 3 || c.Source == 8) {
				have = *c.Value
			}
		}
		return have == want
	})
	if kind == ofTopic {
		fields := map[string]string{}
		s.flatten(fields, resp)
		s.record("DescribeConfigs", req.GetVersion(), label, fields)
	}
}

func altersConfigs(s *script) {
	name := s.unique("t")
	s.createTopic(name, 1, "retention.ms", "1000")
	req := alterRequest(ofTopic, name, "segment.ms", "5000", "cleanup.policy", "compact")
	req.ValidateOnly = true
	s.do("validated", req)
	s.shown("not changed", ofTopic, name, "retention.ms", "1000")
	req.ValidateOnly = false
	s.do("set", req)
	s.shown("changed", ofTopic, name, "segment.ms", "5000")
	s.do("back to defaults", alterRequest(ofTopic, name))
	s.shown("as it began", ofTopic, name, "segment.ms", "")
	s.do("wrong value", alterRequest(ofTopic, name, "retention.ms", "x", "segment.ms", "1"))
	s.do("unknown config", alterRequest(ofTopic, name, "no.such.config", "x"))
	s.do("config of a broker", alterRequest(ofTopic, name, "log.retention.ms", "1"))
	req = alterRequest(ofTopic, name, "retention.ms", "5")
	req.Resources[0].Configs[0].Value = nil
	s.do("null", req)
	s.do("config twice", alterRequest(ofTopic, name, "retention.ms", "5", "retention.ms", "6"))
	s.do("lags that contradict", alterRequest(ofTopic, name, "min.compaction.lag.ms", "50", "max.compaction.lag.ms", "40"))
	s.do("unknown topic", alterRequest(ofTopic, "nowhere", "retention.ms", "5"))
	s.do("invalid topic", alterRequest(ofTopic, "a b", "retention.ms", "5"))
	s.do("topic of no name", alterRequest(ofTopic, "", "retention.ms", "5"))
	for _, kind := range []kmsg.ConfigResourceType{0, 1, ofLogger, ofMetrics, ofGroup, 64, -1} {
		s.do(fmt.Sprint("kind ", int(kind)), alterRequest(kind, "1", "x", "y"))
	}
	s.do("another node", alterRequest(ofBroker, "7", "log.retention.ms", "5"))
	s.do("no node", alterRequest(ofBroker, "x", "log.retention.ms", "5"))
	req = alterRequest(ofTopic, name, "retention.ms", "5") // not twice: Kafka does not answer that
	req.Resources = append(req.Resources, alterRequest(ofTopic, "nowhere").Resources...)
	s.do("right and wrong", req)
	req.Resources = nil
	s.do("nothing", req)
}

// A change of a config: SET, DELETE, APPEND and SUBTRACT are 0 to 3.
type change struct {
	op    kmsg.IncrementalAlterConfigOp
	name  string
	value string // "null" is none
}

func changeRequest(kind kmsg.ConfigResourceType, name string, changes ...change) *kmsg.IncrementalAlterConfigsRequest {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	rr := kmsg.NewIncrementalAlterConfigsRequestResource()
	rr.ResourceType, rr.ResourceName = kind, name
	for _, c := range changes {
		rc := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		rc.Name, rc.Op = c.name, c.op
		if c.value != "null" {
			rc.Value = &c.value
		}
		rr.Configs = append(rr.Configs, rc)
	}
	req.Resources = append(req.Resources, rr)
	return req
}

func altersIncrementally(s *script) {
	name := s.unique("t")
	s.createTopic(name, 1, "retention.ms", "1000")
	req := changeRequest(ofTopic, name, change{0, "segment.ms", "5000"}, change{1, "retention.ms", "null"})
	req.ValidateOnly = true
	s.do("validated", req)
	req.ValidateOnly = false
	s.do("set and deleted", req)
	s.shown("changed", ofTopic, name, "segment.ms", "5000")
	s.do("appended", changeRequest(ofTopic, name, change{2, "cleanup.policy", "compact"}))
	s.shown("both", ofTopic, name, "cleanup.policy", "delete,compact")
	s.do("appended again", changeRequest(ofTopic, name, change{2, "cleanup.policy", "compact"}))
	s.do("subtracted", changeRequest(ofTopic, name, change{3, "cleanup.policy", "delete"}))
	s.shown("one", ofTopic, name, "cleanup.policy", "compact")
	s.do("subtracted again", changeRequest(ofTopic, name, change{3, "cleanup.policy", "delete"}))
	for label, c := range orderedChanges() {
		s.do(label, changeRequest(ofTopic, name, c...))
	}
	s.do("unknown topic", changeRequest(ofTopic, "nowhere", change{0, "retention.ms", "5"}))
	s.do("invalid topic", changeRequest(ofTopic, "a b", change{0, "retention.ms", "5"}))
	s.do("topic of no name", changeRequest(ofTopic, "", change{0, "retention.ms", "5"}))
	for _, kind := range []kmsg.ConfigResourceType{0, 1, ofMetrics, ofGroup, 64, -1} {
		s.do(fmt.Sprint("kind ", int(kind)), changeRequest(kind, "1", change{0, "no.such.config", "y"}))
	}
	s.do("another node", changeRequest(ofBroker, "7", change{0, "log.retention.ms", "5"}))
	s.do("no node", changeRequest(ofBroker, "x", change{0, "log.retention.ms", "5"}))
	req = changeRequest(ofTopic, name, change{0, "retention.ms", "5"})
	req.Resources = append(req.Resources, changeRequest(ofTopic, name, change{0, "segment.ms", "6"}).Resources...)
	req.Resources = append(req.Resources, changeRequest(ofTopic, "nowhere", change{0, "segment.ms", "6"}).Resources...)
	s.do("twice, and elsewhere", req)
	req.Resources = nil
	s.do("nothing", req)
}

// orderedChanges are changes of a topic, most of them wrong.
func orderedChanges() func(yield func(string, []change) bool) {
	all := map[string][]change{
		"deleted what is not set":       {{1, "segment.bytes", "null"}},
		"deleted what is unknown":       {{1, "no.such.config", "null"}},
		"deleted with a value":          {{1, "segment.bytes", "5"}},
		"set to null":                   {{0, "segment.bytes", "null"}},
		"appended null":                 {{2, "cleanup.policy", "null"}},
		"appended to a number":          {{2, "retention.ms", "5"}},
		"subtracted from a number":      {{3, "retention.ms", "5"}},
		"appended nonsense":             {{2, "cleanup.policy", "shred"}},
		"subtracted nonsense":           {{3, "cleanup.policy", "shred"}},
		"subtracted all":                {{3, "cleanup.policy", "compact"}},
		"unknown operation":             {{9, "retention.ms", "5"}},
		"negative operation":            {{-1, "retention.ms", "5"}},
		"unknown config":                {{0, "no.such.config", "5"}},
		"appended to an unknown config": {{2, "no.such.config", "5"}},
		"config of no name":             {{0, "", "5"}},
		"wrong value":                   {{0, "retention.ms", "x"}},
		"config of a broker":            {{0, "log.retention.ms", "1"}},
		"a config twice":                {{0, "retention.ms", "5"}, {1, "retention.ms", "null"}},
		"right and wrong":               {{0, "retention.ms", "5"}, {0, "segment.ms", "x"}},
		"lags that contradict":          {{0, "min.compaction.lag.ms", "50"}, {0, "max.compaction.lag.ms", "40"}},
		"no change":                     {},
	}
	return func(yield func(string, []change) bool) {
		each(all, func(label string, c []change) { yield(label, c) })
	}
}

// configValues tries the values of topic configs on a topic that exists.
func configValues(s *script) {
	name := s.unique("t")
	s.createTopic(name, 1)
	for _, c := range badTopicConfigs {
		s.do("config "+c[0]+"="+c[1], changeRequest(ofTopic, name, change{0, c[0], c[1]}))
		s.do("back from "+c[0]+"="+c[1], changeRequest(ofTopic, name, change{1, c[0], "null"}))
	}
}

// brokerConfigs changes those of the node and of all nodes, one by one.
func brokerConfigs(s *script) {
	for _, node := range []string{"1", ""} {
		try := func(label string, changes ...change) {
			s.do(fmt.Sprintf("%s of %q", label, node), changeRequest(ofBroker, node, changes...))
		}
		try("set", change{0, "log.retention.ms", "123456"})
		s.shown("set", ofBroker, node, "log.retention.ms", "123456")
		s.do(fmt.Sprintf("described %q", node), describeRequest(ofBroker, node, "log.retention.ms"))
		topic := describeRequest(ofTopic, "base", "retention.ms")
		topic.IncludeSynonyms = true
		s.do(fmt.Sprintf("seen from a topic, of %q", node), topic)
		try("deleted", change{1, "log.retention.ms", "null"})
		s.shown("deleted", ofBroker, node, "log.retention.ms", "")
		try("unknown", change{0, "no.such.config", "1"})
		try("unknown, deleted", change{1, "no.such.config", "null"})
		try("fixed", change{0, "broker.id", "9"})
		try("fixed too", change{0, "auto.create.topics.enable", "false"})
		try("wrong value", change{0, "log.retention.ms", "x"})
		try("value out of range", change{0, "log.segment.bytes", "5"})
		try("appended to a number", change{2, "log.retention.ms", "5"})
		try("unknown operation", change{7, "log.retention.ms", "5"})
		try("appended to a list", change{2, "log.cleanup.policy", "compact"})
		s.shown("appended", ofBroker, node, "log.cleanup.policy", "delete,compact")
		try("list deleted", change{1, "log.cleanup.policy", "null"})
		s.shown("list deleted", ofBroker, node, "log.cleanup.policy", "")
		try("min.insync.replicas", change{0, "min.insync.replicas", "1"})
		try("min.insync.replicas deleted", change{1, "min.insync.replicas", "null"})
		try("name of a topic's config", change{0, "retention.ms", "5"})
	}
	// Not of all nodes: Kafka keeps one there, min.insync.replicas, and refuses to lose it.
	s.do("all", alterRequest(ofBroker, "1", "log.retention.ms", "77"))
	s.shown("all", ofBroker, "1", "log.retention.ms", "77")
	s.do("none", alterRequest(ofBroker, "1"))
	s.shown("none", ofBroker, "1", "log.retention.ms", "")
	s.do("unknown among all", alterRequest(ofBroker, "1", "no.such.config", "1"))
	s.do("fixed among all", alterRequest(ofBroker, "1", "broker.id", "9"))
	s.do("wrong among all", alterRequest(ofBroker, "1", "log.retention.ms", "x"))
}
