// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

const (
	ofTopic  = kmsg.ConfigResourceTypeTopic
	ofBroker = kmsg.ConfigResourceTypeBroker

	opSet      = kmsg.IncrementalAlterConfigOpSet
	opDelete   = kmsg.IncrementalAlterConfigOpDelete
	opAppend   = kmsg.IncrementalAlterConfigOpAppend
	opSubtract = kmsg.IncrementalAlterConfigOpSubtract
)

// A change is one operation on one key; value "-" is null.
type change struct {
	op         kmsg.IncrementalAlterConfigOp
	key, value string
}

func incremental(version int16, kind kmsg.ConfigResourceType, name string, changes ...change) *kmsg.IncrementalAlterConfigsRequest {
	req := withVersion(kmsg.NewPtrIncrementalAlterConfigsRequest(), version)
	r := kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kind, ResourceName: name}
	for _, c := range changes {
		rc := kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: c.key, Op: c.op, Value: &c.value}
		if c.value == "-" {
			rc.Value = nil
		}
		r.Configs = append(r.Configs, rc)
	}
	req.Resources = append(req.Resources, r)
	return req
}

func alterSome(c *client, kind kmsg.ConfigResourceType, name string, changes ...change) int16 {
	c.t.Helper()
	return do[*kmsg.IncrementalAlterConfigsResponse](c, incremental(1, kind, name, changes...)).Resources[0].ErrorCode
}

// set sets one config and must succeed.
func set(c *client, kind kmsg.ConfigResourceType, name, key, value string) {
	c.t.Helper()
	if code := alterSome(c, kind, name, change{opSet, key, value}); code != 0 {
		c.t.Fatalf("set %s of %q to %s: code %d", key, name, value, code)
	}
}

// alterAll replaces all configs of a resource: keys and values in turns.
func alterAll(c *client, version int16, kind kmsg.ConfigResourceType, name string, dry bool, kv ...string) int16 {
	c.t.Helper()
	req := withVersion(kmsg.NewPtrAlterConfigsRequest(), version)
	req.ValidateOnly = dry
	r := kmsg.AlterConfigsRequestResource{ResourceType: kind, ResourceName: name}
	for i := 0; i < len(kv); i += 2 {
		rc := kmsg.AlterConfigsRequestResourceConfig{Name: kv[i], Value: &kv[i+1]}
		if kv[i+1] == "-" {
			rc.Value = nil
		}
		r.Configs = append(r.Configs, rc)
	}
	req.Resources = append(req.Resources, r)
	return do[*kmsg.AlterConfigsResponse](c, req).Resources[0].ErrorCode
}

// described are the configs of a resource as "key=value source [synonyms]".
func described(c *client, kind kmsg.ConfigResourceType, name string, keys ...string) []string {
	c.t.Helper()
	req := withVersion(kmsg.NewPtrDescribeConfigsRequest(), 4)
	req.IncludeSynonyms = true
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name, ConfigNames: keys}}
	a := do[*kmsg.DescribeConfigsResponse](c, req).Resources[0]
	if a.ErrorCode != 0 {
		c.t.Fatalf("describe %q: code %d, %s", name, a.ErrorCode, deref(a.ErrorMessage))
	}
	all := []string{}
	for _, k := range a.Configs {
		s := fmt.Sprintf("%s=%s %v", k.Name, deref(k.Value), k.Source)
		for _, y := range k.ConfigSynonyms {
			s += fmt.Sprintf(" [%s=%s %v]", y.Name, deref(y.Value), y.Source)
		}
		all = append(all, s)
	}
	return all
}

