// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafkatest"
)

// What kcat writes this program reads, and the other way round, and the same
// format prints the same.
func TestKcat(t *testing.T) {
	if _, err := exec.LookPath("kcat"); err != nil {
		t.Skip("kcat is missing: apt-get install kcat")
	}
	addr := newBrokerOverTCP(t)
	run := asShell(t, addr)
	kcat := func(line string) string { return run("kcat -b " + addr + " " + line) }
	run("millrace topics create t --partitions 2")
	if out := run(`printf 'a:1\nb:2\n:empty\nd:NULL\n' | millrace produce t -K : -p 1 -Z NULL -H h=x -z lz4`); out != "4 records to t\n" {
		t.Fatal(out)
	}
	if out := run("printf 'e|5\\nf|6\\n' | kcat -b " + addr + " -P -t t -p 1 -K '|' -z snappy -H g=y"); out != "" {
		t.Fatal(out)
	}
	for _, format := range []string{`%k=%s\n`, `%t %p %o [%K] [%S]\n`, `%h|%s\t%%\x41\n`, `%T\n`} {
		theirs := kcat("-C -q -e -t t -o beginning -f '" + format + "'")
		ours := run("millrace consume t -e -f '" + format + "'")
		if diff := cmp.Diff(theirs, ours); diff != "" || strings.Count(ours, "\n") != 6 {
			t.Errorf("format %s: kcat (-) and millrace (+) differ:\n%s%s", format, diff, ours)
		}
	}
	for _, offset := range []string{"beginning", "end", "3", "-2"} {
		theirs := kcat("-C -q -e -t t -p 1 -o " + offset + ` -f '%o '`)
		if ours := run("millrace consume t -e -p 1 -o " + offset + ` -f '%o '`); ours != theirs {
			t.Errorf("from offset %s: kcat %q, millrace %q", offset, theirs, ours)
		}
	}
	// Both send a key to the same partition where kcat is told to hash as Kafka does.
	run(`for i in 1 2 3 4 5 6 7 8 9; do echo "key$i:ours"; done | millrace produce t -K :`)
	run(`for i in 1 2 3 4 5 6 7 8 9; do echo "key$i:theirs"; done | kcat -b ` + addr + ` -P -t t -K : -X partitioner=murmur2`)
	of := func(who string) string {
		return run(`millrace consume t -e -f '%k %p %v\n' | grep ` + who + ` | cut -d' ' -f1,2 | sort`)
	}
	if diff := cmp.Diff(of("theirs"), of("ours")); diff != "" || of("ours") == "" {
		t.Errorf("partitions by key: kcat (-), millrace (+):\n%s", diff)
	}
}

// consume ends at the last record also where what follows it is no record: the
// markers of transactions.
func TestConsumeTransactions(t *testing.T) {
	k := kafkatest.Shared(t)
	run := asShell(t, k.Addr)
	run("millrace topics create cli-txn --partitions 1")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.Addr), kgo.DefaultProduceTopic("cli-txn"), kgo.TransactionalID("cli"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, txn := range []struct {
		value string
		end   kgo.TransactionEndTry
	}{{"kept", kgo.TryCommit}, {"dropped", kgo.TryAbort}} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(ctx, kgo.StringRecord(txn.value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(ctx, txn.end); err != nil {
			t.Fatal(err)
		}
	}
	if got := run(`millrace consume cli-txn -e --committed`); got != "kept\n" {
		t.Errorf("committed: %q", got)
	}
	if got := run(`millrace consume cli-txn -e`); got != "kept\ndropped\n" {
		t.Errorf("all: %q", got)
	}
	if got := run(`millrace consume cli-txn -e -g cli-txn-group --committed; millrace offsets export cli-txn-group`); got != "kept\ncli-txn,0,4\n" {
		t.Errorf("in a group: %q", got)
	}
	if got := run(`millrace perf consume cli-txn -q`); !strings.HasPrefix(got, "records     2 in") {
		t.Errorf("perf consume: %q", got)
	}
}

// A node whose clients must say who they are.
func TestSASL(t *testing.T) {
	k := kafkatest.Start(t,
		"listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
		"sasl.enabled.mechanisms=PLAIN",
		"sasl.mechanism.inter.broker.protocol=PLAIN",
		`listener.name.plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required `+
			`username="broker" password="b" user_broker="b" user_ada="love";`,
	)
	run := asShell(t, k.Addr)
	for _, c := range []struct{ line, want string }{
		{"MILLRACE_PASSWORD=love millrace topics create sasl -p 1 --user ada", "created sasl: partitions 1, replication 1\n"},
		{"millrace topics list --user ada --password love --sasl-mechanism plain --json | grep topic", "    \"topic\": \"sasl\",\n"},
		{"millrace topics list --user ada --password hate; echo $?", "SASL_AUTHENTICATION_FAILED"},
	} {
		if got := run(c.line); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.line, got, c.want)
		}
	}
}
