// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/internal/runtime/link/linktest"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

// foreign are the metadata of offsets that this engine did not commit as it does now.
var foreign = map[string]string{
	"none":                        "",
	"a tool's note":               "reset by hand on 2026-11-22",
	"Kafka Streams' time":         base64.StdEncoding.EncodeToString([]byte{2, 0, 0, 1, 0x93, 0, 0, 0, 0}),
	"not of base64":               "\x00\xff%%%",
	"another magic":               base64.StdEncoding.EncodeToString([]byte("Mx\x01" + strings.Repeat("\x00", 18))),
	"a later version":             base64.StdEncoding.EncodeToString([]byte("Mr\x02" + strings.Repeat("\x7f", 16) + "\x00\x00")),
	"too short for its count":     base64.StdEncoding.EncodeToString([]byte("Mr\x01" + strings.Repeat("\x00", 16) + "\xff\xff")),
	"as long as brokers allow it": strings.Repeat("A", 4096),
}

// foreignRun runs a case, has another program commit the offset where the run has ended,
// with metadata of its own, and runs on. It gives the last result of each key.
func foreignRun(t *testing.T, build func(*processor.Topology, *kstream.KStream[string, string]), metadata *string, times ...int64) map[string]string {
	t.Helper()
	c, d := cluster(1), newDisk("")
	with := func(cfg *runtime.Config) {
		cfg.Stores, cfg.Workers, cfg.CommitInterval = d, 1, 100*time.Millisecond
	}
	top := processor.NewTopology("app")
	build(top, kstream.From(top, topic.Of[string, string]("in")))
	p, err := top.Graph().Build()
	if err != nil {
		t.Fatal(err)
	}
	id := 0
	send := func(times ...int64) {
		for _, at := range times {
			id++
			c.Append("in", 0, plan.Raw{Key: []byte{byte('a' + id/2%2)}, Value: fmt.Appendf(nil, "%03d", id), Timestamp: at})
		}
		time.Sleep(time.Second)
	}
	a := app(t, c, p, with)
	send(1000, 1030, 1080, 1150, 1300, 1310, 1400, 1420)
	if err := closeApp(a); err != nil {
		t.Fatal(err)
	}
	if metadata != nil {
		commitAs(t, c, link.Partition{Topic: "in"}, *metadata)
	}
	b := app(t, c, p, with)
	send(times...)
	if err := closeApp(b); err != nil {
		t.Fatalf("after another program's commit: %v", err)
	}
	return lastResults(c)
}

// commitAs has another member of the group commit a partition's offset as it is, with
// other metadata.
func commitAs(t *testing.T, c *linktest.Cluster, p link.Partition, metadata string) {
	t.Helper()
	k, err := c.Connect(link.Config{Group: "app"})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	owned := make(chan []link.Partition, 4) // more rounds than there are
	m, err := k.Join(link.MemberConfig{
		Topics:   []string{p.Topic},
		Assigned: func(parts []link.Partition) { owned <- parts },
		Revoked:  func([]link.Partition) {}, Lost: func([]link.Partition) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	<-owned
	at := c.Committed("app", p)
	if at <= 0 {
		t.Fatalf("committed offset %d of %v, want one", at, p)
	}
	if err := m.Commit(t.Context(), map[link.Partition]link.Position{p: {Offset: at, Epoch: -1, Metadata: metadata}}); err != nil {
		t.Fatal(err)
	}
	if err := m.Leave(t.Context(), false); err != nil {
		t.Fatal(err)
	}
}

// Offsets that another program has committed say nothing of time: the stores are believed,
// and what they hold is met by what comes, if none of it is late. (Of lateness steps know
// nothing any more, as after a restart of Kafka Streams.)
func TestOffsetsOfAnotherProgramChangeNoResult(t *testing.T) {
	for name, build := range windowedCases {
		var want map[string]string
		times := []int64{1390, 1430, 1440, 1440, 1500, 1490, 1700, 1900}
		synctest.Test(t, func(t *testing.T) { want = foreignRun(t, build, nil, times...) })
		if len(want) < 2 {
			t.Fatalf("%s: %d results: too few to tell anything", name, len(want))
		}
		for what, metadata := range foreign {
			t.Run(name+"/"+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if diff := cmp.Diff(want, foreignRun(t, build, &metadata, times...)); diff != "" {
						t.Errorf("results (-with our metadata +with this):\n%s", diff)
					}
				})
			})
		}
	}
}

// What has expired in a store stays so: a record that no step knows to be late does not
// meet it, and leaves nothing behind.
func TestOffsetsOfAnotherProgramLeaveStoresTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := ""
		got := foreignRun(t, windowedCases["tumbling, on update"], &none, 1010, 1011, 1012, 1013)
		late := window.Key[string]{Key: "a", Start: 1000, End: 1100}
		key, err := window.TimeKey(serde.String, 100*time.Millisecond).Encode(late)
		if err != nil {
			t.Fatal(err)
		}
		if v := got[string(key)]; strings.Contains(v, " ") {
			t.Errorf("the last result of a window that has expired is %q, want a late record alone", v)
		}
	})
}