func TestAlterConfigsRefuses(t *testing.T) {
	c := dial(t, open(t, broker.Config{}))
	mustCreate(c, "t", 1)
	tests := []struct {
		name     string
		kind     kmsg.ConfigResourceType
		resource string
		changes  []change
		want     *kerr.Error
	}{
		{"no such topic", ofTopic, "other", []change{{opSet, "retention.ms", "1"}}, kerr.UnknownTopicOrPartition},
		{"no topic's name", ofTopic, "a/b", []change{{opSet, "retention.ms", "1"}}, kerr.InvalidTopicException},
		{"all topics", ofTopic, "", []change{{opSet, "retention.ms", "1"}}, kerr.InvalidRequest},
		{"an unknown key", ofTopic, "t", []change{{opSet, "retention.s", "1"}}, kerr.InvalidConfig},
		{"an unknown key appended to", ofTopic, "t", []change{{opAppend, "policy", "1"}}, kerr.InvalidConfig},
		{"a key of brokers on a topic", ofTopic, "t", []change{{opSet, "log.retention.ms", "1"}}, kerr.InvalidConfig},
		{"a number that is none", ofTopic, "t", []change{{opSet, "retention.ms", "soon"}}, kerr.InvalidConfig},
		{"a number out of bounds", ofTopic, "t", []change{{opSet, "segment.bytes", "2147483648"}}, kerr.InvalidConfig},
		{"a level between two ranges", ofTopic, "t", []change{{opSet, "compression.gzip.level", "0"}}, kerr.InvalidConfig},
		{"a word that is none of those allowed", ofTopic, "t", []change{{opSet, "compression.type", "rot13"}}, kerr.InvalidConfig},
		{"neither true nor false", ofTopic, "t", []change{{opSet, "preallocate", "yes"}}, kerr.InvalidConfig},
		{"appending to no list", ofTopic, "t", []change{{opAppend, "retention.ms", "1"}}, kerr.InvalidConfig},
		{"subtracting from no list", ofTopic, "t", []change{{opSubtract, "retention.ms", "1"}}, kerr.InvalidConfig},
		{"appending nonsense", ofTopic, "t", []change{{opAppend, "cleanup.policy", "burn"}}, kerr.InvalidConfig},
		{"an unknown operation", ofTopic, "t", []change{{9, "retention.ms", "1"}}, kerr.InvalidRequest},
		{"null", ofTopic, "t", []change{{opSet, "retention.ms", "-"}}, kerr.InvalidRequest},
		{"a key twice", ofTopic, "t", []change{{opSet, "retention.ms", "1"}, {opSet, "retention.ms", "2"}}, kerr.InvalidRequest},
		{"a good change before a bad one", ofTopic, "t", []change{{opSet, "retention.ms", "1"}, {opSet, "segment.ms", "0"}}, kerr.InvalidConfig},
		{"lags that contradict each other", ofTopic, "t", []change{{opSet, "min.compaction.lag.ms", "2"}, {opSet, "max.compaction.lag.ms", "1"}}, kerr.InvalidConfig},
		{"another broker", ofBroker, "2", []change{{opSet, "log.retention.ms", "1"}}, kerr.InvalidRequest},
		{"no broker's name", ofBroker, "one", []change{{opSet, "log.retention.ms", "1"}}, kerr.InvalidRequest},
		{"what a broker can't change", ofBroker, "1", []change{{opSet, "num.partitions", "2"}}, kerr.InvalidRequest},
		{"what brokers can't change", ofBroker, "", []change{{opSet, "num.partitions", "2"}}, kerr.InvalidRequest},
		{"an unknown key of brokers", ofBroker, "1", []change{{opSet, "log.colour", "2"}}, kerr.InvalidConfig},
		{"a bad value of brokers", ofBroker, "1", []change{{opSet, "log.retention.ms", "x"}}, kerr.InvalidRequest},
		{"loggers", kmsg.ConfigResourceTypeBrokerLogger, "1", []change{{opSet, "kafka", "INFO"}}, kerr.InvalidRequest},
		{"nothing known", 77, "1", []change{{opSet, "kafka", "INFO"}}, kerr.InvalidRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for v := int16(0); v <= 1; v++ {
				req := incremental(v, tt.kind, tt.resource, tt.changes...)
				if a := do[*kmsg.IncrementalAlterConfigsResponse](c, req).Resources[0]; !isCode(a.ErrorCode, tt.want) {
					t.Errorf("incremental v%d: code %d (%s), want %v", v, a.ErrorCode, deref(a.ErrorMessage), tt.want)
				}
			}
			if slices.ContainsFunc(tt.changes, func(c change) bool { return c.op != opSet }) {
				return
			}
			var kv []string
			for _, ch := range tt.changes {
				kv = append(kv, ch.key, ch.value)
			}
			for v := int16(0); v <= 2; v++ {
				if code := alterAll(c, v, tt.kind, tt.resource, false, kv...); !isCode(code, tt.want) {
					t.Errorf("whole v%d: code %d, want %v", v, code, tt.want)
				}
			}
		})
	}
	twice := incremental(1, ofTopic, "t", change{opSet, "retention.ms", "1"})
	twice.Resources = append(twice.Resources, twice.Resources[0])
	for _, a := range do[*kmsg.IncrementalAlterConfigsResponse](c, twice).Resources {
		if a.ErrorCode != kerr.InvalidRequest.Code {
			t.Errorf("a resource named twice: code %d", a.ErrorCode)
		}
	}
	want := []string{"retention.ms=604800000 DEFAULT_CONFIG", "segment.ms=604800000 DEFAULT_CONFIG"}
	if got := described(c, ofTopic, "t", "retention.ms", "segment.ms"); !cmp.Equal(got, want) {
		t.Errorf("afterwards: %q", got)
	}
}

