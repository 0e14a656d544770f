// SPDX-License-Identifier: Apache-2.0

// Hello is the first program of the README.
package main

import (
	"strings"

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
)

func main() {
	t := processor.NewTopology("hello")
	kstream.From(t, topic.Unkeyed[string]("lines")).
		FlatMapValues(strings.Fields).
		GroupBy("by-word", func(_ topic.NoKey, word string) string { return word }).
		Count("counts").
		To(topic.Of[string, int64]("word-counts"))
	millrace.Main(t)
}
