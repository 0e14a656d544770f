// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// joiningJava says how a member of Apache Kafka's consumer joins.
type joiningJava struct {
	assignor string // of the classic protocol; empty: the consumer protocol
	kill     bool   // the first member does not leave, but is killed: its session ends
}

// javaMember is Apache Kafka's verifiable consumer, which commits after each
// poll, until it is told to leave.
type javaMember struct {
	hold   io.WriteCloser // of the keeper
	done   chan struct{}
	stderr bytes.Buffer // after done

	mu      sync.Mutex
	owned   []int32
	got     []string
	commits map[int32]int64
	refused int // commits
}

// memberEvent is a line of the verifiable consumer.
type memberEvent struct {
	Name, Value string
	Success     bool
	Partitions  []struct{ Partition int32 }
	Offsets     []struct {
		Partition int32
		Offset    int64
	}
}

// note takes a line of its standard output.
func (m *javaMember) note(text string) {
	var e memberEvent
	if json.Unmarshal([]byte(text), &e) != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e.Name {
	case "partitions_assigned":
		for _, p := range e.Partitions {
			m.owned = append(m.owned, p.Partition)
		}
	case "partitions_revoked":
		for _, p := range e.Partitions {
			m.owned = slices.DeleteFunc(m.owned, func(q int32) bool { return p.Partition == q })
		}
	case "record_data":
		m.got = append(m.got, e.Value)
	case "offsets_committed":
		if !e.Success {
			m.refused++
			return
		}
		for _, o := range e.Offsets {
			m.commits[o.Partition] = o.Offset
		}
	}
}

func (m *javaMember) assigned() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(slices.Values(m.owned))
}

// values are those that it has read, in order.
func (m *javaMember) values() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

// committedTo tells whether members have committed that offset of each partition.
func committedTo(offset int64, members ...*javaMember) bool {
	done := make(map[int32]bool)
	for _, m := range members {
		m.mu.Lock()
		for p, at := range m.commits {
			done[p] = done[p] || at >= offset
		}
		m.mu.Unlock()
	}
	for p := range int32(groupParts) {
		if !done[p] {
			return false
		}
	}
	return true
}

// String is for the texts of failures.
func (m *javaMember) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("a member with %v that has read %v, committed %v and had %d commits refused", m.owned, m.got, m.commits, m.refused)
}

// leave stops the member in good order; calling it twice, or after kill, is safe.
func (m *javaMember) leave() {
	_ = m.hold.Close()
	<-m.done
}

func (m *javaMember) kill() {
	_, _ = io.WriteString(m.hold, "-KILL\n")
	<-m.done
}

func (j *java) join(name string, o joiningJava) (*javaMember, error) {
	args := []string{"--topic", name, "--group-id", name, "--verbose"}
	if o.assignor == "" {
		args = append(args, "--group-protocol", "consumer")
	} else {
		file := filepath.Join(filepath.Dir(j.logging), name+".properties")
		if err := os.WriteFile(file, []byte("heartbeat.interval.ms=500\n"), 0o644); err != nil {
			return nil, err
		}
		session := "45000"
		if o.kill {
			session = "10000"
		}
		args = append(args, "--group-protocol", "classic", "--session-timeout", session, "--command-config", file,
			"--assignment-strategy", "org.apache.kafka.clients.consumer."+o.assignor)
	}
	line := j.command("VerifiableConsumer", args...)
	cmd := exec.Command("sh", append([]string{"-c", keeper, "keeper"}, line...)...)
	m := &javaMember{done: make(chan struct{}), commits: make(map[int32]int64)}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if m.hold, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	cmd.Stderr = &m.stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the consumer, which leave and kill wait for
		defer close(m.done)
		eachLine(stdout, m.note)
		_ = cmd.Wait()
		if m.stderr.Len() > 0 {
			j.out.logf("a member of %s:\n%s", name, &m.stderr)
		}
	}()
	return m, nil
}