func TestAlterConfigs(t *testing.T) {
	cfg := broker.Config{FS: vfs.NewMem(), Dir: "/d", MessageMaxBytes: 700_000}
	b := open(t, cfg)
	c := dial(t, b)
	mustCreate(c, "t", 2, "segment.ms", "1000")
	policy := func() string { return described(c, ofTopic, "t", "cleanup.policy")[0] }
	steps := []struct {
		op   kmsg.IncrementalAlterConfigOp
		v    string
		want string
	}{
		{opAppend, "compact", "delete,compact DYNAMIC_TOPIC_CONFIG"},
		{opAppend, "compact,delete", "delete,compact DYNAMIC_TOPIC_CONFIG"},
		{opSubtract, " delete", "compact DYNAMIC_TOPIC_CONFIG"},
		{opDelete, "-", "delete DEFAULT_CONFIG"},
		{opSet, "compact", "compact DYNAMIC_TOPIC_CONFIG"},
	}
	for _, s := range steps {
		code := alterSome(c, ofTopic, "t", change{s.op, "cleanup.policy", s.v}, change{opDelete, "no.such.key", "-"})
		if got := policy(); code != 0 || !strings.HasPrefix(got, "cleanup.policy="+s.want) {
			t.Errorf("operation %v %q: code %d, %s, want %s", s.op, s.v, code, got, s.want)
		}
	}
	dry := incremental(1, ofTopic, "t", change{opSet, "cleanup.policy", "delete"})
	dry.ValidateOnly = true
	if a := do[*kmsg.IncrementalAlterConfigsResponse](c, dry).Resources[0]; a.ErrorCode != 0 || !strings.HasPrefix(policy(), "cleanup.policy=compact") {
		t.Errorf("validate only: code %d, then %s", a.ErrorCode, policy())
	}
	if code := alterAll(c, 2, ofTopic, "t", true); code != 0 || !strings.HasPrefix(policy(), "cleanup.policy=compact") {
		t.Errorf("validate only, whole: code %d, then %s", code, policy())
	}
	set(c, ofBroker, "1", "log.retention.ms", "123")
	set(c, ofBroker, "", "log.retention.ms", "456")
	set(c, ofBroker, "", "message.max.bytes", "800000")
	if code := alterAll(c, 0, ofTopic, "t", false, "retention.ms", "99", "max.message.bytes", "1000"); code != 0 {
		t.Fatalf("alter: code %d", code)
	}
	want := []string{
		"cleanup.policy=delete DEFAULT_CONFIG [log.cleanup.policy=delete DEFAULT_CONFIG]",
		"max.message.bytes=1000 DYNAMIC_TOPIC_CONFIG [max.message.bytes=1000 DYNAMIC_TOPIC_CONFIG]" +
			" [message.max.bytes=800000 DYNAMIC_DEFAULT_BROKER_CONFIG] [message.max.bytes=700000 STATIC_BROKER_CONFIG] [message.max.bytes=1048588 DEFAULT_CONFIG]",
		"retention.ms=99 DYNAMIC_TOPIC_CONFIG [retention.ms=99 DYNAMIC_TOPIC_CONFIG] [log.retention.ms=123 DYNAMIC_BROKER_CONFIG]" +
			" [log.retention.ms=456 DYNAMIC_DEFAULT_BROKER_CONFIG] [log.retention.hours=168 DEFAULT_CONFIG]",
		"segment.ms=604800000 DEFAULT_CONFIG",
	}
	brokerWant := []string{
		"message.max.bytes=800000 DYNAMIC_DEFAULT_BROKER_CONFIG [message.max.bytes=800000 DYNAMIC_DEFAULT_BROKER_CONFIG]",
		"log.retention.ms=456 DYNAMIC_DEFAULT_BROKER_CONFIG [log.retention.ms=456 DYNAMIC_DEFAULT_BROKER_CONFIG]",
	}
	check := func(when string, c *client) {
		t.Helper()
		if diff := cmp.Diff(want, described(c, ofTopic, "t", "cleanup.policy", "retention.ms", "segment.ms", "max.message.bytes")); diff != "" {
			t.Errorf("%s:\n%s", when, diff)
		}
		if diff := cmp.Diff(brokerWant, described(c, ofBroker, "")); diff != "" {
			t.Errorf("%s, of all brokers:\n%s", when, diff)
		}
		if p := produce(c, -1, "t", 0, batch(strings.Repeat("x", 2000))); p.ErrorCode != kerr.MessageTooLarge.Code {
			t.Errorf("%s: a batch of 2000 bytes: code %d", when, p.ErrorCode)
		}
	}
	check("at once", c)
	b.Close()
	c = dial(t, open(t, cfg))
	check("after a restart", c)
	if code := alterAll(c, 2, ofTopic, "t", false); code != 0 {
		t.Fatalf("alter: code %d", code)
	}
	if p := produce(c, -1, "t", 0, batch(strings.Repeat("x", 720_000))); p.ErrorCode != 0 {
		t.Errorf("a batch that all brokers take: code %d", p.ErrorCode)
	}
	if code := alterAll(c, 2, ofBroker, "", false); code != 0 {
		t.Fatalf("alter all brokers: code %d", code)
	}
	if p := produce(c, -1, "t", 0, batch(strings.Repeat("x", 720_000))); p.ErrorCode != kerr.MessageTooLarge.Code {
		t.Errorf("a batch that they take no more: code %d", p.ErrorCode)
	}
}

