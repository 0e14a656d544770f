// SPDX-License-Identifier: Apache-2.0

package serde_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/millrace/millrace/serde"
)

type (
	userID  string
	cents   int64
	level   uint8
	rate    float64
	flag    bool
	small   int16
	blob    []byte
	levels  []level
	orderID uuid.UUID
	pair    struct {
		Region string
		ID     int64
	}
)

// found checks what For finds: the name, the bytes of v, and the way back.
func found[T any](t *testing.T, v T, name, want string) {
	t.Helper()
	s, err := serde.For[T]()
	check(t, s, err, v, name, want)
}

// foundKey is found for ForKey.
func foundKey[T any](t *testing.T, v T, name, want string) {
	t.Helper()
	s, err := serde.ForKey[T]()
	check(t, s, err, v, name, want)
}

func check[T any](t *testing.T, s serde.Serde[T], err error, v T, name, want string) {
	t.Helper()
	if err != nil || s.Name != name || !s.Valid() {
		t.Errorf("serde for %T = %q, %v, want %q", v, s.Name, err, name)
		return
	}
	got, err := s.Encode(v)
	if err != nil || string(got) != want {
		t.Errorf("%s: Encode(%v) = %q, %v, want %q", s.Name, v, got, err, want)
		return
	}
	back, err := s.Decode(got)
	if diff := cmp.Diff(v, back, addrEqual, protoEqual, bigEqual); err != nil || diff != "" {
		t.Errorf("%s: Decode(%q): %v\n%s", s.Name, got, err, diff)
	}
}

var (
	protoEqual = cmp.Comparer(func(a, b *wrapperspb.StringValue) bool { return proto.Equal(a, b) })
	addrEqual  = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	bigEqual   = cmp.Comparer(func(a, b big.Int) bool { return a.Cmp(&b) == 0 })
)

func TestForByType(t *testing.T) {
	id := uuid.MustParse("0123abcd-4567-89ab-cdef-0123456789ab")
	found(t, "w", "string", "w")
	found(t, []byte("w"), "bytes", "w")
	found(t, true, "bool", "\x01")
	found(t, int8(1), "int8", "\x01")
	found(t, int16(1), "int16", "\x00\x01")
	found(t, int32(1), "int32", "\x00\x00\x00\x01")
	found(t, int64(1), "int64", "\x00\x00\x00\x00\x00\x00\x00\x01")
	found(t, int(1), "int64", "\x00\x00\x00\x00\x00\x00\x00\x01")
	found(t, uint8(1), "uint8", "\x01")
	found(t, uint16(1), "uint16", "\x00\x01")
	found(t, uint32(1), "uint32", "\x00\x00\x00\x01")
	found(t, uint64(1), "uint64", "\x00\x00\x00\x00\x00\x00\x00\x01")
	found(t, uint(1), "uint64", "\x00\x00\x00\x00\x00\x00\x00\x01")
	found(t, float32(1), "float32", "\x3f\x80\x00\x00")
	found(t, float64(1), "float64", "\x3f\xf0\x00\x00\x00\x00\x00\x00")
	found(t, id, "uuid", id.String())
	found(t, time.Unix(1, 2).UTC(), "time", "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02")
}

func TestForNamedTypeIsAsItsKind(t *testing.T) {
	found(t, userID("u1"), "string", "u1")
	found(t, cents(1), "int64", "\x00\x00\x00\x00\x00\x00\x00\x01")
	found(t, time.Duration(1), "int64", "\x00\x00\x00\x00\x00\x00\x00\x01")
	found(t, level(1), "uint8", "\x01")
	found(t, rate(1), "float64", "\x3f\xf0\x00\x00\x00\x00\x00\x00")
	found(t, flag(true), "bool", "\x01")
	found(t, small(1), "int16", "\x00\x01")
	found(t, blob("w"), "bytes", "w")
	found(t, levels{1, 2}, "bytes", "\x01\x02")
	found(t, json.RawMessage(`{}`), "bytes", `{}`)
}

