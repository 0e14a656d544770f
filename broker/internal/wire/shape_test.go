// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/wire"
)

// versions of Apache Kafka 4.3: what a client may send us.
var versions = map[int16][2]int16{
	0: {3, 13}, 1: {4, 18}, 2: {1, 11}, 3: {0, 13}, 8: {2, 10}, 9: {1, 10}, 10: {0, 6}, 11: {0, 9},
	12: {0, 4}, 13: {0, 5}, 14: {0, 5}, 15: {0, 6}, 16: {0, 5}, 18: {0, 4}, 19: {2, 7}, 20: {1, 6},
	21: {0, 2}, 22: {0, 5}, 23: {2, 4}, 32: {1, 4}, 33: {0, 2},
	35: {1, 4}, 37: {0, 3}, 42: {0, 2}, 47: {0, 0}, 43: {0, 2}, 44: {0, 1}, 60: {0, 2}, 68: {0, 1}, 69: {0, 1}, 61: {0, 0}, 74: {0, 1}, 75: {0, 0},
}

// fill gives v random contents, with arrays of up to three elements.
func fill(rnd *rand.Rand, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && v.Type().Field(i).Name != "Version" {
				fill(rnd, f, depth+1)
			}
		}
	case reflect.Pointer:
		if k := v.Type().Elem().Kind(); (k == reflect.String || k == reflect.Struct) && rnd.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(rnd, v.Elem(), depth+1)
		}
	case reflect.Slice:
		n := rnd.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(rnd, v.Index(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(rnd, v.Index(i), depth+1)
		}
	case reflect.String:
		v.SetString("topic-name-of-some-length"[:rnd.IntN(25)])
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(rnd.IntN(100)) - 50)
	case reflect.Uint8:
		v.SetUint(uint64(rnd.IntN(256)))
	}
}

func each(t *testing.T, fn func(t *testing.T, key, version int16, rnd *rand.Rand)) {
	for key, r := range versions {
		for v := r[0]; v <= r[1]; v++ {
			for seed := range uint64(20) {
				fn(t, key, v, rand.New(rand.NewPCG(seed, uint64(key)<<16|uint64(v))))
			}
		}
	}
}

// request returns a request and its bytes, beginning with the tagged fields of
// the header if it has them.
func request(rnd *rand.Rand, key, version int16) (kmsg.Request, []byte) {
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	fill(rnd, reflect.ValueOf(req).Elem(), 0)
	var b []byte
	if req.IsFlexible() {
		b = append(b, 0)
	}
	return req, req.AppendTo(b)
}

func TestShapesAgreeWithKmsg(t *testing.T) {
	each(t, func(t *testing.T, key, version int16, rnd *rand.Rand) {
		_, b := request(rnd, key, version)
		body, err := wire.Check(key, version, b)
		if err != nil {
			t.Fatalf("key %d v%d: %v\n% x", key, version, err, b)
		}
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		if err := req.ReadFrom(body); err != nil {
			t.Fatalf("key %d v%d: kmsg reads what Check left: %v", key, version, err)
		}
		for cut := range len(b) { // one byte less is never a request
			if _, err := wire.Check(key, version, b[:cut]); err == nil {
				t.Fatalf("key %d v%d: Check accepts %d of %d bytes", key, version, cut, len(b))
			}
		}
	})
}

func TestHostileLengths(t *testing.T) {
	tests := []struct {
		name    string
		version int16
		body    []byte // of a Metadata request, from the header's tagged fields on
	}{
		{"an array of two billion topics", 1, []byte{0x7f, 0xff, 0xff, 0xff}},
		{"a compact array of four billion topics", 9, []byte{0, 0xff, 0xff, 0xff, 0xff, 0x0f}},
		{"four billion tagged fields in the header", 9, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0}},
		{"four billion tagged fields in the body", 9, []byte{0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}},
		{"a topic name longer than the frame", 1, []byte{0, 0, 0, 1, 0x10, 0, 'a'}},
		{"a negative length that is not null", 1, []byte{0xff, 0xff, 0xff, 0xfe}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := wire.Check(3, tt.version, tt.body); !errors.Is(err, wire.ErrTruncated) {
				t.Errorf("Check(3, v%d, % x) = %v, want ErrTruncated", tt.version, tt.body, err)
			}
		})
	}
}

func TestElementsAreBounded(t *testing.T) {
	n := wire.MaxElements + 1 // groups with empty names, two bytes each
	b := binary.BigEndian.AppendUint32(nil, uint32(n))
	b = append(b, make([]byte, 2*n)...)
	if _, err := wire.Check(15, 0, b); !errors.Is(err, wire.ErrTooManyElements) {
		t.Errorf("DescribeGroups of %d groups: %v", n, err)
	}
	binary.BigEndian.PutUint32(b, wire.MaxElements)
	if _, err := wire.Check(15, 0, b[:4+2*wire.MaxElements]); err != nil {
		t.Errorf("DescribeGroups of %d groups: %v", wire.MaxElements, err)
	}
}

func TestParseHeader(t *testing.T) {
	full := []byte{0, 3, 0, 9, 0, 0, 0, 7, 0, 2, 'm', 'e', 0xaa}
	h, rest, err := wire.ParseHeader(full)
	if want := (wire.Header{Key: 3, Version: 9, CorrelationID: 7, ClientID: "me"}); h != want || err != nil || len(rest) != 1 {
		t.Errorf("ParseHeader = %+v, % x, %v", h, rest, err)
	}
	if h, rest, err := wire.ParseHeader([]byte{0, 3, 0, 0, 0, 0, 0, 7, 0xff, 0xff}); h.ClientID != "" || len(rest) != 0 || err != nil {
		t.Errorf("null client id: %+v, % x, %v", h, rest, err)
	}
	for cut := range 12 {
		if _, _, err := wire.ParseHeader(full[:cut]); !errors.Is(err, wire.ErrTruncated) {
			t.Errorf("ParseHeader of %d bytes = %v", cut, err)
		}
	}
}

// FuzzCheck: what Check accepts, kmsg decodes without harm.
func FuzzCheck(f *testing.F) {
	each(nil, func(_ *testing.T, key, version int16, rnd *rand.Rand) {
		_, b := request(rnd, key, version)
		if rnd.IntN(10) == 0 {
			f.Add(key, version, b)
		}
	})
	f.Fuzz(func(t *testing.T, key, version int16, b []byte) {
		r, ok := versions[key]
		if !ok || version < r[0] || version > r[1] {
			return
		}
		body, err := wire.Check(key, version, b)
		if err != nil {
			return
		}
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		_ = req.ReadFrom(body)
	})
}
