// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

// A Finding is something about a topic that an operator of the application should
// know before it is started.
type Finding struct {
	Topic   string
	Problem string
	Fatal   bool // the application does not start
}

// String gives the finding as a sentence.
func (f Finding) String() string { return fmt.Sprintf("topic %q %s", f.Topic, f.Problem) }

// Preflight compares the plan's topics with the cluster's and changes nothing. The
// error is that of the configuration, or of a cluster that does not answer.
func Preflight(ctx context.Context, p *plan.Plan, cfg Config) ([]Finding, error) {
	cfg = cfg.withDefaults()
	lc := cfg.Link
	lc.Group = p.App
	c, err := cfg.Connect(lc)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	s, err := survey(ctx, c, p)
	if err != nil {
		return nil, err
	}
	return s.findings, nil
}

// A topicSurvey is what the cluster has of a plan's topics.
type topicSurvey struct {
	names    []string
	found    map[string]link.Topic
	counts   map[string]int32 // of partitions: as they are, or as they are to be
	missing  []plan.Internal
	findings []Finding
}

func (s *topicSurvey) add(fatal bool, topic, format string, args ...any) {
	s.findings = append(s.findings, Finding{topic, fmt.Sprintf(format, args...), fatal})
}

// survey describes the plan's topics and finds what does not fit.
func survey(ctx context.Context, c link.Cluster, p *plan.Plan) (*topicSurvey, error) {
	s := &topicSurvey{counts: map[string]int32{}}
	internals, external := p.Internals(), map[string]bool{}
	for _, in := range internals {
		s.names = append(s.names, in.Name)
	}
	chosen := map[string]bool{} // sinks that choose partitions
	for _, sub := range p.Subs {
		for _, n := range sub.Sources {
			if !n.Internal {
				external[n.Topic] = true
			}
		}
		for _, n := range sub.Nodes {
			if n.Partitioned && !external[n.Topic] {
				chosen[n.Topic] = true
			}
		}
	}
	for _, sub := range p.Globals {
		external[sub.Name] = true
	}
	s.names = append(s.names, slices.Sorted(maps.Keys(external))...)
	s.names = append(s.names, slices.Sorted(maps.Keys(chosen))...)
	var err error
	if s.found, err = c.Topics(ctx, s.names...); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(external)) {
		t, ok := s.found[name]
		if !ok {
			s.add(true, name, "does not exist: it is a source topic, to be created before the application is started")
			continue
		}
		s.counts[name] = t.Partitions
	}
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		if _, ok := s.found[name]; !ok {
			s.add(true, name, "does not exist: records are put into partitions of it that the program chooses, so it is to be created before the application is started")
		}
	}
	if len(s.findings) > 0 {
		return s, nil // the rest follows from the sources
	}
	s.settle(internals, p.Copartitioned())
	for _, in := range internals {
		t, ok := s.found[in.Name]
		switch n := s.counts[in.Name]; {
		case !ok:
			s.missing = append(s.missing, in)
			s.add(false, in.Name, "does not exist: it is created with %d partitions when the application starts", n)
		case in.Partitions != 0 && t.Partitions != in.Partitions:
			s.add(true, in.Name, "has %d partitions, not %d, which Repartition asks for: reset the application (delete the topic and the state), or ask for as many as before",
				t.Partitions, in.Partitions)
		case n != 0 && t.Partitions != n:
			s.add(true, in.Name, "has %d partitions, not %d, which its sources %v have: reset the application (delete the topic and the state), or give the sources as many partitions as before",
				t.Partitions, n, in.Sources)
		default:
			if err := s.checkPolicy(ctx, c, in); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// settle finds the partition counts of internal topics: a repartition topic has those
// of the topics whose records it meets, or, if they are all internal, as many as the
// largest of the topics that it comes from.
func (s *topicSurvey) settle(internals []plan.Internal, groups [][]string) {
	for _, in := range internals {
		if in.Partitions > 0 {
			s.counts[in.Name] = in.Partitions
		}
	}
	together := map[string][]string{}
	for _, g := range groups {
		for _, name := range g {
			together[name] = g
		}
		s.settleGroup(g)
	}
	left := internals
	for len(left) > 0 {
		var later []plan.Internal
		for _, in := range left {
			if s.counts[in.Name] > 0 {
				continue
			}
			n, ok := largest(in.Sources, s.counts)
			if !ok {
				later = append(later, in)
				continue
			}
			s.counts[in.Name] = n
			for _, peer := range together[in.Name] {
				if s.counts[peer] == 0 {
					s.counts[peer] = n
				}
			}
		}
		if len(later) == len(left) {
			s.add(true, left[0].Name, "follows itself in the number of its partitions: give it another source")
			return
		}
		left = later
	}
}

// settleGroup gives the repartition topics of a group the count of the others, which
// must be one.
func (s *topicSurvey) settleGroup(group []string) {
	first := ""
	for _, name := range group {
		switch n := s.counts[name]; {
		case n == 0:
		case first == "":
			first = name
		case n != s.counts[first]:
			s.add(true, name, "has %d partitions and topic %q, whose records it meets, has %d: repartition one of the streams", n, first, s.counts[first])
		}
	}
	for _, name := range group {
		if s.counts[name] == 0 && first != "" {
			s.counts[name] = s.counts[first]
		}
	}
}

func largest(topics []string, counts map[string]int32) (int32, bool) {
	var n int32
	for _, t := range topics {
		c, ok := counts[t]
		if !ok {
			return 0, false
		}
		n = max(n, c)
	}
	return n, true
}

const (
	cleanupPolicy = "cleanup.policy"
	retentionMs   = "retention.ms"
	afterMaxMs    = "message.timestamp.after.max.ms"
	timestampType = "message.timestamp.type"
)

// checkPolicy looks at the configs that an internal topic must have for its records
// to be there when they are needed.
func (s *topicSurvey) checkPolicy(ctx context.Context, c link.Cluster, in plan.Internal) error {
	get := func(key string) (string, error) { return c.TopicConfig(ctx, in.Name, key) }
	policy, err := get(cleanupPolicy)
	if err != nil {
		return err
	}
	compacted := strings.Contains(policy, "compact")
	switch {
	case policy == "": // the broker does not say
	case in.Changelog && !compacted:
		s.add(true, in.Name, "has %s=%s: a changelog must be compacted, or state is lost with its records", cleanupPolicy, policy)
	case !in.Changelog && compacted:
		s.add(true, in.Name, "has %s=%s: a repartition topic must not be compacted, or records are lost", cleanupPolicy, policy)
	}
	if !in.Changelog {
		if v, err := get(retentionMs); err != nil {
			return err
		} else if ms, err := strconv.ParseInt(v, 10, 64); err == nil && ms >= 0 {
			s.add(false, in.Name, "has %s=%s: records that are not read by then are lost; -1 keeps them until they are", retentionMs, v)
		}
	}
	v, err := get(afterMaxMs)
	if err != nil {
		return err
	}
	if ms, err := strconv.ParseInt(v, 10, 64); err == nil && ms < math.MaxInt64 {
		s.add(false, in.Name, "has %s=%s: records of times further in the future are refused, which ends the application", afterMaxMs, v)
	}
	if v, err = get(timestampType); err != nil {
		return err
	}
	if v == "LogAppendTime" {
		s.add(true, in.Name, "has %s=%s: event times would be lost", timestampType, v)
	}
	return nil
}

// setUpTopics makes the internal topics that are missing and checks those that are
// there. It returns all topics by name, and what is worth a warning.
func setUpTopics(ctx context.Context, c link.Cluster, p *plan.Plan, replication int16) (map[string]link.Topic, []Finding, error) {
	s, err := survey(ctx, c, p)
	if err != nil {
		return nil, nil, err
	}
	if err := s.fatal(); err != nil {
		return nil, nil, err
	}
	var create []link.NewTopic
	for _, in := range s.missing {
		create = append(create, newTopic(in, s.counts[in.Name], replication))
	}
	if err := createTopics(ctx, c, create); err != nil {
		return nil, nil, err
	}
	made := len(s.missing) > 0
	for try := 0; len(s.missing) > 0; try++ { // a new topic takes a moment to be known everywhere
		if try > 0 {
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return nil, nil, err
			}
		}
		if s, err = survey(ctx, c, p); err != nil {
			return nil, nil, err
		}
	}
	if made { // another instance may have been first, with another version
		err = s.fatal()
	}
	return s.found, s.findings, err
}

// fatal joins the findings that keep the application from starting.
func (s *topicSurvey) fatal() error {
	var errs []error
	for _, f := range s.findings {
		if f.Fatal {
			errs = append(errs, errors.New(f.String()))
		}
	}
	return errors.Join(errs...)
}

// newTopic has the policies of Kafka Streams' InternalTopicConfig, and takes records of
// any event time: since Kafka 4 a broker refuses those an hour ahead of it.
func newTopic(in plan.Internal, partitions int32, replication int16) link.NewTopic {
	t := link.NewTopic{Name: in.Name, Partitions: partitions, Replication: replication}
	if in.Changelog {
		t.Configs = map[string]string{cleanupPolicy: "compact"}
	} else {
		t.Configs = map[string]string{
			cleanupPolicy: "delete", retentionMs: "-1", "segment.bytes": "52428800",
		}
	}
	t.Configs[timestampType] = "CreateTime"
	t.Configs[afterMaxMs] = strconv.FormatInt(math.MaxInt64, 10)
	return t
}

// createTopics makes topics, on brokers older than Kafka 3.6 without the bound on
// future times, which they do not have.
func createTopics(ctx context.Context, c link.Cluster, topics []link.NewTopic) error {
	err := c.CreateTopics(ctx, topics)
	if !errors.Is(err, link.ErrConfig) {
		return err
	}
	for i := range topics {
		delete(topics[i].Configs, afterMaxMs)
	}
	return c.CreateTopics(ctx, topics)
}

// pause waits, or returns why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