// point marshals itself with methods on the value.
type point struct{ X, Y byte }

func (p point) MarshalBinary() ([]byte, error)    { return []byte{p.X, p.Y}, nil }
func (p *point) UnmarshalBinary(src []byte) error { *p = point{src[0], src[1]}; return nil }

// dot marshals itself with methods on the pointer, and appends.
type dot struct{ X byte }

func (d *dot) AppendBinary(dst []byte) ([]byte, error) { return append(dst, 'd', d.X), nil }
func (d *dot) UnmarshalBinary(src []byte) error {
	if len(src) != 2 {
		return errors.New("not a dot")
	}
	d.X = src[1]
	return nil
}

func TestForTypesThatMarshalThemselves(t *testing.T) {
	found(t, point{1, 2}, "binary(serde_test.point)", "\x01\x02")
	found(t, &point{1, 2}, "binary(serde_test.point)", "\x01\x02")
	found(t, dot{7}, "binary(serde_test.dot)", "d\x07")
	found(t, &dot{7}, "binary(serde_test.dot)", "d\x07")
	found(t, netip.MustParseAddr("10.0.0.1"), "binary(netip.Addr)", "\x0a\x00\x00\x01")
	found(t, &url.URL{Host: "h", Path: "/p"}, "binary(url.URL)", "//h/p")
	foundKey(t, netip.MustParseAddr("10.0.0.1"), "binary(netip.Addr)", "\x0a\x00\x00\x01")

	s, _ := serde.For[dot]()
	if _, err := s.Decode([]byte("x")); err == nil || err.Error() != "binary(serde_test.dot): not a dot" {
		t.Errorf("Decode of bad bytes = %v, want the error of the type with the name of the serde", err)
	}
	if _, err := s.Decode(nil); !errors.Is(err, serde.ErrNull) {
		t.Errorf("Decode(nil) = %v, want ErrNull", err)
	}
}

func TestForProtobuf(t *testing.T) {
	found(t, wrapperspb.String("hi"), "protobuf(google.protobuf.StringValue)", "\x0a\x02hi")
	found(t, wrapperspb.String(""), "protobuf(google.protobuf.StringValue)", "")
	s, _ := serde.For[*wrapperspb.StringValue]()
	if _, err := s.Decode([]byte("\x0a\xff")); err == nil || !strings.Contains(err.Error(), "google.protobuf.StringValue") {
		t.Errorf("Decode of bad bytes = %v, want an error with the name of the message", err)
	}
}

// isNullable checks that a nil pointer is null, both ways.
func isNullable[T any](t *testing.T) {
	t.Helper()
	var null T
	s, err := serde.For[*T]()
	if err != nil || !s.Nullable() {
		t.Fatalf("For(%T) = %v, %v, want a serde with a null", &null, s.Name, err)
	}
	if b, err := s.Encode(nil); b != nil || err != nil {
		t.Errorf("%s: Encode(nil) = %v, %v, want a null", s.Name, b, err)
	}
	if v, err := s.Decode(nil); v != nil || err != nil {
		t.Errorf("%s: Decode(nil) = %v, %v, want a nil pointer", s.Name, v, err)
	}
	if s.IsNull(&null) {
		t.Errorf("%s: a pointer to a zero value is null", s.Name)
	}
}

func TestNilPointerIsNull(t *testing.T) {
	isNullable[pair](t)
	isNullable[point](t)
	isNullable[dot](t)
	isNullable[wrapperspb.StringValue](t)
}

