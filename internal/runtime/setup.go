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
	Pattern bool // Topic is a pattern of names
}

// String gives the finding as a sentence.
func (f Finding) String() string {
	what := "topic"
	if f.Pattern {
		what = "pattern"
	}
	return fmt.Sprintf("%s %q %s", what, f.Topic, f.Problem)
}

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
	left, err := leftovers(ctx, c, p, s.matches)
	if err != nil {
		return nil, err
	}
	for _, topic := range left {
		s.add(false, topic, "belongs to nothing in the topology, and is named as if it did: if it is of a step that was removed or renamed, and of no other application, it can be deleted")
	}
	return s.findings, nil
}

// A topicSurvey is what the cluster has of a plan's topics.
type topicSurvey struct {
	found    map[string]link.Topic
	matches  plan.Matches
	counts   map[string]int32 // of partitions: as they are, or as they are to be
	missing  []plan.Internal
	findings []Finding
}

func (s *topicSurvey) add(fatal bool, topic, format string, args ...any) {
	s.findings = append(s.findings, Finding{Topic: topic, Problem: fmt.Sprintf(format, args...), Fatal: fatal})
}

// sourcesOf describes the source topics of a plan: those that there are, and what its
// patterns stand for. Overlaps are topics that two of them match.
func sourcesOf(ctx context.Context, c link.Cluster, p *plan.Plan) (found map[string]link.Topic, m plan.Matches, overlaps []plan.Overlap, err error) {
	if !p.HasPatterns() {
		found, err = c.Topics(ctx, sourceTopics(p, nil)...)
		return found, nil, nil, err
	}
	all, err := c.AllTopics(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	var names []string
	for name, t := range all {
		if !t.Private {
			names = append(names, name)
		}
	}
	m, overlaps = p.Match(names)
	found = map[string]link.Topic{}
	for _, name := range sourceTopics(p, m) {
		if t, ok := all[name]; ok {
			found[name] = t
		}
	}
	return found, m, overlaps, nil
}

// sourceTopics lists the topics that a plan reads, repartition topics and those of global
// tables among them, in order.
func sourceTopics(p *plan.Plan, m plan.Matches) []string {
	var topics []string
	for _, sub := range slices.Concat(p.Subs, p.Globals) {
		topics = append(topics, sub.Topics(m)...)
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// survey describes the plan's topics and finds what does not fit.
func survey(ctx context.Context, c link.Cluster, p *plan.Plan) (*topicSurvey, error) {
	s := &topicSurvey{counts: map[string]int32{}}
	found, matches, overlaps, err := sourcesOf(ctx, c, p)
	if err != nil {
		return nil, err
	}
	s.matches = matches
	for _, o := range overlaps {
		s.add(true, o.Topic, "%s", o.Problem)
	}
	internals, chosen := p.Internals(matches), chosenSinks(p)
	external := map[string]bool{}
	for _, name := range sourceTopics(p, matches) {
		external[name] = true
	}
	var others []string
	for _, in := range internals {
		delete(external, in.Name)
		others = append(others, in.Name)
	}
	for name := range external {
		delete(chosen, name)
	}
	others = append(others, slices.Sorted(maps.Keys(chosen))...)
	if s.found, err = c.Topics(ctx, others...); err != nil {
		return nil, err
	}
	for name := range external {
		if t, ok := found[name]; ok {
			s.found[name] = t
		}
	}
	for _, expr := range p.Patterns() {
		if len(matches[expr]) == 0 {
			s.findings = append(s.findings, Finding{Topic: expr, Pattern: true, Problem: "matches no topic yet: what is created later is read"})
		}
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
	if s.fatal() != nil {
		return s, nil // the rest follows from the sources
	}
	s.settle(internals, p.Copartitioned(matches))
	return s, s.checkInternals(ctx, c, internals)
}

// checkInternals finds which internal topics are missing, and which do not fit.
func (s *topicSurvey) checkInternals(ctx context.Context, c link.Cluster, internals []plan.Internal) error {
	for _, in := range internals {
		t, ok := s.found[in.Name]
		switch n := s.counts[in.Name]; {
		case !ok && n == 0: // it follows patterns that match nothing yet
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
				return err
			}
		}
	}
	return nil
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
			s.add(true, name, "has %d partitions and topic %q, whose records it meets, has %d: repartition one of the streams, or give the topics as many partitions as each other", n, first, s.counts[first])
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
// there.
func setUpTopics(ctx context.Context, c link.Cluster, p *plan.Plan, replication int16) (*topicSurvey, error) {
	s, err := survey(ctx, c, p)
	if err != nil {
		return nil, err
	}
	if err := s.fatal(); err != nil {
		return nil, &topicsError{err}
	}
	var create []link.NewTopic
	for _, in := range s.missing {
		create = append(create, newTopic(in, s.counts[in.Name], replication))
	}
	if err := createTopics(ctx, c, create); err != nil {
		return nil, err
	}
	made := len(s.missing) > 0
	for try := 0; len(s.missing) > 0; try++ { // a new topic takes a moment to be known everywhere
		if try > 0 {
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return nil, err
			}
		}
		if s, err = survey(ctx, c, p); err != nil {
			return nil, err
		}
		if err := s.fatal(); made && err != nil { // another instance may have been first, with another version
			return nil, &topicsError{err}
		}
	}
	return s, nil
}

// A topicsError is what is wrong with the topics: waiting does not help.
type topicsError struct{ err error }

func (e *topicsError) Error() string { return e.err.Error() }
func (e *topicsError) Unwrap() error { return e.err }

// chosenSinks are the topics of sinks that choose partitions.
func chosenSinks(p *plan.Plan) map[string]bool {
	chosen := map[string]bool{}
	for _, sub := range p.Subs {
		for _, n := range sub.Nodes {
			if n.Partitioned {
				chosen[n.Topic] = true
			}
		}
	}
	return chosen
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
