// SPDX-License-Identifier: Apache-2.0

package records

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

var record = &kgo.Record{
	Topic: "t", Partition: 2, Offset: 7, Timestamp: time.UnixMilli(1234), Key: []byte("k1"), Value: []byte("v%k"),
	Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "b"}},
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		format, want string
	}{
		{`%v\n`, "v%k\n"}, // what is in a value is no format
		{`%t/%p@%o %T %k=%s`, "t/2@7 1234 k1=v%k"},
		{`%K %V %S`, "2 3 3"},
		{`[%h]`, "[a=1,b=NULL]"},
		{`100%% \\ \t\x41\0`, "100% \\ \tA\x00"},
		{`%`, "%"},
		{`x\`, `x\`},
		{``, ""},
	} {
		f, err := parseFormat(c.format, "NULL")
		if err != nil {
			t.Errorf("format %q: %v", c.format, err)
			continue
		}
		if got := string(f.appendTo(nil, record)); got != c.want {
			t.Errorf("format %q prints %q, want %q", c.format, got, c.want)
		}
	}
	null, err := parseFormat(`%k %K %v %V`, "-")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(null.appendTo(nil, &kgo.Record{Value: []byte{}})); got != "- -1  0" {
		t.Errorf("a null key and an empty value print as %q", got)
	}
	for _, bad := range []string{`%q`, `\z`, `\x4`, `\xzz`} {
		if _, err := parseFormat(bad, ""); err == nil {
			t.Errorf("format %q is accepted", bad)
		}
	}
}

func FuzzFormat(f *testing.F) {
	f.Add(`%t %p\n\x41%%`)
	f.Fuzz(func(t *testing.T, s string) {
		if f, err := parseFormat(s, ""); err == nil {
			f.appendTo(nil, record) // must not panic
		}
	})
}

// What consume --json prints, produce --input json reads.
func FuzzJSON(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), "h", []byte{0xff}, int64(5))
	f.Add([]byte(nil), []byte(nil), "", []byte(nil), int64(0))
	f.Add([]byte{}, []byte{0xc3, 0x28}, "h\n", []byte("<&>"), int64(1<<40))
	f.Fuzz(func(t *testing.T, key, value []byte, name string, header []byte, ms int64) {
		ms = max(min(ms, 1<<50), 0)
		r := &kgo.Record{Key: key, Value: value, Partition: 3, Timestamp: time.UnixMilli(ms), Headers: []kgo.RecordHeader{{Key: name, Value: header}}}
		line := appendJSON(nil, r)
		again, err := parseJSON(line)
		if err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		type fields struct {
			Key, Value, Header []byte
			Null               [3]bool
			Partition          int32
			Ms                 int64
		}
		of := func(r *kgo.Record) fields {
			h := r.Headers[0].Value
			return fields{r.Key, r.Value, h, [3]bool{r.Key == nil, r.Value == nil, h == nil}, r.Partition, r.Timestamp.UnixMilli()}
		}
		if diff := cmp.Diff(of(r), of(again)); diff != "" {
			t.Fatalf("%s\n%s", line, diff)
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"key":"a","value":null,"headers":[{"name":"x","value":"y"}],"timestamp":1,"partition":0}`))
	f.Add([]byte(`{"key":"a","key_base64":"aaaa"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(_ *testing.T, line []byte) { _, _ = parseJSON(line) })
}
