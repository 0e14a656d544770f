// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/kafkanode"
	"github.com/millrace/millrace/internal/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// workers is how many cases run at a time, each on both nodes.
const workers = 8

// A run is one case at one version.
type run struct {
	testCase
	version int16
}

// TestAnswersAreThoseOfApacheKafka fails with every difference that is not
// listed, and with every listed one that is none any more.
func TestAnswersAreThoseOfApacheKafka(t *testing.T) {
	listed := readExceptions(t, "exceptions.txt")
	kafka, ours := nodes(t)
	only, err := regexp.Compile(os.Getenv("DIFFTEST"))
	if err != nil {
		t.Fatal(err)
	}
	r := &report{listed: listed}
	apis := r.announced(t, kafka, ours)
	kafka.apis, ours.apis = apis, apis
	for _, n := range []*node{kafka, ours} {
		if trace := n.play(testCase{name: "scene", once: true, run: prepare}, 0); len(trace) > 0 {
			t.Fatalf("prepare %s: %v", n.name, trace)
		}
	}
	var alone, together []run
	for _, c := range cases() {
		if !only.MatchString(c.name) {
			continue
		}
		for _, v := range versionsOf(c, apis) {
			if c.alone {
				alone = append(alone, run{c, v})
			} else {
				together = append(together, run{c, v})
			}
		}
	}
	begin := time.Now()
	r.all(alone, 1, kafka, ours)
	t.Logf("the runs that are alone took %.1f s", time.Since(begin).Seconds())
	r.all(together, workers, kafka, ours)
	for _, d := range r.sorted() {
		t.Error(d)
	}
	for _, e := range listed {
		if e.used.Load() == 0 && only.String() == "" {
			t.Errorf("exceptions.txt, line %d: there is no such difference any more", e.line)
		}
	}
	slices.Sort(r.slow)
	t.Logf("the slowest runs:\n%s", strings.Join(r.slow[max(0, len(r.slow)-20):], "\n"))
	t.Logf("%d requests of %d runs were compared, in %d fields; %d exceptions", r.steps, len(alone)+len(together), r.fields, len(listed))
}

// nodes starts both, with the same options.
func nodes(t *testing.T) (kafka, ours *node) {
	const maxConnections, requestMemory = 5000, 200 << 20
	k := kafkatest.StartWith(t, kafkanode.Config{
		// Eligible leader replicas (KIP-966) would fix min.insync.replicas of all brokers.
		Format: []string{"--feature", "eligible.leader.replicas.version=0"},
		Props: []string{
			"num.io.threads=4", "num.network.threads=2",
			fmt.Sprint("max.connections=", maxConnections), fmt.Sprint("queued.max.request.bytes=", requestMemory),
			"offsets.topic.segment.bytes=16777216", // ours, which are replayed sooner
			// Its own haste is not to be seen: assignments at once, as ours are.
			"group.consumer.assignment.interval.ms=0", "group.consumer.assignor.offload.enable=false",
		},
	})
	b, err := broker.Open(context.Background(), broker.Config{
		Dir: t.TempDir(), Listen: "127.0.0.1:0", AutoCreateTopics: true, OffsetsPartitions: 4,
		MaxConnections: maxConnections, RequestMemory: requestMemory,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the broker: %v", err)
		}
	})
	return &node{name: "Kafka", addr: k.Addr, topics: map[[16]byte]string{}}, &node{name: "ours", addr: b.Addr(), topics: map[[16]byte]string{}}
}

// A report gathers what differs.
type report struct {
	listed []*exception

	mu            sync.Mutex
	steps, fields int
	found         []difference
	slow          []string // how long each run took
}

// all plays runs, so many at a time.
func (r *report) all(runs []run, workers int, kafka, ours *node) {
	todo := make(chan run) // no capacity: a worker takes the next when it is free
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for c := range todo {
				r.one(c, kafka, ours)
			}
		})
	}
	for _, c := range runs {
		todo <- c
	}
	close(todo)
	wg.Wait()
}

func (r *report) one(c run, kafka, ours *node) {
	start := time.Now()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.slow = append(r.slow, fmt.Sprintf("%8.3f s %s v%d", time.Since(start).Seconds(), c.name, c.version))
	}()
	var want []step
	var wg sync.WaitGroup
	wg.Go(func() { want = kafka.play(c.testCase, c.version) })
	got := ours.play(c.testCase, c.version)
	wg.Wait()
	for i := range max(len(want), len(got)) {
		none := step{api: "script", version: c.version, label: "none", fields: map[string]string{"": "no more answers"}}
		a, b := none, none
		if i < len(want) {
			a = want[i]
		}
		if i < len(got) {
			b = got[i]
		}
		r.compare(c.name, &a, &b)
		if a.label != b.label {
			return // what follows has nothing to be compared with
		}
	}
}

