// SPDX-License-Identifier: Apache-2.0

package serde_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/serde"
)

// golden checks the bytes of v and that they are read back as v.
func golden[T any](t *testing.T, name string, s serde.Serde[T], v T, want string) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Helper()
		got, err := s.Append([]byte("before:"), v)
		if err != nil || string(got) != "before:"+want {
			t.Fatalf("Append(%v) = %q, %v, want %q after what was there", v, got, err, want)
		}
		back, err := s.Decode([]byte(want))
		if err != nil || !cmp.Equal(back, v) {
			t.Fatalf("Decode(%q) = %v, %v, want %v", want, back, err, v)
		}
	})
}

// The bytes are what the serializers of org.apache.kafka.common.serialization
// write, from their documented layouts: big endian, IEEE 754, UTF-8.
func TestBytesOfTheJavaSerdes(t *testing.T) {
	golden(t, "StringSerializer", serde.String, "a\u00e4\u20ac", "a\xc3\xa4\xe2\x82\xac")
	golden(t, "StringSerializer, empty", serde.String, "", "")
	golden(t, "ByteArraySerializer", serde.Bytes, []byte{0, 255}, "\x00\xff")
	golden(t, "ShortSerializer", serde.Int16, -2, "\xff\xfe")
	golden(t, "IntegerSerializer", serde.Int32, 0x01020304, "\x01\x02\x03\x04")
	golden(t, "IntegerSerializer, -1", serde.Int32, -1, "\xff\xff\xff\xff")
	golden(t, "LongSerializer", serde.Int64, 0x0102030405060708, "\x01\x02\x03\x04\x05\x06\x07\x08")
	golden(t, "LongSerializer, least", serde.Int64, math.MinInt64, "\x80\x00\x00\x00\x00\x00\x00\x00")
	golden(t, "FloatSerializer", serde.Float32, 1, "\x3f\x80\x00\x00")
	golden(t, "DoubleSerializer", serde.Float64, -2.5, "\xc0\x04\x00\x00\x00\x00\x00\x00")
	golden(t, "BooleanSerializer, true", serde.Bool, true, "\x01")
	golden(t, "BooleanSerializer, false", serde.Bool, false, "\x00")
	golden(t, "UUIDSerializer", serde.UUID, uuid.MustParse("0123abcd-4567-89ab-cdef-0123456789ab"),
		"0123abcd-4567-89ab-cdef-0123456789ab")
}

func TestBytesOfOurOwn(t *testing.T) {
	golden(t, "int8", serde.Int8, -1, "\xff")
	golden(t, "int", serde.Int, -1, "\xff\xff\xff\xff\xff\xff\xff\xff")
	golden(t, "uint8", serde.Uint8, 200, "\xc8")
	golden(t, "uint16", serde.Uint16, 0xfffe, "\xff\xfe")
	golden(t, "uint32", serde.Uint32, 0xfffffffe, "\xff\xff\xff\xfe")
	golden(t, "uint64", serde.Uint64, math.MaxUint64, "\xff\xff\xff\xff\xff\xff\xff\xff")
	golden(t, "uint", serde.Uint, 1, "\x00\x00\x00\x00\x00\x00\x00\x01")
	golden(t, "the zero time", serde.Time, time.Time{}, "\xff\xff\xff\xf1\x88\x6e\x09\x00\x00\x00\x00\x00")
	golden(t, "1 ns before the epoch", serde.Time, time.Unix(0, -1).UTC(),
		"\xff\xff\xff\xff\xff\xff\xff\xff\x3b\x9a\xc9\xff")
}

// refuses checks that s does not decode src, and that the error says want.
func refuses[T any](t *testing.T, s serde.Serde[T], src, want string) {
	t.Helper()
	v, err := s.Decode([]byte(src))
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: Decode(%q) = %v, %v, want an error with %q", s.Name, src, v, err, want)
	}
}

