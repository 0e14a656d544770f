// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

func init() { maps.Copy(goldenTopologies, goldenProcessors) }

type (
	textRecord  = processor.Record[text, text]
	textContext = processor.Context[text, text]
)

// goldenPlain is golden with a store "st" of plain values: the vectors show them
// without timestamps, as Kafka Streams' plain stores have none.
func goldenPlain[A any](build func(t *processor.Topology)) func(params) goldenTopology {
	return func(params) goldenTopology {
		t := processor.NewTopology("golden")
		build(t)
		all := rows[string, A]("st")
		return goldenTopology{t: t, stores: map[string]func(*testdriver.Driver) []vectorRow{
			"st": func(d *testdriver.Driver) []vectorRow {
				got := all(d)
				for i := range got {
					got[i].TS = 0
				}
				return got
			},
		}}
	}
}

// counted keeps the number of records of each key; every schedules what sends it on.
func countAndFlush(schedule func(pc *textContext, fn func(int64) error) processor.Cancel) func(t *processor.Topology) {
	return func(t *processor.Topology) {
		st := processor.AddStore(t, state.KeyValue[string, int64]("st"))
		kstream.From(t, in()).ProcessWith("count", func(pc *textContext) (func(textRecord) error, error) {
			counts := st.In(pc)
			schedule(pc, func(at int64) error {
				type row struct {
					key string
					n   int64
				}
				var all []row
				scan := counts.All(state.Forward)
				for scan.Next() {
					all = append(all, row{scan.Key(), scan.Value()})
				}
				if err := errors.Join(scan.Err(), scan.Close()); err != nil {
					return err
				}
				for _, r := range all {
					if err := pc.Forward(textRecord{Key: opt.Some(r.key), Value: opt.Some(fmt.Sprintf("%d@%d", r.n, at)), Timestamp: at}); err != nil {
						return err
					}
					if err := counts.Delete(r.key, at); err != nil {
						return err
					}
				}
				return nil
			})
			return func(r textRecord) error {
				if !r.Key.OK {
					return nil
				}
				n, _, _, err := counts.Get(r.Key.Value)
				if err != nil {
					return err
				}
				return counts.Put(r.Key.Value, n+1, r.Timestamp)
			}, nil
		}, st).To(out)
	}
}

// say sends a record of a punctuation on.
func say(pc *textContext, name string, value any, ts int64) error {
	return pc.Forward(textRecord{Key: opt.Some(name), Value: opt.Some(fmt.Sprint(value)), Timestamp: ts})
}

func streamTime[K, V any](pc *processor.Context[K, V]) int64 {
	at, ok := pc.StreamTime()
	if !ok {
		return -1
	}
	return at
}

var digits = regexp.MustCompile(`^\d+$`)

var boomSerde = serde.Serde[text]{
	Name: "boom", IsNull: func(v text) bool { return !v.OK },
	Append: func(dst []byte, v text) ([]byte, error) {
		if v.Value == "boom" {
			return nil, errors.New("boom")
		}
		return append(dst, v.Value...), nil
	},
	Decode: func(src []byte) (text, error) { return text{Value: string(src), OK: src != nil}, nil },
}

func nth(v opt.V[int64]) text {
	if !v.OK {
		return text{}
	}
	return opt.Some("n" + strconv.FormatInt(v.Value, 10))
}

func decodeLongs(t *processor.Topology) {
	kstream.From(t, topic.Of[text, opt.V[int64]]("in")).MapValues(nth).To(out)
}

func boom(v text) text {
	if v.Value == "boom" {
		panic("boom")
	}
	return v
}

// lowLevel sends upper case up and lower case down, and a null to both.
func lowLevel(t *processor.Topology) {
	type way struct {
		up, down bool
		value    text
	}
	p := stream(t, "in").Merge(stream(t, "in2")).Process("P", func(pc *processor.Context[text, way], r textRecord) error {
		w := way{value: r.Value}
		switch {
		case !r.Value.OK:
			w = way{true, true, opt.Some("NULL")}
		case r.Value.Value != "" && unicode.IsUpper(rune(r.Value.Value[0])):
			w.up = true
		default:
			w.down = true
		}
		return pc.Forward(processor.Record[text, way]{Key: r.Key, Value: w, Timestamp: r.Timestamp, Headers: r.Headers})
	})
	p.Filter(func(_ text, w way) bool { return w.up }).
		Process("up", func(pc *textContext, r processor.Record[text, way]) error {
			return pc.Forward(textRecord{Key: r.Key, Value: opt.Some(r.Value.value.Value + ":up"), Timestamp: r.Timestamp + 1, Headers: r.Headers})
		}).To(topic.Of[text, text]("out-up"))
	p.Filter(func(_ text, w way) bool { return w.down }).
		Process("down", func(pc *textContext, r processor.Record[text, way]) error {
			h := append(slices.Clone(r.Headers), processor.Header{Key: "via", Value: []byte("down")})
			return pc.Forward(textRecord{Key: r.Key, Value: opt.Some(r.Value.value.Value + ":down"), Timestamp: r.Timestamp, Headers: h})
		}).To(topic.Of[text, text]("out-down"))
}

