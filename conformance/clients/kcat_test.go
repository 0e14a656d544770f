// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kcat is the program of kcat. What it can't do (make topics, give records a
// time, tell what is committed) is done for it with franz-go.
type kcat struct {
	*franz
	t *testing.T
}

func kcatProgram(ctx context.Context, t *testing.T, addr string, out *outcomes) {
	if _, err := exec.LookPath("kcat"); err != nil {
		t.Skip("kcat is missing: install it (apt-get install kcat)")
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	k := &kcat{&franz{ctx, "kcat", addr, kadm.NewClient(cl), out}, t}
	for _, codec := range codecs {
		out.scenario("codec "+codec, func(name string) error { return k.codec(name, codec) })
	}
	out.scenario("records", k.records)
	out.scenario("large", k.large)
	out.scenario("times", k.times)
	out.scenario("idempotent", k.idempotent)
	out.scenario("unread", k.unread)
	out.scenario("metadata", k.metadata)
	out.scenario("group eager", func(name string) error { return k.group(name, "range") })
	out.scenario("group cooperative", func(name string) error { return k.group(name, "cooperative-sticky") })
	out.scenario("static eager", k.static)
}

// run runs kcat to its end and returns its standard output. Its exit status
// and the end of its standard error are in the error.
func (k *kcat) run(stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(k.ctx, "kcat", append([]string{"-b", k.addr}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return "", fmt.Errorf("kcat %s: %w: %s", args, err, lines[len(lines)-1])
	}
	return stdout.String(), nil
}

func (k *kcat) codec(scenario, codec string) error {
	name, err := k.create(scenario, 1)
	if err != nil {
		return err
	}
	var in strings.Builder
	for i := range codecCount {
		fmt.Fprintf(&in, "%d:%s\n", i, codecValue(codec, i))
	}
	if _, err := k.run(in.String(), "-P", "-t", name, "-K", ":", "-z", codec); err != nil {
		return err
	}
	back, err := k.run("", "-C", "-t", name, "-K", ":", "-o", "beginning", "-e", "-q")
	if err != nil {
		return err
	}
	equal := 0
	if back == in.String() {
		equal = codecCount
	}
	k.out.got("codec", codec+", equal", equal)
	return nil
}

// kcatRecord is a record as kcat -J prints it.
type kcatRecord struct {
	Offset  int64    `json:"offset"`
	TsType  string   `json:"tstype"`
	Headers []string `json:"headers"`
	Key     *string  `json:"key"`
	Payload *string  `json:"payload"`
}

// records: kcat gives all records of one call the same headers.
func (k *kcat) records(scenario string) error {
	name, err := k.create(scenario, 1)
	if err != nil {
		return err
	}
	if _, err := k.run("k:v\n:no key\nno value:\n", "-P", "-t", name, "-K", ":", "-Z"); err != nil {
		return err
	}
	if _, err := k.run("h:headers\n", "-P", "-t", name, "-K", ":", "-H", "a=1", "-H", "a=2", "-H", "empty=", "-H", "null"); err != nil {
		return err
	}
	back, err := k.run("", "-C", "-J", "-t", name, "-o", "beginning", "-e", "-q")
	if err != nil {
		return err
	}
	for text := range strings.Lines(back) {
		var r kcatRecord
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return err
		}
		k.out.got(scenario, fmt.Sprintf("%d, as kcat tells", r.Offset), r)
	}
	return nil
}

func (k *kcat) large(scenario string) error {
	name, err := k.create(scenario, 1)
	if err != nil {
		return err
	}
	file := filepath.Join(k.t.TempDir(), "value")
	for step, n := range map[string]int{"fits": largestValue, "one byte more": largestValue + 1} {
		if err := os.WriteFile(file, bytes.Repeat([]byte("x"), n), 0o644); err != nil {
			return err
		}
		// a file is a record
		_, err := k.run("", "-P", "-t", name, "-X", "message.max.bytes=4000000", file)
		switch {
		case err == nil:
			k.out.got(scenario, step, 0)
		case strings.Contains(err.Error(), "Broker: Message size too large"):
			k.out.got(scenario, step, 10)
		default:
			return err
		}
	}
	for step, more := range map[string][]string{"read": nil, "read with small limits": {"-X", "fetch.message.max.bytes=1000"}} {
		back, err := k.run("", append([]string{"-C", "-t", name, "-o", "beginning", "-e", "-q", "-f", "%S\n"}, more...)...)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(strings.TrimSpace(back))
		if err != nil {
			return err
		}
		k.out.got(scenario, step, n)
	}
	return nil
}

var queried = regexp.MustCompile(`\[0\] offset (-?\d+)`)

func (k *kcat) times(scenario string) error {
	name, err := k.timed(scenario)
	if err != nil {
		return err
	}
	for step, ms := range map[string]int64{"earliest": -2, "latest": -1, "of a record": 2000, "between": 2500, "after all": 9000} {
		if ms >= 0 {
			ms += baseTime
		}
		back, err := k.run("", "-Q", "-t", fmt.Sprintf("%s:0:%d", name, ms))
		if err != nil {
			return err
		}
		m := queried.FindStringSubmatch(back)
		if m == nil {
			return fmt.Errorf("kcat -Q printed %q", back)
		}
		at, _ := strconv.Atoi(m[1])
		if at < 0 {
			at = 5 // librdkafka's "end"
		}
		k.out.got(scenario, step, at)
	}
	for step, flags := range map[string][]string{
		"consumed between": {"-o", fmt.Sprintf("s@%d", baseTime+1000), "-o", fmt.Sprintf("e@%d", baseTime+3000)},
		"consumed last 2":  {"-o", "-2", "-e"},
		"consumed from 3":  {"-o", "3", "-e"},
	} {
		back, err := k.run("", append([]string{"-C", "-q", "-t", name, "-f", "%o %T\n"}, flags...)...)
		if err != nil {
			return err
		}
		k.out.got(scenario, step, strings.ReplaceAll(back, fmt.Sprint(baseTime/10_000), ""))
	}
	return nil
}

func (k *kcat) idempotent(scenario string) error {
	name, err := k.create(scenario, 1)
	if err != nil {
		return err
	}
	var in strings.Builder
	for i := range idempotent {
		fmt.Fprintln(&in, i)
	}
	if _, err := k.run(in.String(), "-P", "-t", name, "-X", "enable.idempotence=true", "-X", "batch.num.messages=10"); err != nil {
		return err
	}
	back, err := k.run("", "-C", "-t", name, "-o", "beginning", "-e", "-q")
	if err != nil {
		return err
	}
	k.out.got(scenario, "in order", back == in.String())
	return nil
}

// unread: kcat can't pause a partition. Where its output is not read, it stops
// fetching when its queue is full; it goes on where it was, and holds nobody up.
func (k *kcat) unread(scenario string) error {
	name, err := k.create(scenario, 1)
	if err != nil {
		return err
	}
	want := strings.Join(unreadValues(), "\n") + "\n"
	if _, err := k.run(want, "-P", "-t", name); err != nil {
		return err
	}
	all := []string{"-C", "-t", name, "-o", "beginning", "-e", "-q"}
	cmd := exec.CommandContext(k.ctx, "kcat", append([]string{
		"-b", k.addr, "-X", "queued.max.messages.kbytes=64", "-X", "queued.min.messages=1", "-X", "fetch.message.max.bytes=65536",
	}, all...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	first := make([]byte, 1) // it has begun
	_, err = io.ReadFull(stdout, first)
	others, meanwhile := k.run("", all...)
	k.out.got(scenario, "read by another meanwhile", strings.Count(others, "\n"))
	rest, last := io.ReadAll(stdout)
	k.out.got(scenario, "in order when it is read on", string(first)+string(rest) == want)
	return errors.Join(err, meanwhile, last, cmd.Wait())
}

func (k *kcat) metadata(scenario string) error {
	name, err := k.create(scenario, 3)
	if err != nil {
		return err
	}
	back, err := k.run("", "-L", "-J", "-t", name)
	if err != nil {
		return err
	}
	var shown struct {
		Brokers []struct{ ID int }
		Topics  []struct {
			Topic      string
			Partitions []struct{ Partition, Leader int }
		}
	}
	if err := json.Unmarshal([]byte(back), &shown); err != nil {
		return err
	}
	k.out.got(scenario, "listed", shown)
	return nil
}

// kcatMember is a kcat that consumes in a group until it is told to stop.
type kcatMember struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu    sync.Mutex
	lines int
	owned map[string]bool // "topic [0]"
}

var (
	eagerly       = regexp.MustCompile(`% Group \S+ rebalanced \([^)]*\): (assigned|revoked): (.*)`)
	incrementally = regexp.MustCompile(`% Group \S+ rebalanced: incremental (assignment|revoke) of .*\): (.*)`)
)

// note takes a line of kcat's standard error.
func (m *kcatMember) note(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := incrementally.FindStringSubmatch(text)
	if found == nil {
		if found = eagerly.FindStringSubmatch(text); found == nil {
			return
		}
		m.owned = make(map[string]bool)
	}
	for p := range strings.SplitSeq(found[2], ", ") {
		if p = strings.TrimSpace(p); p != "" {
			m.owned[p] = strings.HasPrefix(found[1], "assign")
		}
	}
}

func (m *kcatMember) assigned() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []int32
	for p, owned := range m.owned {
		if owned {
			n, _ := strconv.Atoi(strings.Trim(p[strings.LastIndex(p, " ")+1:], "[]"))
			all = append(all, int32(n))
		}
	}
	slices.Sort(all)
	return all
}

func (m *kcatMember) read() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lines
}

