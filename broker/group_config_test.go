// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/internal/vfs"
)

const ofGroup = kmsg.ConfigResourceTypeGroupConfig

const (
	sessionKey   = "consumer.session.timeout.ms"
	heartbeatKey = "consumer.heartbeat.interval.ms"
)

// The codes are those of Apache Kafka 4.3.1.
func TestAlterGroupConfigs(t *testing.T) {
	c := dial(t, open(t, broker.Config{}))
	for _, tt := range []struct {
		name    string
		group   string
		changes []change
		want    *kerr.Error
	}{
		{"a session timeout", "g", []change{{opSet, sessionKey, "50000"}}, nil},
		{"too short", "g", []change{{opSet, sessionKey, "10"}}, kerr.InvalidConfig},
		{"too long", "g", []change{{opSet, sessionKey, "1000000000"}}, kerr.InvalidConfig},
		{"no number", "g", []change{{opSet, sessionKey, "x"}}, kerr.InvalidConfig},
		{"heartbeats too often", "g", []change{{opSet, heartbeatKey, "4000"}}, kerr.InvalidConfig},
		{"a heartbeat interval", "g", []change{{opSet, heartbeatKey, "6000"}}, nil},
		{"heartbeats too seldom", "g", []change{{opSet, heartbeatKey, "16000"}}, kerr.InvalidConfig},
		{"an unknown key", "g", []change{{opSet, "no.such", "1"}}, kerr.InvalidConfig},
		{"an unknown key removed", "g", []change{{opDelete, "no.such", "-"}}, nil},
		{"no list", "g", []change{{opAppend, sessionKey, "1"}}, kerr.InvalidConfig},
		{"all groups", "", []change{{opSet, sessionKey, "50000"}}, kerr.InvalidRequest},
		{"one of two is wrong", "h", []change{{opSet, sessionKey, "46000"}, {opSet, heartbeatKey, "46000"}}, kerr.InvalidConfig},
	} {
		if code := alterSome(c, ofGroup, tt.group, tt.changes...); !isCode(code, tt.want) {
			t.Errorf("%s: code %d, want %v", tt.name, code, tt.want)
		}
	}
	dry := incremental(1, ofGroup, "g", change{opSet, sessionKey, "51000"})
	dry.ValidateOnly = true
	if code := do[*kmsg.IncrementalAlterConfigsResponse](c, dry).Resources[0].ErrorCode; code != 0 {
		t.Errorf("validate only: code %d", code)
	}
	want := []string{
		heartbeatKey + "=6000 GROUP_CONFIG [" + heartbeatKey + "=6000 GROUP_CONFIG] [group." + heartbeatKey + "=5000 DEFAULT_CONFIG]",
		sessionKey + "=50000 GROUP_CONFIG [" + sessionKey + "=50000 GROUP_CONFIG] [group." + sessionKey + "=45000 DEFAULT_CONFIG]",
	}
	if diff := cmp.Diff(want, described(c, ofGroup, "g")); diff != "" {
		t.Errorf("configs of g: %s", diff)
	}
	if got := described(c, ofGroup, "h", sessionKey); !cmp.Equal(got, []string{sessionKey + "=45000 DEFAULT_CONFIG [group." + sessionKey + "=45000 DEFAULT_CONFIG]"}) {
		t.Errorf("configs of a group without any: %q", got)
	}
	if got := configuredGroups(c); !cmp.Equal(got, []string{"g"}) {
		t.Errorf("groups with configs: %q", got)
	}
	if code := alterAll(c, 2, ofGroup, "g", false, sessionKey, "48000"); code != 0 {
		t.Errorf("replace all: code %d", code)
	}
	if got := described(c, ofGroup, "g", heartbeatKey); len(got) != 1 || got[0][:len(heartbeatKey)+5] != heartbeatKey+"=5000" {
		t.Errorf("what was not named stays: %q", got)
	}
	if code := alterSome(c, ofGroup, "g", change{opDelete, sessionKey, "-"}); code != 0 || len(configuredGroups(c)) > 0 {
		t.Errorf("remove: code %d, groups with configs: %q", code, configuredGroups(c))
	}
}

func configuredGroups(c *client) []string {
	c.t.Helper()
	req := withVersion(kmsg.NewPtrListConfigResourcesRequest(), 1)
	req.ResourceTypes = []int8{int8(ofGroup)}
	var all []string
	for _, r := range do[*kmsg.ListConfigResourcesResponse](c, req).ConfigResources {
		all = append(all, r.Name)
	}
	return all
}

func TestGroupConfigsAreDurable(t *testing.T) {
	disk := vfs.NewCrashMem()
	c := dial(t, open(t, broker.Config{FS: disk, Dir: "/d"}))
	set(c, ofGroup, "g", sessionKey, "51000")
	for seed := range uint64(10) {
		after := dial(t, open(t, broker.Config{FS: disk.Crash(rand.New(rand.NewPCG(seed, 1))), Dir: "/d"}))
		if got := described(after, ofGroup, "g", sessionKey); len(got) != 1 || got[0][:len(sessionKey)+6] != sessionKey+"=51000" {
			t.Errorf("seed %d: %q", seed, got)
		}
	}
}

// A group's own session timeout and heartbeat interval are those of its members.
func TestGroupConfigsHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, open(t, broker.Config{}))
		awaitGroups(c)
		mustCreate(c, "t", 1)
		set(c, ofGroup, "slow", sessionKey, "59000")
		set(c, ofGroup, "slow", heartbeatKey, "9000")
		for group, interval := range map[string]int32{"slow": 9000, "usual": 5000} {
			beat := withVersion(kmsg.NewPtrConsumerGroupHeartbeatRequest(), 1)
			beat.Group, beat.MemberID, beat.RebalanceTimeoutMillis = group, "m", 60_000
			beat.SubscribedTopicNames, beat.Topics = []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			if resp := do[*kmsg.ConsumerGroupHeartbeatResponse](c, beat); resp.ErrorCode != 0 || resp.HeartbeatIntervalMillis != interval {
				t.Errorf("%s: code %d, interval %d ms, want %d", group, resp.ErrorCode, resp.HeartbeatIntervalMillis, interval)
			}
		}
		members := func() (slow, usual int) {
			synctest.Wait()
			req := withVersion(kmsg.NewPtrConsumerGroupDescribeRequest(), 1)
			req.Groups = []string{"slow", "usual"}
			resp := do[*kmsg.ConsumerGroupDescribeResponse](c, req)
			return len(resp.Groups[0].Members), len(resp.Groups[1].Members)
		}
		time.Sleep(46 * time.Second)
		if slow, usual := members(); slow != 1 || usual != 0 {
			t.Errorf("after 46 s: %d and %d members, want 1 and 0", slow, usual)
		}
		time.Sleep(14 * time.Second)
		if slow, _ := members(); slow != 0 {
			t.Errorf("after 60 s: %d members, want none", slow)
		}
	})
}

// Apache Kafka's own tool sets and shows them.
func TestKafkaConfigsOfGroups(t *testing.T) {
	b := open(t, broker.Config{Listen: "127.0.0.1:0"})
	tool := func(args ...string) string {
		return kafkatest.Tool(t, "configs", append([]string{"--bootstrap-server", b.ListenAddr(), "--entity-type", "groups"}, args...), "")
	}
	if got := tool("--alter", "--entity-name", "g", "--add-config", sessionKey+"=50000"); !strings.Contains(got, "Completed updating config for group g.") {
		t.Errorf("alter: %s", got)
	}
	if got := tool("--describe"); !strings.Contains(got, sessionKey+"=50000") {
		t.Errorf("describe: %s", got)
	}
}