func TestErrorsSayWhatWasExpected(t *testing.T) {
	refuses(t, serde.Int8, "", "int8: length 0, want 1")
	refuses(t, serde.Int16, "abc", "int16: length 3, want 2")
	refuses(t, serde.Int32, "abc", "int32: length 3, want 4")
	refuses(t, serde.Int64, "hello", "int64: length 5, want 8")
	refuses(t, serde.Int, "hello", "int64: length 5, want 8")
	refuses(t, serde.Uint8, "ab", "uint8: length 2, want 1")
	refuses(t, serde.Uint16, "a", "uint16: length 1, want 2")
	refuses(t, serde.Uint32, "a", "uint32: length 1, want 4")
	refuses(t, serde.Uint64, "a", "uint64: length 1, want 8")
	refuses(t, serde.Uint, "a", "uint64: length 1, want 8")
	refuses(t, serde.Float32, "a", "float32: length 1, want 4")
	refuses(t, serde.Float64, "123456789", "float64: length 9, want 8")
	refuses(t, serde.Bool, "", "bool: length 0, want 1")
	refuses(t, serde.Bool, "\x02", "bool: byte 0x02, want 0 or 1")
	refuses(t, serde.Time, "a", "time: length 1, want 12")
	refuses(t, serde.Time, "\x00\x00\x00\x00\x00\x00\x00\x00\x3b\x9a\xca\x00", "time: 1000000000 ns")
	refuses(t, serde.UUID, "0123", "uuid: length 4, want 36")
	refuses(t, serde.UUID, "0123ABCD-4567-89ab-cdef-0123456789ab", "not in lower case")
	refuses(t, serde.UUID, "0123abcd-4567-89ab-cdef-0123456789xx", "uuid: ")
	refuses(t, serde.UUID, "0123abcd+4567+89ab+cdef+0123456789ab", "uuid: ")
}

// isNoNull checks that a serde of a plain type tells null from empty.
func isNoNull[T any](t *testing.T, s serde.Serde[T]) {
	t.Helper()
	if s.Nullable() || !s.Valid() {
		t.Errorf("%s: Nullable = %v, Valid = %v, want false, true", s.Name, s.Nullable(), s.Valid())
	}
	if v, err := s.Decode(nil); !errors.Is(err, serde.ErrNull) {
		t.Errorf("%s: Decode(nil) = %v, %v, want ErrNull", s.Name, v, err)
	}
	var zero T
	if b, err := s.Encode(zero); b == nil || err != nil {
		t.Errorf("%s: Encode(zero) = %v, %v, want bytes that are not nil", s.Name, b, err)
	}
}

func TestPlainTypesHaveNoNull(t *testing.T) {
	isNoNull(t, serde.String)
	isNoNull(t, serde.Bytes)
	isNoNull(t, serde.Bool)
	isNoNull(t, serde.Int8)
	isNoNull(t, serde.Int16)
	isNoNull(t, serde.Int32)
	isNoNull(t, serde.Int64)
	isNoNull(t, serde.Int)
	isNoNull(t, serde.Uint8)
	isNoNull(t, serde.Uint16)
	isNoNull(t, serde.Uint32)
	isNoNull(t, serde.Uint64)
	isNoNull(t, serde.Uint)
	isNoNull(t, serde.Float32)
	isNoNull(t, serde.Float64)
	isNoNull(t, serde.UUID)
	isNoNull(t, serde.Time)
}

func TestEmptyIsNotNull(t *testing.T) {
	if v, err := serde.String.Decode([]byte{}); v != "" || err != nil {
		t.Errorf("String.Decode of an empty slice = %q, %v, want an empty string", v, err)
	}
	if v, err := serde.Bytes.Decode([]byte{}); v == nil || len(v) != 0 || err != nil {
		t.Errorf("Bytes.Decode of an empty slice = %v, %v, want an empty slice that is not nil", v, err)
	}
}

func TestDecodeKeepsNothingOfItsInput(t *testing.T) {
	src := []byte("value")
	s, _ := serde.String.Decode(src)
	b, _ := serde.Bytes.Decode(src)
	clear(src)
	if s != "value" || string(b) != "value" {
		t.Errorf("after the input was overwritten: %q, %q, want value", s, b)
	}
}

func TestValid(t *testing.T) {
	noName, noAppend, noDecode := serde.String, serde.String, serde.String
	noName.Name, noAppend.Append, noDecode.Decode = "", nil, nil
	for _, s := range []serde.Serde[string]{{}, noName, noAppend, noDecode} {
		if s.Valid() {
			t.Errorf("a serde that lacks something is valid: %+v", s)
		}
	}
}

// roundTrip checks that what s writes is read back the same.
func roundTrip[T any](t *testing.T, s serde.Serde[T], gen *rapid.Generator[T]) {
	t.Run(s.Name, rapid.MakeCheck(func(t *rapid.T) {
		v := gen.Draw(t, "v")
		b, err := s.Encode(v)
		if err != nil {
			t.Fatalf("Encode: %v", err)
		}
		back, err := s.Decode(b)
		if err != nil || !cmp.Equal(back, v) {
			t.Fatalf("Decode(% x) = %v, %v, want %v", b, back, err, v)
		}
	}))
}

