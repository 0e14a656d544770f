// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/cmd/millrace/internal/cli"
	"github.com/millrace/millrace/internal/kafkatest"
)

// guide is the page of all commands, brokerGuide that of the broker.
const (
	guide       = "../../docs/guide/cli.md"
	brokerGuide = "../../docs/guide/broker.md"
)

// An example is a command of the guide and what it says that the command prints.
type example struct{ command, want string }

// examplesOf reads the blocks of kind "console".
func examplesOf(t *testing.T, page string) []example {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	inside := false
	for line := range strings.Lines(string(text)) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = strings.TrimSpace(line) == "```console"
		case inside && isCommand:
			all = append(all, example{command: strings.TrimSpace(command)})
		case inside:
			all[len(all)-1].want += line
		}
	}
	return all
}

// pattern is what an expected output means: "..." alone on a line is any number of
// lines, within a line any text.
func pattern(want string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for line := range strings.Lines(want) {
		if strings.TrimSpace(line) == "..." {
			b.WriteString(`(?:[^\n]*\n)*?`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, `[^\n]*`))
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String())
}

// asShell returns a function that runs a line of shell in which this program is
// called "millrace".
func asShell(t *testing.T, brokers string) func(line string) string {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no sh to run the examples")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin, dir := t.TempDir(), t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "millrace")); err != nil {
		t.Fatal(err)
	}
	return func(line string) string {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), runMain+"=1", "MILLRACE_BROKERS="+brokers, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return string(out) + "error: " + err.Error() + "\n"
		}
		return string(out)
	}
}

// The examples print the same on this broker and on Apache Kafka.
func TestGuide(t *testing.T) {
	t.Run("on this broker", func(t *testing.T) {
		run := asShell(t, newBrokerOverTCP(t))
		for _, e := range append(examplesOf(t, guide), examplesOf(t, brokerGuide)...) {
			if got := run(e.command); !pattern(e.want).MatchString(got) {
				t.Errorf("$ %s\nprints\n%s\nwant\n%s", e.command, got, e.want)
			}
		}
	})
	t.Run("on Apache Kafka", func(t *testing.T) {
		run := asShell(t, kafkatest.Start(t, "auto.create.topics.enable=false").Addr)
		for _, e := range append(examplesOf(t, guide), examplesOf(t, brokerGuide)...) {
			if got := runPatiently(run, e); !pattern(narrow(e.want)).MatchString(narrow(got)) {
				t.Errorf("$ %s\nprints\n%s\nwant\n%s", e.command, got, e.want)
			}
		}
	})
}

// narrow makes columns one space apart: Apache Kafka has rows of its own, and with
// them other widths.
func narrow(s string) string { return regexp.MustCompile(` {2,}`).ReplaceAllString(s, " ") }

// runPatiently runs a command that only looks a few times, until it prints what it
// should: Apache Kafka has created a topic before its brokers tell of it.
func runPatiently(run func(string) string, e example) string {
	deadline := time.Now().Add(time.Minute)
	for {
		got := run(e.command)
		looks := regexp.MustCompile(`^millrace \w+ (list|describe)\b`).MatchString(e.command)
		if !looks || pattern(narrow(e.want)).MatchString(narrow(got)) || time.Now().After(deadline) {
			return got
		}
	}
}

func newBrokerOverTCP(t *testing.T) (addr string) {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Config{Listen: "127.0.0.1:0", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b.Addr()
}

// What the pages say of starting a broker is understood: flags, and the file.
func TestGuideOfTheBroker(t *testing.T) {
	pages := ""
	for _, page := range []string{guide, brokerGuide} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		pages += string(text)
	}
	file := regexp.MustCompile("(?s)```properties\n(.*?)```").FindStringSubmatch(pages)
	commands := regexp.MustCompile(`(?m)^millrace broker ([^#\n]*)`).FindAllStringSubmatch(pages, -1)
	if file == nil || len(commands) < 3 {
		t.Fatalf("%d commands, file %v", len(commands), file)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("server.properties", []byte(file[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		var cfg broker.Config
		var flags brokerFlags
		f := pflag.NewFlagSet("broker", pflag.ContinueOnError)
		flags.register(f, &cfg)
		err := f.Parse(strings.Fields(c[1]))
		if err == nil {
			err = errors.Join(flags.configure(&cfg, f), flags.apply(&cfg, io.Discard))
		}
		if err != nil {
			t.Errorf("%s: %v", c[0], err)
		}
	}
}

// Every command has an example.
func TestGuideIsComplete(t *testing.T) {
	text := ""
	for _, e := range examplesOf(t, guide) {
		text += e.command + "\n"
	}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			visit(sub)
		}
		if c.HasSubCommands() || c.Name() == "broker" || c.Name() == "help" {
			return
		}
		if !regexp.MustCompile(regexp.QuoteMeta(c.CommandPath()) + `\b`).MatchString(text) {
			t.Errorf("%s has no example in %s", c.CommandPath(), guide)
		}
	}
	visit(newRoot(new(cli.Flags)))
}