func TestDescribeConfigs(t *testing.T) {
	c := dial(t, open(t, broker.Config{Flush: broker.FlushPolicy{Mode: broker.FlushBatch}}))
	mustCreate(c, "t", 1)
	ask := func(v int16, kind kmsg.ConfigResourceType, name string) kmsg.DescribeConfigsResponseResource {
		req := withVersion(kmsg.NewPtrDescribeConfigsRequest(), v)
		req.IncludeDocumentation, req.IncludeSynonyms = true, true
		req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name}}
		return do[*kmsg.DescribeConfigsResponse](c, req).Resources[0]
	}
	for v := int16(1); v <= 4; v++ {
		for _, kind := range []kmsg.ConfigResourceType{ofTopic, ofBroker} {
			a := ask(v, kind, map[kmsg.ConfigResourceType]string{ofTopic: "t", ofBroker: "1"}[kind])
			if a.ErrorCode != 0 || len(a.Configs) < 25 {
				t.Errorf("v%d: code %d, %d configs", v, a.ErrorCode, len(a.Configs))
			}
			for _, k := range a.Configs {
				if v >= 3 && (k.ConfigType == 0 || len(deref(k.Documentation)) < 10) {
					t.Errorf("v%d: %s has type %v and text %q", v, k.Name, k.ConfigType, deref(k.Documentation))
				}
				if kind == ofTopic && k.Value == nil {
					t.Errorf("v%d: %s is null", v, k.Name)
				}
			}
		}
	}
	for _, tt := range []struct {
		kind kmsg.ConfigResourceType
		name string
		want *kerr.Error
	}{
		{ofTopic, "other", kerr.UnknownTopicOrPartition},
		{ofTopic, "a/b", kerr.InvalidTopicException},
		{ofBroker, "2", kerr.InvalidRequest},
		{ofBroker, "x", kerr.InvalidRequest},
		{1, "x", kerr.InvalidRequest},
	} {
		if a := ask(4, tt.kind, tt.name); a.ErrorCode != tt.want.Code || len(a.Configs) > 0 {
			t.Errorf("kind %v, %q: code %d, %d configs", tt.kind, tt.name, a.ErrorCode, len(a.Configs))
		}
	}
	want := []string{"flush.messages=1 STATIC_BROKER_CONFIG [log.flush.interval.messages=1 STATIC_BROKER_CONFIG] [log.flush.interval.messages=9223372036854775807 DEFAULT_CONFIG]"}
	if got := described(c, ofTopic, "t", "flush.messages"); !cmp.Equal(got, want) {
		t.Errorf("flush policy: %q", got)
	}
}