func TestRoundTrip(t *testing.T) {
	roundTrip(t, serde.String, rapid.String())
	roundTrip(t, serde.Bytes, rapid.SliceOf(rapid.Byte()))
	roundTrip(t, serde.Bool, rapid.Bool())
	roundTrip(t, serde.Int8, rapid.Int8())
	roundTrip(t, serde.Int16, rapid.Int16())
	roundTrip(t, serde.Int32, rapid.Int32())
	roundTrip(t, serde.Int64, rapid.Int64())
	roundTrip(t, serde.Int, rapid.Int())
	roundTrip(t, serde.Uint8, rapid.Uint8())
	roundTrip(t, serde.Uint16, rapid.Uint16())
	roundTrip(t, serde.Uint32, rapid.Uint32())
	roundTrip(t, serde.Uint64, rapid.Uint64())
	roundTrip(t, serde.Uint, rapid.Uint())
	roundTrip(t, serde.Float32, rapid.Float32())
	roundTrip(t, serde.Float64, rapid.Float64())
	roundTrip(t, serde.UUID, rapid.Custom(drawUUID))
	roundTrip(t, serde.Time, rapid.Custom(drawTime))
}

func drawUUID(t *rapid.T) uuid.UUID {
	return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
}

func drawTime(t *rapid.T) time.Time {
	sec := rapid.Int64Range(-1<<40, 1<<40).Draw(t, "sec")
	return time.Unix(sec, rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
}

func TestTimeIsTheInstant(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 1, time.FixedZone("east", 3600))
	b1, _ := serde.Time.Encode(at)
	b2, _ := serde.Time.Encode(at.UTC())
	if !bytes.Equal(b1, b2) {
		t.Errorf("the same instant in two zones is % x and % x, want the same bytes", b1, b2)
	}
	if back, err := serde.Time.Decode(b1); err != nil || !back.Equal(at) || back.Location() != time.UTC {
		t.Errorf("Decode = %v, %v, want %v in UTC", back, err, at)
	}
}

func FuzzBuiltin(f *testing.F) {
	for _, seed := range []string{
		"", "\x01", "ab", "abcd", "abcdefgh", "abcdefgh\x00\x00\x00\x01",
		"0123abcd-4567-89ab-cdef-0123456789ab",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		survives(t, serde.String, src)
		survives(t, serde.Bytes, src)
		survives(t, serde.Bool, src)
		survives(t, serde.Int8, src)
		survives(t, serde.Int16, src)
		survives(t, serde.Int32, src)
		survives(t, serde.Int64, src)
		survives(t, serde.Int, src)
		survives(t, serde.Uint8, src)
		survives(t, serde.Uint16, src)
		survives(t, serde.Uint32, src)
		survives(t, serde.Uint64, src)
		survives(t, serde.Uint, src)
		survives(t, serde.Float32, src)
		survives(t, serde.Float64, src)
		survives(t, serde.UUID, src)
		survives(t, serde.Time, src)
	})
}

// survives checks that src is refused, or is exactly what s writes.
func survives[T any](t *testing.T, s serde.Serde[T], src []byte) {
	t.Helper()
	src = bytes.Clone(src)
	if src == nil {
		src = []byte{}
	}
	v, err := s.Decode(src)
	if err != nil {
		return
	}
	if again, err := s.Encode(v); err != nil || !bytes.Equal(again, src) {
		t.Errorf("%s: % x is accepted as %v, and written as % x, %v", s.Name, src, v, again, err)
	}
}

func TestAllocations(t *testing.T) {
	type userID string
	type cents int64
	ids, _ := serde.For[userID]()
	money, _ := serde.For[cents]()
	buf := make([]byte, 0, 64)
	text, long := []byte("a word"), []byte("12345678")
	for _, tt := range []struct {
		name string
		max  float64
		f    func()
	}{
		{"append a string", 0, func() { buf, _ = serde.String.Append(buf[:0], "a word") }},
		{"append an int64", 0, func() { buf, _ = serde.Int64.Append(buf[:0], 7) }},
		{"append a named string", 0, func() { buf, _ = ids.Append(buf[:0], "a word") }},
		{"append a named int64", 0, func() { buf, _ = money.Append(buf[:0], 7) }},
		{"append a UUID", 0, func() { buf, _ = serde.UUID.Append(buf[:0], uuid.UUID{}) }},
		{"append a time", 0, func() { buf, _ = serde.Time.Append(buf[:0], time.Time{}) }},
		{"decode an int64", 0, func() { _, _ = serde.Int64.Decode(long) }},
		{"decode a named int64", 0, func() { _, _ = money.Decode(long) }},
		{"decode a string: its bytes", 1, func() { _, _ = serde.String.Decode(text) }},
		{"decode a named string: its bytes", 1, func() { _, _ = ids.Decode(text) }},
	} {
		if got := testing.AllocsPerRun(100, tt.f); got > tt.max {
			t.Errorf("%s: %v allocations, want at most %v", tt.name, got, tt.max)
		}
	}
}
