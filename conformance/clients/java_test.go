// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/millrace/millrace/internal/kafkanode"
)

// java is the part of the tools' program that runs several of them at once:
// groups of several members of Apache Kafka's consumer, and records that are too
// large for its producer. Topics are made, and groups described, with franz-go.
type java struct {
	*franz
	cp      string // of the virtual machines
	logging string // their configuration
}

const javaTools = "org.apache.kafka.tools."

// startJava runs its scenarios side by side: they wait for sessions and heartbeats,
// and for the start of JVMs. finish waits for them, and adds their outcomes to out.
func startJava(ctx context.Context, t *testing.T, addr string, admin *kadm.Client, out *outcomes) (finish func()) {
	t.Helper()
	cp, err := kafkanode.Classpath()
	if err != nil {
		return func() {} // the first tool says so
	}
	logging := filepath.Join(t.TempDir(), "log4j2.yaml")
	if err := kafkanode.WriteLogging(logging); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var each []*outcomes
	for name, run := range map[string]func(j *java, name string) error{
		"large": (*java).large,
		"group eager": func(j *java, name string) error {
			return j.group(name, joiningJava{assignor: "RangeAssignor", kill: true})
		},
		"group cooperative": func(j *java, name string) error {
			return j.group(name, joiningJava{assignor: "CooperativeStickyAssignor"})
		},
		"group consumer": func(j *java, name string) error { return j.group(name, joiningJava{}) },
	} {
		own := &outcomes{steps: steps{}, logf: out.logf}
		each = append(each, own)
		j := &java{&franz{ctx, "java", addr, admin, own}, cp, logging}
		running.Go(func() {
			own.scenario(name, func(name string) error { return run(j, name) })
		})
	}
	return func() {
		running.Wait()
		for _, own := range each {
			maps.Copy(out.steps, own.steps)
			out.errors = append(out.errors, own.errors...)
		}
	}
}

// command is a virtual machine that runs one of the tools on the broker.
func (j *java) command(class string, args ...string) []string {
	line := append([]string{"java"}, kafkanode.CommandLine(kafkanode.ShortLife, j.logging, j.cp, javaTools+class)...)
	return append(append(line, "--bootstrap-server", j.addr), args...)
}

// run runs a tool to its end, and returns its standard output and error.
func (j *java) run(stdin, class string, args ...string) (stdout, stderr string, err error) {
	line := j.command(class, args...)
	cmd := exec.CommandContext(j.ctx, line[0], line[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return "", "", fmt.Errorf("%s %s: %w: %s", class, strings.Join(args, " "), err, &errs)
	}
	j.out.logf("%s took %v", class, time.Since(begin).Round(10*time.Millisecond))
	return out.String(), errs.String(), nil
}

// kafkaException is one in what the clients log.
var kafkaException = regexp.MustCompile(`(?m)^org\.apache\.kafka\.common\.errors\.(\w+):`)

// large: a record that fits, one that the broker refuses, and one that the client
// does. Of errors it is noted which they are: beside the code the bundled broker
// sends a text with the sizes, where Apache Kafka has none.
func (j *java) large(scenario string) error {
	name, err := j.create(scenario, 1)
	if err != nil {
		return err
	}
	var in strings.Builder
	for _, n := range []int{largestValue, largestValue + 1, 1_200_000} {
		fmt.Fprintln(&in, strings.Repeat("x", n))
	}
	_, logged, err := j.run(in.String(), "ConsoleProducer", "--topic", name, "--command-property", "max.request.size=1100000")
	if err != nil {
		return err
	}
	refused := []string{}
	for _, found := range kafkaException.FindAllStringSubmatch(logged, -1) {
		refused = append(refused, found[1])
	}
	j.out.got(scenario, "refused, as the producer tells", refused)
	end, err := j.admin.ListEndOffsets(j.ctx, name)
	if err != nil {
		return err
	}
	o, _ := end.Lookup(name, 0)
	j.out.got(scenario, "end", o.Offset)
	read, _, err := j.run("", "consumer.ConsoleConsumer", "--topic", name, "--from-beginning", "--max-messages", "1",
		"--command-property", "fetch.max.bytes=1000", "--command-property", "max.partition.fetch.bytes=1000")
	if err != nil {
		return err
	}
	j.out.got(scenario, "read with small limits", len(strings.TrimSpace(read)))
	return nil
}