// leave stops kcat in good order; calling it twice is safe.
func (m *kcatMember) leave() {
	_ = m.cmd.Process.Signal(os.Interrupt)
	<-m.done
}

func (k *kcat) joinWith(name, strategy string, more ...string) (*kcatMember, error) {
	args := append([]string{
		"-b", k.addr, "-G", name, "-X", "auto.offset.reset=earliest", "-X", "heartbeat.interval.ms=500",
		"-X", "partition.assignment.strategy=" + strategy, "-f", "%s\n", "-u",
	}, more...)
	cmd := exec.CommandContext(k.ctx, "kcat", append(args, name)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	m := &kcatMember{cmd: cmd, done: make(chan struct{}), owned: make(map[string]bool)}
	var readers sync.WaitGroup
	readers.Go(func() {
		eachLine(stdout, func(string) {
			m.mu.Lock()
			m.lines++
			m.mu.Unlock()
		})
	})
	readers.Go(func() { eachLine(stderr, m.note) })
	go func() { // ends with kcat, which leave stops; so does the program's context
		defer close(m.done)
		readers.Wait()
		_ = cmd.Wait()
	}()
	return m, nil
}

func (k *kcat) group(scenario, strategy string) error {
	name, err := k.fill(scenario, groupParts)
	if err != nil {
		return err
	}
	one, err := k.joinWith(name, strategy)
	if err != nil {
		return err
	}
	defer one.leave()
	if err := until(k.ctx, "all records", func() bool { return one.read() == groupParts*groupEach }); err != nil {
		return err
	}
	k.out.got(scenario, "assigned to one", one.assigned())
	two, err := k.joinWith(name, strategy)
	if err != nil {
		return err
	}
	defer two.leave()
	if err := until(k.ctx, "two members to share", func() bool {
		return len(one.assigned()) == groupParts/2 && len(two.assigned()) == groupParts/2
	}); err != nil {
		return fmt.Errorf("%w: %v and %v", err, one.assigned(), two.assigned())
	}
	k.out.got(scenario, "shared by two", sizes(one.assigned(), two.assigned()))
	k.out.got(scenario, "partitions of both", slices.Sorted(slices.Values(append(one.assigned(), two.assigned()...))))
	if err := k.describe(scenario, "described with two", name, "Stable"); err != nil {
		return err
	}
	one.leave()
	if err := until(k.ctx, "one member to have all", func() bool { return len(two.assigned()) == groupParts }); err != nil {
		return err
	}
	k.out.got(scenario, "after one has left", sizes(two.assigned()))
	k.out.got(scenario, "read again", two.read())
	two.leave()
	if err := k.committed(scenario, name); err != nil {
		return err
	}
	return k.describe(scenario, "described when both have left", name, "Empty")
}

// static: a member with an instance id that comes back has what it had.
func (k *kcat) static(scenario string) error {
	name, err := k.fill(scenario, groupParts)
	if err != nil {
		return err
	}
	one, err := k.joinWith(name, "range", "-X", "group.instance.id=one")
	if err != nil {
		return err
	}
	defer one.leave()
	two, err := k.joinWith(name, "range", "-X", "group.instance.id=two")
	if err != nil {
		return err
	}
	defer func() { two.leave() }()
	share := func() bool {
		return len(one.assigned()) == groupParts/2 && len(two.assigned()) == groupParts/2
	}
	if err := until(k.ctx, "two members to share", share); err != nil {
		return err
	}
	before := two.assigned()
	two.leave()
	if err := k.describe(scenario, "one is away", name, "Stable"); err != nil {
		return err
	}
	if two, err = k.joinWith(name, "range", "-X", "group.instance.id=two"); err != nil {
		return err
	}
	if err := until(k.ctx, "the member that came back", share); err != nil {
		return err
	}
	k.out.got(scenario, "same partitions after it came back", slices.Equal(before, two.assigned()))
	return k.describe(scenario, "it is back", name, "Stable")
}

// eachLine calls line with each line of r until its end.
func eachLine(r io.Reader, line func(string)) {
	all := bufio.NewScanner(r)
	all.Buffer(nil, 1<<20)
	for all.Scan() {
		line(all.Text())
	}
}
