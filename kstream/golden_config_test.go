// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/processor"
)

// config is what the configuration of a vector comes to here.
func (v *vector) config() processor.Config {
	var cfg processor.Config
	for _, of := range []string{"windowed.aggregation", "outer.join.spurious.results.fix"} {
		if ms, err := strconv.Atoi(v.Config["__emit.interval.ms.kstreams."+of+"__"]); err == nil {
			cfg.EmitInterval = time.Duration(ms) * time.Millisecond
		}
	}
	skip := processor.Skip()
	if dlq := v.Config["errors.dead.letter.queue.topic.name"]; dlq != "" {
		skip = processor.DeadLetter(dlq)
	}
	for key, p := range map[string]*processor.Policy{
		"deserialization.exception.handler": &cfg.OnDecodeError,
		"processing.exception.handler":      &cfg.OnProcessError,
	} {
		if strings.Contains(path.Ext(v.Config[key]), "Continue") {
			*p = skip
		}
	}
	return cfg
}

// sameErrors replaces what a dead letter tells in words of its language.
func sameErrors(outs []vectorOutput) []vectorOutput {
	for i := range outs {
		for j, h := range outs[i].Headers {
			switch h[0] {
			case "__streams.errors.exception", "__streams.errors.message", "__streams.errors.stacktrace":
				if h[1] != "" {
					outs[i].Headers[j][1] = "<told>"
				}
			}
		}
	}
	return outs
}