func TestListConfigResources(t *testing.T) {
	c := dial(t, open(t, broker.Config{}))
	mustCreate(c, "t", 1)
	for _, tt := range []struct {
		version int16
		kinds   []int8
		want    string
	}{
		{0, nil, "0"},
		{1, nil, "0 4:1 2:__consumer_offsets 2:t"},
		{1, []int8{2}, "0 2:__consumer_offsets 2:t"},
		{1, []int8{4}, "0 4:1"},
		{1, []int8{8, 16, 32}, "0"},
		{1, []int8{1}, "35"},
	} {
		req := withVersion(kmsg.NewPtrListConfigResourcesRequest(), tt.version)
		req.ResourceTypes = tt.kinds
		resp := do[*kmsg.ListConfigResourcesResponse](c, req)
		got := fmt.Sprint(resp.ErrorCode)
		for _, r := range resp.ConfigResources {
			kind := r.Type
			if tt.version == 0 {
				kind = 0
			}
			got += fmt.Sprintf(" %d:%s", kind, r.Name)
		}
		if got != tt.want {
			t.Errorf("v%d %v: %q, want %q", tt.version, tt.kinds, got, tt.want)
		}
	}
}

// What is set changes how a partition that is open already works.
func TestConfigsTakeEffectAtOnce(t *testing.T) {
	b := open(t, broker.Config{FS: vfs.NewMem(), Dir: "/d"})
	c := dial(t, b)
	mustCreate(c, "t", 1)
	stored := func(offset int64) seglog.Header {
		t.Helper()
		h, err := seglog.ParseHeader(fetch(c, "t", offset).RecordBatches)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	mustProduce(c, "t", "a")
	set(c, ofTopic, "t", "message.timestamp.type", "LogAppendTime")
	p := produce(c, -1, "t", 0, batch("b"))
	if h := stored(1); p.LogAppendTime < 1_600_000_000_000 || !h.LogAppendTime() || h.MaxTimestamp != p.LogAppendTime {
		t.Errorf("log append time: answer %d, stored %+v", p.LogAppendTime, h)
	}
	checkCRC(t, fetch(c, "t", 1).RecordBatches)
	for i, codec := range []string{"uncompressed", "gzip", "snappy", "lz4", "zstd"} {
		set(c, ofTopic, "t", "compression.type", codec)
		at := mustProduce(c, "t", numbered(codec, 50)...)
		checkCRC(t, fetch(c, "t", at).RecordBatches)
		if h := stored(at); h.Codec() != seglog.Codec(i) {
			t.Errorf("%s: stored with codec %d", codec, h.Codec())
		}
		if got := values(t, fetch(c, "t", at).RecordBatches, at); !cmp.Equal(got, numbered(codec, 50)) {
			t.Errorf("%s: %q", codec, got)
		}
	}
	set(c, ofTopic, "t", "message.timestamp.type", "CreateTime")
	set(c, ofTopic, "t", "message.timestamp.before.max.ms", "1000")
	if p := produce(c, -1, "t", 0, batch("old", "older")); p.ErrorCode != kerr.InvalidTimestamp.Code || len(p.ErrorRecords) != 2 {
		t.Errorf("records of 1970: code %d, %+v", p.ErrorCode, p.ErrorRecords)
	}
	set(c, ofTopic, "t", "message.timestamp.before.max.ms", "9223372036854775807")
	set(c, ofTopic, "t", "cleanup.policy", "compact")
	if p := produce(c, -1, "t", 0, batch("no key")); p.ErrorCode != kerr.InvalidRecord.Code || len(p.ErrorRecords) != 1 {
		t.Errorf("no key: code %d, %+v", p.ErrorCode, p.ErrorRecords)
	}
	set(c, ofTopic, "t", "min.insync.replicas", "2")
	keyed := seglog.BuildBatch([]seglog.Record{{Key: []byte("k"), Value: []byte("v")}})
	if p := produce(c, -1, "t", 0, keyed); p.ErrorCode != 0 {
		t.Errorf("two replicas wanted, one is all there are: code %d", p.ErrorCode)
	}
}

// checkCRC compares the CRC of a batch with its bytes.
func checkCRC(t *testing.T, b []byte) {
	t.Helper()
	h, err := seglog.ParseHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	if crc := crc32.Checksum(b[21:h.Length], crc32.MakeTable(crc32.Castagnoli)); crc != h.CRC {
		t.Errorf("CRC-32C is %08x, the header says %08x", crc, h.CRC)
	}
}