func dedupe(t *processor.Topology) {
	st := processor.AddStore(t, state.KeyValue[string, int64]("st"))
	kstream.From(t, in()).ProcessWith("dedupe", func(pc *textContext) (func(textRecord) error, error) {
		seen := st.In(pc)
		pc.EveryStreamTime(ms(15), func(at int64) error {
			var old []string
			scan := seen.All(state.Forward)
			for scan.Next() {
				if scan.Value() < at-20 {
					old = append(old, scan.Key())
				}
			}
			err := errors.Join(scan.Err(), scan.Close())
			for _, k := range old {
				err = errors.Join(err, seen.Delete(k, at))
			}
			return err
		})
		return func(r textRecord) error {
			k := java(r.Key) + "|" + java(r.Value)
			last, _, ok, err := seen.Get(k)
			if err != nil || ok && max(r.Timestamp-last, last-r.Timestamp) <= 20 {
				return err
			}
			if err := seen.Put(k, r.Timestamp, r.Timestamp); err != nil {
				return err
			}
			return pc.Forward(r)
		}, nil
	}, st).To(out)
}

func sharedStore(t *processor.Topology) {
	st := processor.AddStore(t, state.KeyValue[string, string]("st"))
	stream(t, "in").Process("put", func(pc *textContext, r textRecord) error {
		if !r.Value.OK {
			return st.In(pc).Delete(r.Key.Value, r.Timestamp)
		}
		return st.In(pc).Put(r.Key.Value, r.Value.Value, r.Timestamp)
	}, st)
	stream(t, "in2").ProcessValues("look", func(pc *textContext, r textRecord) error {
		v, _, ok, err := st.In(pc).Get(r.Key.Value)
		if err != nil {
			return err
		}
		r.Value = opt.Some(java(r.Value) + "=" + java(text{Value: v, OK: ok}))
		return pc.Forward(r)
	}, st).To(out)
}

func scheduling(schedule func(pc *textContext), each func(pc *textContext, r textRecord) error) func(t *processor.Topology) {
	return func(t *processor.Topology) {
		kstream.From(t, in()).ProcessWith("p", func(pc *textContext) (func(textRecord) error, error) {
			schedule(pc)
			return func(r textRecord) error { return each(pc, r) }, nil
		}).To(out)
	}
}

func drop(*textContext, textRecord) error { return nil }

