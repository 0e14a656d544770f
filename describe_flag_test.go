// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
)

func TestDescribeFlag(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string // what the text begins with; "": nothing is described
		err  bool
	}{
		{nil, "", false},
		{[]string{"--describe"}, "Topologies:\n", false},
		{[]string{"--describe=text"}, "Topologies:\n", false},
		{[]string{"--describe=mermaid"}, "flowchart TD\n", false},
		{[]string{"--describe=dot"}, `digraph "app"`, false},
		{[]string{"--describe=json"}, "{\n", false},
		{[]string{"--describe=png"}, "", true},
	} {
		top := processor.NewTopology("app")
		kstream.From(top, topic.Of[string, string]("in")).To(topic.Of[string, string]("out"))
		var format describeFlag
		fs := flag.NewFlagSet("test", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		fs.Var(&format, "describe", "")
		if err := fs.Parse(tt.args); (err != nil) != tt.err {
			t.Errorf("%v: error %v", tt.args, err)
		}
		if format == "" {
			if tt.want != "" {
				t.Errorf("%v: nothing is described", tt.args)
			}
			continue
		}
		var b strings.Builder
		if err := describe(&b, top, string(format)); err != nil || !strings.HasPrefix(b.String(), tt.want) {
			t.Errorf("%v: described as %q, %v", tt.args, b.String(), err)
		}
	}
}