func TestForMsgpack(t *testing.T) {
	found(t, pair{"eu", 300}, "msgpack(serde_test.pair)", "\x82\xa6Region\xa2eu\xa2ID\xcd\x01\x2c")
	found(t, &pair{"eu", 1}, "msgpack(serde_test.pair)", "\x82\xa6Region\xa2eu\xa2ID\x01")
	found(t, []string{"a", "b"}, "msgpack([]string)", "\x92\xa1a\xa1b")
	found(t, []string(nil), "msgpack([]string)", "\xc0")
	found(t, []string{}, "msgpack([]string)", "\x90")
	found(t, [2]int{1, -1}, "msgpack([2]int)", "\x92\x01\xff")
	found(t, map[int]string{2: "b", 1: "a"}, "msgpack(map[int]string)", "\x82\x01\xa1a\x02\xa1b")
	found(t, orderID{15: 1}, "msgpack(serde_test.orderID)", "\xc4\x10"+strings.Repeat("\x00", 15)+"\x01")
	found(t, struct{}{}, "msgpack(struct {})", "\x80")
	found(t, *big.NewInt(7), "msgpack(big.Int)", "\xc4\x017")
}

func TestForKey(t *testing.T) {
	type line struct {
		Order pair
		At    time.Time
		Nos   [2]uint8
		From  netip.Addr
	}
	foundKey(t, "w", "string", "w")
	foundKey(t, userID("u1"), "string", "u1")
	foundKey(t, []byte("w"), "bytes", "w")
	foundKey(t, int64(1), "int64", "\x00\x00\x00\x00\x00\x00\x00\x01")
	foundKey(t, pair{"eu", 300}, "msgpack-key({Region string; ID int64})", "\x92\xa2eu\xcd\x01\x2c")
	foundKey(t, [2]pair{{"a", 1}, {"b", 2}}, "msgpack-key([2]{Region string; ID int64})",
		"\x92\x92\xa1a\x01\x92\xa1b\x02")
	foundKey(t, line{pair{"a", 1}, time.Unix(1, 0), [2]uint8{3, 4}, netip.MustParseAddr("1.2.3.4")},
		"msgpack-key({Order {Region string; ID int64}; At time; Nos [2]uint8; From netip.Addr})",
		"\x94\x92\xa1a\x01\xd6\xff\x00\x00\x00\x01\xc4\x02\x03\x04\xc4\x04\x01\x02\x03\x04")
}

// refused checks the error of For or ForKey.
func refused[T any](t *testing.T, find func() (serde.Serde[T], error), want string) {
	t.Helper()
	var zero T
	s, err := find()
	if !errors.Is(err, serde.ErrNone) || !strings.Contains(err.Error(), want) || s.Valid() {
		t.Errorf("serde for %T = %q, %v\nwant ErrNone with %q", zero, s.Name, err, want)
	}
}

type (
	named   time.Time
	stamped struct {
		time.Time
		N int
	}
	hidden  struct{ a, b int }
	Itself  struct{ *Itself }
	deep    struct{ Meta []struct{ Sink chan int } }
	onlyOut struct{ N int }
	twins   struct {
		A int `msgpack:"n"`
		B int `msgpack:"n"`
	}
	interned struct {
		A string `msgpack:",intern"`
	}
	unexportedPart struct {
		Name string
		age  int
	}
	skipping struct {
		Name string
		Age  int `msgpack:"-"`
	}
	lower    int
	embedded struct{ lower }
)

func (onlyOut) MarshalBinary() ([]byte, error) { return nil, nil }