// more produces a record to each of some partitions of a group's topic, the i-th.
func (j *java) more(name string, i int, partitions []int32) (values []string, err error) {
	var send []*kgo.Record
	for _, p := range partitions {
		values = append(values, groupValue(int(p), i))
		send = append(send, &kgo.Record{Topic: name, Partition: p, Value: []byte(groupValue(int(p), i))})
	}
	return values, j.produce(send)
}

// group: one member joins and reads, a second joins and both read, the first
// leaves or is killed, and the second goes on with all.
func (j *java) group(scenario string, o joiningJava) error {
	name, err := j.fill(scenario, groupParts)
	if err != nil {
		return err
	}
	one, err := j.join(name, o)
	if err != nil {
		return err
	}
	defer one.leave()
	if err := until(j.ctx, "all records, and their commits", func() bool { return committedTo(groupEach, one) }); err != nil {
		return fmt.Errorf("%w: %s", err, one)
	}
	j.out.got(scenario, "read by one", slices.Equal(slices.Sorted(slices.Values(one.values())), groupValues()))
	two, err := j.join(name, o)
	if err != nil {
		return err
	}
	defer two.leave()
	if err := j.share(scenario, name, one, two); err != nil {
		return err
	}
	if err := j.takeOver(scenario, name, one, two, o.kill); err != nil {
		return err
	}
	two.leave()
	if err := j.committed(scenario, name); err != nil {
		return err
	}
	return j.describe(scenario, "described when both have left", name, "Empty")
}

// share: two members have half of the partitions each, and read each record once.
func (j *java) share(scenario, name string, one, two *javaMember) error {
	if err := until(j.ctx, "two members to share", func() bool {
		return len(one.assigned()) == groupParts/2 && len(two.assigned()) == groupParts/2
	}); err != nil {
		return fmt.Errorf("%w: %s and %s", err, one, two)
	}
	j.out.got(scenario, "shared by two", sizes(one.assigned(), two.assigned()))
	j.out.got(scenario, "partitions of both", slices.Sorted(slices.Values(append(one.assigned(), two.assigned()...))))
	if err := j.describe(scenario, "described with two", name, "Stable"); err != nil {
		return err
	}
	again := len(two.values())
	values, err := j.more(name, groupEach, []int32{0, 1, 2, 3})
	if err != nil {
		return err
	}
	all := func() []string {
		return slices.Sorted(slices.Values(append(one.values(), two.values()...)))
	}
	want := slices.Sorted(slices.Values(append(groupValues(), values...)))
	if err := until(j.ctx, "what came meanwhile", func() bool { return committedTo(groupEach+1, one, two) }); err != nil {
		return fmt.Errorf("%w: %s and %s", err, one, two)
	}
	j.out.got(scenario, "read again", again)
	j.out.got(scenario, "read by both, each once", slices.Equal(all(), want))
	return nil
}

// takeOver: one member goes, and what comes to its partitions is read by the other.
// What comes to those that the other has had comes later: a commit while the
// members change may be refused.
func (j *java) takeOver(scenario, name string, one, two *javaMember, kill bool) error {
	step, left, kept := "after one has left", one.assigned(), two.assigned()
	if kill {
		step = "after one was killed"
		one.kill()
	} else {
		one.leave()
	}
	before := len(two.values())
	orphans, err := j.more(name, groupEach+1, left)
	if err != nil {
		return err
	}
	if err := until(j.ctx, "one member to have all", func() bool {
		return len(two.assigned()) == groupParts && len(two.values()) >= before+len(orphans)
	}); err != nil {
		return fmt.Errorf("%w: %s", err, two)
	}
	j.out.got(scenario, step, sizes(two.assigned()))
	if err := j.describe(scenario, "described with one", name, "Stable"); err != nil {
		return err
	}
	others, err := j.more(name, groupEach+1, kept)
	if err != nil {
		return err
	}
	if err := until(j.ctx, "all that came", func() bool { return committedTo(groupEach+2, two) }); err != nil {
		return fmt.Errorf("%w: %s", err, two)
	}
	j.out.got(scenario, step+", read on, each once", slices.Equal(slices.Sorted(slices.Values(two.values()[before:])),
		slices.Sorted(slices.Values(append(orphans, others...)))))
	return nil
}