func (r *report) compare(name string, a, b *step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps++
	if a.label != b.label {
		a.fields, b.fields = map[string]string{"": a.label + ": " + a.fields[""]}, map[string]string{"": b.label + ": " + b.fields[""]}
	}
	paths := slices.Sorted(maps.Keys(a.fields))
	for path := range b.fields {
		if _, ok := a.fields[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	var skipped []string              // prefixes of what can't but differ
	if a.fields[""] != b.fields[""] { // one of them did not answer: that is all
		paths = []string{""}
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "ErrorCode") && a.fields[path] != b.fields[path] {
			skipped = append(skipped, strings.TrimSuffix(path, "ErrorCode"))
		}
	}
	for _, path := range paths {
		r.fields++
		skip := func(prefix string) bool { return strings.HasPrefix(path, prefix) && path != prefix+"ErrorCode" }
		if slices.ContainsFunc(skipped, skip) {
			continue
		}
		x, y := a.fields[path], b.fields[path]
		if strings.Contains(path, `Topics["__consumer_offsets"]`) && strings.HasSuffix(path, ".Size") && x != "" && y != "" {
			continue // its records carry ids of the node, and times
		}
		if a.api == "ApiVersions" && strings.HasPrefix(path, "ApiKeys[") && y == "" {
			skipped = append(skipped, path) // a key that we have not is no difference: it is not tested either
			continue
		}
		if none := cmp.Or(x, y); (x == "" || y == "") && (none == "null" || none == "[]") {
			continue // the other has elements, which are told
		}
		if (x == "there") != (y == "there") {
			skipped = append(skipped, path) // what one node does not have has no fields
		}
		d := difference{
			api: a.api, version: a.version, at: name + "/" + a.label, path: path,
			kafka: cmp.Or(x, "absent"), ours: cmp.Or(y, "absent"),
		}
		if x != y && !r.excepted(&d) {
			r.found = append(r.found, d)
		}
	}
}

func (r *report) excepted(d *difference) bool {
	yes := false
	for _, e := range r.listed {
		if e.matches(d) {
			e.used.Add(1)
			yes = true
		}
	}
	return yes
}

// sorted are the differences as lines, those of all versions as one.
func (r *report) sorted() []string {
	var lines []string
	seen := map[difference][]int16{}
	for _, d := range r.found {
		v := d.version
		d.version = 0
		seen[d] = append(seen[d], v)
	}
	for d, versions := range seen {
		slices.Sort(versions)
		d.version = versions[0]
		line := d.String()
		if len(versions) > 1 {
			line += " (and in " + fmt.Sprint(versions[1:]) + ")"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// versionsOf are those that a case runs at.
func versionsOf(c testCase, apis map[int16][2]int16) []int16 {
	if c.once {
		return []int16{0}
	}
	r := apis[c.key.Int16()]
	var all []int16
	for v := r[0]; v <= r[1]; v++ {
		all = append(all, v)
	}
	return all
}

// announced compares what the nodes announce: our keys must be among those of
// Kafka, and a difference in the range of one is like any other. It returns the
// versions that both have.
func (r *report) announced(t *testing.T, kafka, ours *node) map[int16][2]int16 {
	ranges := func(n *node) map[int16][2]int16 {
		all := make(map[int16][2]int16)
		n.play(testCase{name: "announced", once: true, run: func(s *script) {
			req := apiVersions("difftest", "1.0")
			req.SetVersion(4)
			for _, k := range ask[*kmsg.ApiVersionsResponse](s, req).ApiKeys {
				all[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
			}
		}}, 0)
		return all
	}
	both := make(map[int16][2]int16)
	theirs := ranges(kafka)
	for key, us := range ranges(ours) {
		them, ok := theirs[key]
		if !ok {
			t.Errorf("ours announces key %d, %s, Kafka does not", key, kmsg.NameForKey(key))
			continue
		}
		both[key] = [2]int16{max(us[0], them[0]), min(us[1], them[1])}
	}
	if len(both) == 0 {
		t.Fatal("a node announces nothing")
	}
	return both
}
