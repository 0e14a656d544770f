// SPDX-License-Identifier: Apache-2.0

package topic_test

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/millrace/millrace/topic"
)

func TestUnkeyedReadsAnyKeyAndWritesNone(t *testing.T) {
	_, file, line, _ := runtime.Caller(0)
	lines := topic.Unkeyed[string]("lines")
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if want := file + ":" + strconv.Itoa(line+1); lines.Site() != want {
		t.Errorf("Site = %q, want %q", lines.Site(), want)
	}
	for _, key := range [][]byte{nil, {}, []byte("any")} {
		if _, err := lines.KeySerde().Decode(key); err != nil {
			t.Errorf("a key of %q is refused: %v", key, err)
		}
	}
	if b, err := lines.KeySerde().Encode(topic.NoKey{}); b != nil || err != nil {
		t.Errorf("the key is written as %q, %v, want a null", b, err)
	}
}
