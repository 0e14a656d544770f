// SPDX-License-Identifier: Apache-2.0

package app

import (
	"time"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

// topologies are those of Peer.java, by the same names. Keys are strings, values
// bytes, results counts or bytes.
var topologies = map[string]func(t *processor.Topology, a *app, output string){
	"pass": func(t *processor.Topology, a *app, output string) {
		a.stream(t).
			Filter(func(_ string, v []byte) bool { return v[0] != '0' }).
			MapValues(func(v []byte) []byte { return v[8:] }).
			To(topic.Of[string, []byte](output))
	},
	"count": func(t *processor.Topology, a *app, output string) {
		a.stream(t).GroupByKey().Count("counts", a.emit()).To(topic.Of[string, int64](output))
	},
	"count-window": func(t *processor.Topology, a *app, output string) {
		out := topic.Of[window.CountKey[string], int64](output).Keys(window.CountKeys(serde.String))
		a.stream(t).GroupByKey().CountWindows(window.Count(100)).Count("counts").To(out)
	},
	"tumbling": func(t *processor.Topology, a *app, output string) {
		a.windowed(t, window.Tumbling(10*time.Second), output)
	},
	"hopping": func(t *processor.Topology, a *app, output string) {
		a.windowed(t, window.Hopping(time.Minute, 10*time.Second), output)
	},
	"session": func(t *processor.Topology, a *app, output string) {
		out := topic.Of[window.SessionKey[string], int64](output).Keys(window.SessionKeys(serde.String))
		a.stream(t).GroupByKey().Sessions(window.Session(5*time.Second)).Emit(a.mode()).
			Count("counts", ktable.Retention(time.Hour)).To(out)
	},
	"stream-table": func(t *processor.Topology, a *app, output string) {
		users := ktable.From(t, "users", topic.Of[string, []byte](a.table))
		a.stream(t).LeftJoinTable(users, func(v []byte, u opt.V[[]byte]) []byte {
			if !u.OK {
				return v[:8]
			}
			return append(append(make([]byte, 0, 16), v[:8]...), u.Value[:8]...)
		}).To(topic.Of[string, []byte](output))
	},
	"stream-stream": func(t *processor.Topology, a *app, output string) {
		right := kstream.From(t, topic.Of[string, []byte](a.table))
		a.stream(t).Join("both", right, window.Within(5*time.Second), func(v, w []byte) []byte {
			return append(append(make([]byte, 0, 16), v[:8]...), w[:8]...)
		}).To(topic.Of[string, []byte](output))
	},
}

func (a *app) stream(t *processor.Topology) *kstream.KStream[string, []byte] {
	return kstream.From(t, topic.Of[string, []byte](a.input))
}

func (a *app) mode() window.EmitMode {
	if a.folded {
		return window.OnCommit
	}
	return window.OnUpdate
}

func (a *app) emit() ktable.Option { return ktable.Emit(a.mode()) }

func (a *app) windowed(t *processor.Topology, spec window.TimeSpec, output string) {
	out := topic.Of[window.Key[string], int64](output).Keys(window.TimeKey(serde.String, spec.Size()))
	a.stream(t).GroupByKey().Windowed(spec).Emit(a.mode()).
		Count("counts", ktable.Retention(time.Hour)).To(out)
}
