// SPDX-License-Identifier: Apache-2.0

package processor_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
)

// patience bounds what takes a second on an idle machine.
const patience = 2 * time.Minute

func passing() *processor.Topology {
	top := processor.NewTopology("passing")
	kstream.From(top, topic.Of[string, string]("in")).To(topic.Of[string, string]("out"))
	return top
}

func TestStartRefusesWhatCannotNameAnInstance(t *testing.T) {
	for _, test := range []struct {
		name string
		cfg  processor.Config
		want string // "": it starts
	}{
		{"a name", processor.Config{InstanceID: "shop-1.a_b"}, ""},
		{"a name with a space", processor.Config{InstanceID: "shop 1"}, `"shop 1"`},
		{"a name that is too long", processor.Config{InstanceID: strings.Repeat("x", 250)}, "at most 249"},
		{"a path", processor.Config{InstanceID: ".."}, `".."`},
		{"staying with neither name nor folder", processor.Config{StayOnClose: true}, "Stay needs"},
		{"staying with a name", processor.Config{StayOnClose: true, InstanceID: "a"}, ""},
		{"an address", processor.Config{Address: "shop-1:8080"}, ""},
		{"an address of IPv6", processor.Config{Address: "[::1]:8080"}, ""},
		{"an address without a port", processor.Config{Address: "shop-1"}, "missing port"},
		{"an address without a host", processor.Config{Address: ":8080"}, `":8080"`},
		{"an address with port 0", processor.Config{Address: "shop-1:0"}, `"shop-1:0"`},
		{"an address with the name of a port", processor.Config{Address: "shop-1:http"}, `"shop-1:http"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.cfg.Brokers = []string{"127.0.0.1:1"} // nobody is there: it waits
			app, err := processor.Start(t.Context(), passing(), test.cfg)
			if err == nil {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				_ = app.Close(ctx)
			}
			switch {
			case test.want == "" && err != nil:
				t.Errorf("Start: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("Start: %v, want an error with %s", err, test.want)
			}
		})
	}
}

// Two instances know each other by name and address. A third one under the name of the
// first takes its place and its tasks, and the first one fails.
func TestInstancesAreKnownByNameAndAddress(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	engine := func(name, address string) processor.Config {
		return processor.Config{InstanceID: name, Address: address, CommitInterval: 20 * time.Millisecond}
	}
	first, err := millrace.Start(ctx, passing(), millrace.Config{Listen: "127.0.0.1:0", Partitions: 4, Engine: engine("first", "first:80")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close(ctx) }()
	others := millrace.Config{Brokers: []string{first.BrokerAddr()}, Engine: engine("second", "second:80")}
	second, err := millrace.Start(ctx, passing(), others)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close(ctx) }()
	for _, i := range []*millrace.Instance{first, second} {
		known(ctx, t, i.App, map[string]int{"first at first:80": 2, "second at second:80": 2})
	}
	tasks := tasksOf(first.App.Hosts(), "first")

	others.Engine = engine("first", "third:80")
	third, err := millrace.Start(ctx, passing(), others)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = third.Close(ctx) }()
	select {
	case <-first.App.Done():
	case <-ctx.Done():
		t.Fatal("the first one goes on")
	}
	if err := first.App.Err(); !errors.Is(err, processor.ErrFenced) {
		t.Errorf("the first one ends with %v, want ErrFenced", err)
	}
	known(ctx, t, third.App, map[string]int{"first at third:80": 2, "second at second:80": 2})
	if diff := cmp.Diff(tasks, tasksOf(third.App.Hosts(), "first")); diff != "" {
		t.Errorf("tasks of the one that took the place (-before +after):\n%s", diff)
	}
}

// known waits until an application knows the instances with so many tasks each.
func known(ctx context.Context, t *testing.T, app *processor.App, want map[string]int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		got := map[string]int{}
		for _, h := range app.Hosts() {
			got[h.Instance+" at "+h.Address] = len(h.Tasks)
		}
		diff := cmp.Diff(want, got)
		if diff == "" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("instances (-want +got):\n%s", diff)
		}
	}
}

func tasksOf(hosts []processor.Host, instance string) []string {
	var ids []string
	for _, h := range hosts {
		for _, id := range h.Tasks {
			if h.Instance == instance {
				ids = append(ids, id.String())
			}
		}
	}
	slices.Sort(ids)
	return ids
}