var goldenProcessors = map[string]func(params) goldenTopology{
	"timestamp_extractor": golden[string](func(t *processor.Topology) {
		kstream.From(t, in(), kstream.TimeBy(func(r textRecord, partitionTime int64) int64 {
			if !digits.MatchString(r.Value.Value) {
				return partitionTime
			}
			n, _ := strconv.ParseInt(r.Value.Value, 10, 64)
			return n
		})).To(out)
	}),
	"dynamic_routing": golden[string](func(t *processor.Topology) {
		kstream.From(t, in()).
			Filter(func(k, _ text) bool { return !k.OK || k.Value == "a" || k.Value == "b" }).
			ToChosen(func(r textRecord) string { return "t-" + java(r.Key) })
	}),
	"proc_low_level":    golden[string](lowLevel),
	"proc_dedup":        goldenPlain[int64](dedupe),
	"proc_shared_store": goldenPlain[string](sharedStore),
	"process_values_ctx": golden[string](func(t *processor.Topology) {
		kstream.From(t, in()).ProcessValuesWith("p", func(pc *textContext) (func(textRecord) error, error) {
			n := 0
			return func(r textRecord) error {
				n++
				if !r.Value.OK {
					return nil
				}
				r.Value = opt.Some(fmt.Sprintf("%s@%d#%d", r.Value.Value, r.Timestamp, n))
				return pc.Forward(r)
			}, nil
		}).To(out)
	}),

	"punct_stream_time": goldenPlain[int64](countAndFlush(func(pc *textContext, fn func(int64) error) processor.Cancel {
		return pc.EveryStreamTime(ms(10), fn)
	})),
	"punct_wall_clock": goldenPlain[int64](countAndFlush(func(pc *textContext, fn func(int64) error) processor.Cancel {
		return pc.EveryWallTime(ms(100), fn)
	})),
	"punct_anchored": golden[string](scheduling(func(pc *textContext) {
		from := processor.StartingAt(time.UnixMilli(3))
		pc.EveryStreamTime(ms(20), func(at int64) error { return say(pc, "S", at, at) }, from)
		pc.EveryWallTime(ms(20), func(at int64) error { return say(pc, "W", at, at) }, from)
	}, drop)),
	"punct_both_log": golden[string](scheduling(func(pc *textContext) {
		report := func(name string) func(int64) error {
			return func(at int64) error {
				return say(pc, name, fmt.Sprintf("%d/%d/%d", at, streamTime(pc), pc.WallTime()), max(0, streamTime(pc)))
			}
		}
		pc.EveryStreamTime(ms(7), report("S"))
		pc.EveryWallTime(ms(30), report("W"))
	}, func(pc *textContext, r textRecord) error {
		return say(pc, "P", fmt.Sprintf("%s/%d", java(r.Value), streamTime(pc)), r.Timestamp)
	})),
	"punct_cancel": golden[string](func(t *processor.Topology) {
		kstream.From(t, in()).ProcessWith("p", func(pc *textContext) (func(textRecord) error, error) {
			var cancel processor.Cancel
			n := 0
			cancel = pc.EveryStreamTime(ms(10), func(at int64) error {
				if n++; n == 3 {
					cancel()
				}
				return say(pc, "S", at, at)
			})
			cancelWall := pc.EveryWallTime(ms(50), func(at int64) error { return say(pc, "W", at, at) })
			return func(r textRecord) error {
				if r.Value.Value == "8" {
					cancelWall()
				}
				return nil
			}, nil
		}).To(out)
	}),

	"err_deser_continue": func(params) goldenTopology {
		t := processor.NewTopology("golden")
		table := kstream.From(t, topic.Of[text, opt.V[int64]]("in")).GroupByKey().Windowed(window.Tumbling(ms(10))).Count("st")
		table.To(topic.Of[window.Key[text], int64]("out").Keys(window.TimeKey(in().KeySerde(), ms(10))))
		return goldenTopology{t, map[string]func(*testdriver.Driver) []vectorRow{"st": windowRows[int64]}}
	},
	"err_deser_fail": golden[string](decodeLongs),
	"err_deser_dlq":  golden[string](decodeLongs),
	"err_process_fail": golden[string](func(t *processor.Topology) {
		kstream.From(t, in()).MapValues(func(v text) text { return opt.Some(java(boom(v)) + "!") }).To(out)
	}),
	"err_process_fail_dlq": golden[string](badBooms),
	"err_process_dlq": golden[string](func(t *processor.Topology) {
		kstream.From(t, in()).
			Map(func(k, v text) (text, text) { return opt.Some(java(k) + "2"), v }).
			TryMapValues(failBooms).To(out)
	}),
	"err_process_continue": golden[int64](func(t *processor.Topology) {
		s := kstream.From(t, in())
		kstream.FromTable(s.GroupByKey().Count("st")).MapValues(func(n opt.V[int64]) text {
			if n.Value == 2 {
				panic("boom")
			}
			return opt.Some("c" + strconv.FormatInt(n.Value, 10))
		}).To(out)
		s.MapValues(boom).To(topic.Of[text, text]("out2"))
	}),
	"err_production_continue": golden[string](func(t *processor.Topology) {
		kstream.From(t, in()).To(out.Values(boomSerde), kstream.OnError(processor.Skip()))
	}),
	"err_punctuate_continue": golden[string](scheduling(func(pc *textContext) {
		n := 0
		pc.EveryStreamTime(ms(10), func(at int64) error {
			if n++; n == 2 {
				panic("punct")
			}
			return say(pc, "S", at, at)
		})
	}, func(pc *textContext, r textRecord) error { return pc.Forward(r) })),
}

func failBooms(v text) (text, error) {
	if len(v.Value) >= 4 && v.Value[:4] == "boom" {
		return text{}, errors.New("bad " + v.Value)
	}
	return opt.Some(java(v) + "!"), nil
}

func badBooms(t *processor.Topology) { kstream.From(t, in()).TryMapValues(failBooms).To(out) }
