// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

func init() { maps.Copy(goldenTopologies, goldenMore) }

// Topologies of operations that are said in another way here.
var goldenMore = map[string]func(params) goldenTopology{
	// Unlimited windows from 10 on: a count of what is not before.
	"unlimited_window": noStores(func(t *processor.Topology) {
		counts := kstream.From(t, in()).
			ProcessValues("from-10", func(pc *textContext, r textRecord) error {
				if r.Timestamp < 10 {
					return nil
				}
				return pc.Forward(r)
			}).GroupByKey().Count("st")
		kstream.FromTable(counts).
			Map(func(k text, n opt.V[int64]) (text, opt.V[int64]) { return opt.Some(java(k) + "@10"), n }).
			To(topic.Of[text, opt.V[int64]]("out"))
	}),
	// A table of what is made of each change, deletions too.
	"table_transform_values": golden[text](func(t *processor.Topology) {
		kstream.FromTable(table(t, "src", "in")).
			MapValuesWithKey(func(k text, v opt.V[string]) text {
				if !v.OK {
					return opt.Some("NULL")
				}
				return opt.Some(java(k) + ":" + v.Value)
			}).ToTable("st").To(out)
	}),
	"window_then_global_agg": func(params) goldenTopology {
		t := processor.NewTopology("golden")
		counts := kstream.From(t, in()).GroupByKey().Windowed(tumbling10(nil)).Count("st")
		table := kstream.FromTable(counts).
			Map(func(k window.Key[text], n opt.V[int64]) (text, text) {
				return opt.Some("w" + strconv.FormatInt(k.Start, 10)), opt.Some(java(k.Key) + strconv.FormatInt(n.Value, 10))
			}).
			GroupByKey(kstream.Named("rp")).
			Reduce("st2", func(a, v text) text { return opt.Some(java(a) + "," + java(v)) })
		table.To(out)
		return goldenTopology{t, map[string]func(*testdriver.Driver) []vectorRow{
			"st": windowRows[int64], "st2": rows[text, text]("st2"),
		}}
	},
	"proc_window_store":  func(params) goldenTopology { return windowStore() },
	"proc_session_store": func(params) goldenTopology { return sessionStore() },
}

func windowStore() goldenTopology {
	t := processor.NewTopology("golden")
	st := processor.AddStore(t, state.Window[text, string]("st", state.WindowOptions{Size: 10, Retention: 50}))
	scanned := func(sc *state.WindowScan[text, string], row func() string) ([]string, error) {
		var all []string
		for sc.Next() {
			all = append(all, row())
		}
		return all, errors.Join(sc.Err(), sc.Close())
	}
	kstream.From(t, in()).Process("p", func(pc *textContext, r textRecord) (err error) {
		s, ts := st.In(pc), r.Timestamp
		w := ts - ts%10
		var rows []string
		switch r.Value.Value {
		case "put":
			_, err = s.Put(r.Key, w, fmt.Sprintf("v%d", ts), ts)
			return err
		case "del":
			_, err = s.Delete(r.Key, w, ts)
			return err
		case "get":
			var v string
			var ok bool
			v, _, ok, err = s.Get(r.Key, w)
			rows = []string{java(text{Value: v, OK: ok})}
		case "range":
			sc := s.Fetch(r.Key, ts-30, ts, state.Forward)
			rows, err = scanned(sc, func() string { return fmt.Sprintf("%d=%s;", sc.Start(), sc.Value()) })
		default:
			sc := s.FetchAll(ts-30, ts, state.Forward)
			rows, err = scanned(sc, func() string { return fmt.Sprintf("%s@%03d=%s;", java(sc.Key()), sc.Start(), sc.Value()) })
			slices.Sort(rows)
		}
		if err != nil {
			return err
		}
		r.Value = opt.Some(strings.Join(rows, ""))
		return pc.Forward(r)
	}, st).To(out)
	return goldenTopology{t, map[string]func(*testdriver.Driver) []vectorRow{"st": func(d *testdriver.Driver) []vectorRow {
		return rowsOf(d.AllWindows(state.Window[text, string]("st", state.WindowOptions{})), false)
	}}}
}

func sessionStore() goldenTopology {
	t := processor.NewTopology("golden")
	st := processor.AddStore(t, state.Session[text, string]("st", state.SessionOptions{Retention: 100}))
	kstream.From(t, in()).Process("p", func(pc *textContext, r textRecord) error {
		s, v := st.In(pc), r.Value.Value
		var from, to int64
		if _, bounds, ok := strings.Cut(v, ":"); ok {
			v = v[:strings.Index(v, ":")]
			if _, err := fmt.Sscanf(bounds, "%d-%d", &from, &to); err != nil {
				return err
			}
		} else if _, err := fmt.Sscanf(v, "%d-%d", &from, &to); err == nil {
			v = "put"
		}
		var sc *state.SessionScan[text, string]
		switch v {
		case "find":
			sc = s.FindSessions(r.Key, from, to, state.Forward)
		case "fetch":
			sc = s.Fetch(r.Key, state.Forward)
		case "del":
			_, err := s.Remove(r.Key, from, to, r.Timestamp)
			return err
		default:
			_, err := s.Put(r.Key, from, to, fmt.Sprintf("v%d", r.Timestamp), r.Timestamp)
			return err
		}
		rows := ""
		for sc.Next() {
			rows += fmt.Sprintf("[%d,%d]=%s;", sc.Start(), sc.End(), sc.Value())
		}
		if err := errors.Join(sc.Err(), sc.Close()); err != nil {
			return err
		}
		r.Value = opt.Some(rows)
		return pc.Forward(r)
	}, st).To(out)
	return goldenTopology{t, map[string]func(*testdriver.Driver) []vectorRow{"st": func(d *testdriver.Driver) []vectorRow {
		return rowsOf(d.AllSessions(state.Session[text, string]("st", state.SessionOptions{})), false)
	}}}
}