func TestForRefuses(t *testing.T) {
	_ = hidden{}.a + hidden{}.b + unexportedPart{}.age + int(embedded{}.lower)
	refused(t, serde.For[chan int], "chan int is of kind chan")
	refused(t, serde.For[func()], "func() is of kind func")
	refused(t, serde.For[any], "is of kind interface")
	refused(t, serde.For[error], "error is of kind interface")
	refused(t, serde.For[proto.Message], "is of kind interface")
	refused(t, serde.For[complex128], "is of kind complex128")
	refused(t, serde.For[uintptr], "is of kind uintptr")
	refused(t, serde.For[unsafe.Pointer], "is of kind unsafe.Pointer")
	refused(t, serde.For[deep], "serde_test.deep.Meta[].Sink is of kind chan")
	refused(t, serde.For[map[string]any], "map[string]interface {}[] is of kind interface")
	refused(t, serde.For[map[*int]int], "has pointers for keys")
	refused(t, serde.For[*string], "opt.V[string]")
	refused(t, serde.For[*int64], "opt.V[int64]")
	refused(t, serde.For[*time.Time], "opt.V[time.Time]")
	refused(t, serde.For[*uuid.UUID], "opt.V[uuid.UUID]")
	refused(t, serde.For[**pair], "opt.V[*serde_test.pair]")
	refused(t, serde.For[[]**pair], "a pointer to a pointer")
	refused(t, serde.For[named], "none that is exported")
	refused(t, serde.For[hidden], "none that is exported")
	refused(t, serde.For[stamped], "marshalled by a field embedded in it")
	refused(t, serde.For[[]stamped], "marshalled by a field embedded in it")
	refused(t, serde.For[onlyOut], "no UnmarshalBinary")
	refused(t, serde.For[[]onlyOut], "has no encoding.BinaryUnmarshaler")
	refused(t, serde.For[Itself], "embeds the struct that it is in")
	refused(t, serde.For[twins], `two fields named "n"`)
	refused(t, serde.For[interned], "tagged as interned")
	refused(t, serde.For[embedded], "embedded and not exported")
	refused(t, serde.For[map[string]url.URL], "cannot be called inside a map")
	refused(t, serde.For[wrapperspb.StringValue], "use *wrapperspb.StringValue")
	refused(t, serde.For[[]*wrapperspb.StringValue], "a protobuf message inside another type")
}

func TestForKeyRefuses(t *testing.T) {
	type withMap struct{ Tags map[string]string }
	type withSlice struct{ Tags []string }
	type withFloat struct{ Rate float64 }
	type withPointer struct{ P *pair }
	refused(t, serde.ForKey[float64], "not canonical")
	refused(t, serde.ForKey[rate], "not canonical")
	refused(t, serde.ForKey[map[string]string], "not canonical")
	refused(t, serde.ForKey[[]string], "not canonical")
	refused(t, serde.ForKey[*pair], "not canonical")
	refused(t, serde.ForKey[withMap], "withMap.Tags is a map")
	refused(t, serde.ForKey[withSlice], "withSlice.Tags is a slice")
	refused(t, serde.ForKey[withFloat], "withFloat.Rate is a float")
	refused(t, serde.ForKey[withPointer], "withPointer.P is a pointer")
	refused(t, serde.ForKey[[3]withMap], "[3]serde_test.withMap[].Tags is a map")
	refused(t, serde.ForKey[unexportedPart], "unexportedPart.age is not written")
	refused(t, serde.ForKey[skipping], "skipping.Age is not written")
	refused(t, serde.ForKey[*wrapperspb.StringValue], "protobuf is not canonical")
}

// boxed brings its own serde, as a generic type has to.
type boxed[T any] struct{ v T }

func (boxed[T]) Serde() (any, error) {
	in, err := serde.For[T]()
	return serde.Serde[boxed[T]]{
		Name:   "boxed(" + in.Name + ")",
		Append: func(dst []byte, b boxed[T]) ([]byte, error) { return in.Append(dst, b.v) },
		Decode: func(src []byte) (boxed[T], error) { v, err := in.Decode(src); return boxed[T]{v}, err },
	}, err
}

type keyed struct{ boxed[string] }

func (keyed) KeySerde() (any, error) { return serde.Serde[keyed]{}, nil }

type onPointer struct{ N int }

func (*onPointer) Serde() (any, error) { return serde.String, nil }

func TestProvider(t *testing.T) {
	s, err := serde.For[boxed[int32]]()
	if err != nil || s.Name != "boxed(int32)" {
		t.Errorf("For = %q, %v, want what the type brings along", s.Name, err)
	}
	refused(t, serde.For[boxed[chan int]], "chan int is of kind chan")
	refused(t, serde.ForKey[boxed[string]], "none named KeySerde")
	refused(t, serde.ForKey[keyed], "want a valid serde.Serde[")
	refused(t, serde.For[keyed], "its method returns serde.Serde[")
	refused(t, serde.For[onPointer], "its method returns serde.Serde[string]")
	refused(t, serde.For[*onPointer], "its method returns serde.Serde[string]")
}
