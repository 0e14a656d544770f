// SPDX-License-Identifier: Apache-2.0

package archtest_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/archtest"
)

const module = "github.com/millrace/millrace"

func TestTheModuleKeepsItsLayers(t *testing.T) {
	breaches, err := archtest.Check(os.DirFS("../.."), module)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range breaches {
		t.Error(b)
	}
}

// src is a Go file that begins as it must and imports packages: of ours those
// that begin with "./".
func src(pkg string, imports ...string) string {
	text := "// SPDX-License-Identifier: Apache-2.0\n\npackage " + pkg + "\n"
	for _, i := range imports {
		if rest, ours := strings.CutPrefix(i, "."); ours {
			i = strings.TrimSuffix(module+rest, "/")
		}
		text += "import _ \"" + i + "\"\n"
	}
	return text
}

func TestCheck(t *testing.T) {
	const licence = "does not begin with SPDX-License-Identifier: Apache-2.0"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{
			name: "downwards, level, seams, programs and tests",
			files: map[string]string{
				"millrace.go":                      src("millrace", "./broker", "./processor", "./state/rocksdb"),
				"cmd/millrace/main.go":             src("main", "./", "./broker"),
				"kstream/map.go":                   src("kstream", "./ktable", "./internal/flow", "./topic", "fmt"),
				"kstream/map_test.go":              src("kstream_test", "./broker", "./internal/kafkatest"),
				"topic/topic.go":                   src("topic", "./serde"),
				"state/rocksdb/db.go":              src("rocksdb", "C", "github.com/linxGnu/grocksdb", "./state"),
				"broker/broker.go":                 src("broker", "./broker/internal/seglog", "./internal/vnet"),
				"broker/internal/seglog/log.go":    src("seglog", "./internal/vfs", "./internal/mutant"),
				"internal/kafkatest/k.go":          src("kafkatest"),
				"internal/simtest/s.go":            src("simtest", "./broker", "./internal/runtime"),
				"internal/runtime/link/link.go":    src("link", "github.com/twmb/franz-go/pkg/kgo"),
				"broker/internal/seglog/x_test.go": src("seglog", "./internal/simtest"),
			},
		},
		{
			name:  "a package without a layer",
			files: map[string]string{"internal/stray/s.go": src("stray")},
			want:  []string{"internal/stray/s.go: package internal/stray has no layer: give it one in internal/archtest/layers.go"},
		},
		{
			name:  "a name that begins like a room's",
			files: map[string]string{"brokers/s.go": src("brokers")},
			want:  []string{"brokers/s.go: package brokers has no layer: give it one in internal/archtest/layers.go"},
		},
		{
			name:  "an import of a package without a layer",
			files: map[string]string{"cep/a.go": src("cep", "./stray")},
			want:  []string{"cep/a.go: imports " + module + "/stray, which has no layer"},
		},
		{
			name: "imports that climb",
			files: map[string]string{
				"ktable/a.go":           src("ktable", "./kstream"),
				"state/pebble/a.go":     src("pebble", "./internal/plan"),
				"internal/runtime/a.go": src("runtime", "./processor"),
				"window/a.go":           src("window", "./state"),
			},
			want: []string{
				"internal/runtime/a.go: imports " + module + "/processor: imports go downwards only",
				"ktable/a.go: imports " + module + "/kstream: imports go downwards only",
				"state/pebble/a.go: imports " + module + "/internal/plan: imports go downwards only",
				"window/a.go: imports " + module + "/state: imports go downwards only",
			},
		},
		{
			name:  "an import that climbs, in a file of another system",
			files: map[string]string{"ktable/a_windows.go": src("ktable", "./kstream")},
			want:  []string{"ktable/a_windows.go: imports " + module + "/kstream: imports go downwards only"},
		},
		{
			name: "the halves reach for each other",
			files: map[string]string{
				"query/a.go":                  src("query", "./broker"),
				"broker/a.go":                 src("broker", "./serde"),
				"broker/internal/group/a.go":  src("group", "./internal/plan"),
				"internal/runtime/link/a.go":  src("link", "./broker"),
				"processor/testdriver/a.go":   src("testdriver", "./broker"),
				"processor/testdriver/b_t.go": src("testdriver", "./processor"),
			},
			want: []string{
				"broker/a.go: imports " + module + "/serde: streams and broker meet on the wire only",
				"broker/internal/group/a.go: imports " + module + "/internal/plan: streams and broker meet on the wire only",
				"internal/runtime/link/a.go: imports " + module + "/broker: streams and broker meet on the wire only",
				"processor/testdriver/a.go: imports " + module + "/broker: streams and broker meet on the wire only",
				"query/a.go: imports " + module + "/broker: streams and broker meet on the wire only",
			},
		},
		{
			name:  "a seam that knows a half",
			files: map[string]string{"internal/vfs/a.go": src("vfs", "./state")},
			want:  []string{"internal/vfs/a.go: imports " + module + "/state: a seam knows neither half"},
		},
		{
			name: "a program as a library",
			files: map[string]string{
				"processor/a.go": src("processor", "./"),
				"millrace.go":    src("millrace", "./examples/wordcount"),
			},
			want: []string{
				"millrace.go: imports " + module + "/examples/wordcount: imports go downwards only",
				"processor/a.go: imports " + module + ": nothing imports programs",
			},
		},
		{
			name:  "test support outside of tests",
			files: map[string]string{"examples/wordcount/main.go": src("main", "./internal/kafkatest")},
			want:  []string{"examples/wordcount/main.go: imports " + module + "/internal/kafkatest: only tests may import it"},
		},
		{
			name: "cgo outside its room, in a test as well",
			files: map[string]string{
				"state/a.go":        src("state", "github.com/linxGnu/grocksdb"),
				"broker/b_test.go":  src("broker", "C"),
				"state/pebble/p.go": src("pebble", "github.com/cockroachdb/pebble/v2"),
			},
			want: []string{
				"broker/b_test.go: imports C: cgo is for state/rocksdb and state/internal/malloc alone",
				"state/a.go: imports github.com/linxGnu/grocksdb: cgo is for state/rocksdb and state/internal/malloc alone",
			},
		},
		{
			name: "files without a licence",
			files: map[string]string{
				"opt/opt.go":         "package opt\n// SPDX-License-Identifier: Apache-2.0\n",
				"opt/testdata/in.go": "package in\n",
				"tools/go.mod":       "module tools\n",
				"tools/x/main.go":    "package main\n",
				"tools/x/util/u.go":  src("util", "./broker"), // another module's imports and names are its own
				"Makefile":           "all:\n",
				".ci/run":            "#!/bin/bash\n# SPDX-License-Identifier: Apache-2.0\n",
				"conformance/x.sh":   "#!/bin/sh\n",
			},
			want: []string{
				"Makefile: " + licence, "conformance/x.sh: " + licence, "opt/opt.go: " + licence, "tools/x/main.go: " + licence,
			},
		},
		{
			name: "names that say nothing",
			files: map[string]string{
				"state/internal/util/u.go": src("util"),
				"state/internal/x/u.go":    src("common"),
			},
			want: []string{
				`state/internal/util/u.go: a package called "util" does not say what it holds`,
				`state/internal/x/u.go: a package called "common" does not say what it holds`,
			},
		},
		{
			name:  "a file that is not Go",
			files: map[string]string{"opt/a.go": "// SPDX-License-Identifier: Apache-2.0\nimport\n"},
			want:  []string{"opt/a.go: opt/a.go:2:1: expected 'package', found 'import'"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for name, text := range test.files {
				tree[name] = &fstest.MapFile{Data: []byte(text)}
			}
			got, err := archtest.Check(tree, module)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("breaches (-want +got):\n%s", diff)
			}
		})
	}
}
