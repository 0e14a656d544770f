// SPDX-License-Identifier: Apache-2.0

package serde_test

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/serde"
)

// order has a bit of everything.
type order struct {
	ID     string
	Lines  []line
	Tags   map[string]string
	Stock  map[int64][]string
	Flags  map[string]bool
	At     time.Time
	Next   *order
	Sum    float64
	Photo  []byte
	Prio   int8
	Region [2]string
	Hash   [4]byte
	Where  point
}

type line struct {
	Product string
	Price   cents
}

func mustFor[T any](t testing.TB) serde.Serde[T] {
	t.Helper()
	s, err := serde.For[T]()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func drawOrder(t *rapid.T) order {
	o := order{
		ID:    rapid.String().Draw(t, "id"),
		Tags:  rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "tags"),
		Stock: rapid.MapOf(rapid.Int64(), rapid.SliceOf(rapid.String())).Draw(t, "stock"),
		Flags: rapid.MapOf(rapid.String(), rapid.Bool()).Draw(t, "flags"),
		At:    drawTime(t),
		Sum:   rapid.Float64().Draw(t, "sum"),
		Photo: rapid.SliceOf(rapid.Byte()).Draw(t, "photo"),
		Prio:  rapid.Int8().Draw(t, "prio"),
		Where: point{rapid.Byte().Draw(t, "x"), rapid.Byte().Draw(t, "y")},
	}
	o.Lines = rapid.SliceOf(rapid.Custom(func(t *rapid.T) line {
		return line{rapid.String().Draw(t, "product"), cents(rapid.Int64().Draw(t, "price"))}
	})).Draw(t, "lines")
	if rapid.Bool().Draw(t, "more") {
		o.Next = &order{ID: "next"}
	}
	return o
}

func TestMsgpackRoundTrip(t *testing.T) {
	s := mustFor[order](t)
	rapid.Check(t, func(t *rapid.T) {
		o := drawOrder(t)
		b, err := s.Encode(o)
		if err != nil {
			t.Fatalf("Encode: %v", err)
		}
		back, err := s.Decode(b)
		if diff := cmp.Diff(o, back); err != nil || diff != "" {
			t.Fatalf("Decode: %v\n%s", err, diff)
		}
		again, err := s.Encode(back)
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("equal values have other bytes:\n% x\n% x, %v", b, again, err)
		}
	})
}

// inOrder checks that v has the same bytes each time.
func inOrder[T any](t *testing.T, v T) {
	t.Helper()
	s := mustFor[T](t)
	first, err := s.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if again, _ := s.Encode(v); !bytes.Equal(first, again) {
			t.Fatalf("%s: the same map has other bytes the next time", s.Name)
		}
	}
	if back, err := s.Decode(first); err != nil || !cmp.Equal(back, v) {
		t.Fatalf("%s: Decode: %v\n%s", s.Name, err, cmp.Diff(v, back))
	}
}

func TestMapsAreWrittenInOrder(t *testing.T) {
	type inner struct{ M map[uint16]string }
	nested := map[int]inner{}
	texts, bools, named := map[string]string{}, map[string]bool{}, map[userID]cents{}
	for i := range 300 {
		nested[i*7%300] = inner{map[uint16]string{uint16(i): "a", 1000: "b", 2: "c"}}
		k := strings.Repeat("k", i)
		texts[k], bools[k], named[userID(k)] = k, i%2 == 0, cents(i)
	}
	inOrder(t, nested)
	inOrder(t, texts)
	inOrder(t, bools)
	inOrder(t, named)
}

func TestFieldsCanBeAdded(t *testing.T) {
	type v1 struct{ Name string }
	type v2 struct {
		Age  int
		Name string
	}
	b1, _ := mustFor[v1](t).Encode(v1{"ann"})
	b2, _ := mustFor[v2](t).Encode(v2{7, "ann"})
	if got, err := mustFor[v2](t).Decode(b1); err != nil || got != (v2{0, "ann"}) {
		t.Errorf("the new type reads the old bytes as %+v, %v", got, err)
	}
	if got, err := mustFor[v1](t).Decode(b2); err != nil || got != (v1{"ann"}) {
		t.Errorf("the old type reads the new bytes as %+v, %v", got, err)
	}
}

func TestMsgpackKeepsNothingOfItsInput(t *testing.T) {
	type item struct {
		Name  string
		Photo []byte
	}
	s := mustFor[item](t)
	b, _ := s.Encode(item{"name", []byte("photo")})
	got, err := s.Decode(b)
	clear(b)
	if _, err := s.Decode([]byte("\x82\xa4Name\xa4XXXX\xa5Photo\xc4\x05XXXXX")); err != nil {
		t.Fatal(err)
	}
	if err != nil || got.Name != "name" || string(got.Photo) != "photo" {
		t.Errorf("after the input was overwritten: %+v, %v", got, err)
	}
}

func TestMsgpackHostileBytes(t *testing.T) {
	type times struct {
		At time.Time
		M  map[string][]line
		S  []line
	}
	s := mustFor[times](t)
	for _, tt := range []struct{ name, src, want string }{
		{"nothing", "", "cut short"},
		{"a code that is not used", "\xc1", "no code 0xc1"},
		{"a text", "hello", "4 bytes after the value"},
		{"bytes after the value", "\x80\x80", "1 bytes after the value"},
		{"a string longer than the input", "\x81\xa2At\xdb\xff\xff\xff\xff", "cut short"},
		{"an array longer than the input", "\x81\xa1S\xdd\xff\xff\xff\xff", "cut short"},
		{"a map longer than the input", "\x81\xa1M\xdf\xff\xff\xff\xff", "cut short"},
		{"a map with a key and no value", "\x81\xa1M", "cut short"},
		{"a head cut short", "\x81\xa1S\xdd\xff", "cut short"},
		{"an extension longer than the input", "\x81\xa2At\xc9\xff\xff\xff\xff\xff", "cut short"},
		{"an extension of the wrong type", "\x81\xa2At\xd6\x05\x00\x00\x00\x00", "ext type=5"},
		{"a nil for a time", "\x81\xa2At\xc0", "panicked"},
		{"a number for a slice", "\x81\xa1S\x07", "code=7"},
		{
			"an extension for a map, with a map in its payload that claims 2^32 entries",
			"\x81\xa1M\xc7\x0c\xff\xdf\xff\xff\xff\xff\xa1a\xdd\xff\xff\xff\xff", "extension, want a map",
		},
		{
			"the same after a true extension",
			"\x82\xa2At\xd6\xff\x00\x00\x00\x01\xa1M\xd7\xff\x81\xa1a\xdd\xff\xff\xff\xff", "extension, want a map",
		},
		{"arrays in arrays without end", "\x81\xa1X" + strings.Repeat("\x91", 1<<20) + "\xc0", "nested more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			v, err := s.Decode([]byte(tt.src))
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Decode = %v, %v, want an error with %q", v, err, tt.want)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 4<<20 {
				t.Errorf("Decode of %d bytes allocated %d", len(tt.src), got)
			}
		})
	}
}

func TestMsgpackNull(t *testing.T) {
	if _, err := mustFor[pair](t).Decode(nil); !errors.Is(err, serde.ErrNull) {
		t.Errorf("Decode(nil) of a struct = %v, want ErrNull", err)
	}
	if v, err := mustFor[*pair](t).Decode([]byte{0xc0}); err == nil {
		t.Errorf("Decode of a MessagePack nil = %v, want an error: it is not a null", v)
	}
}

type chain struct {
	N    int
	Next *chain
}

func TestNestingIsBoundedBothWays(t *testing.T) {
	s := mustFor[chain](t)
	long := func(n int) (c chain) {
		for i := range n - 1 {
			next := c
			c = chain{i, &next}
		}
		return c
	}
	b, err := s.Encode(long(1000))
	if err != nil {
		t.Fatalf("Encode of 1000 structs in each other: %v", err)
	}
	if back, err := s.Decode(b); err != nil || !cmp.Equal(back, long(1000)) {
		t.Errorf("Decode of 1000 structs in each other: %v", err)
	}
	if _, err := s.Encode(long(1001)); err == nil || !strings.Contains(err.Error(), "nested more than 1000") {
		t.Errorf("Encode of 1001 structs in each other = %v, want an error", err)
	}
}

func TestKeysAreCanonical(t *testing.T) {
	s, err := serde.ForKey[pair]()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, src string }{
		{"a number wider than it needs", "\x92\xa2eu\xd3\x00\x00\x00\x00\x00\x00\x00\x01"},
		{"a string wider than it needs", "\x92\xd9\x02eu\x01"},
		{"fields by name", "\x82\xa6Region\xa2eu\xa2ID\x01"},
		{"no fields", "\x90"},
		{"nil", "\xc0"},
		{"a field less", "\x91\xa2eu"},
		{"a field more", "\x93\xa2eu\x01\x01"},
	} {
		if v, err := s.Decode([]byte(tt.src)); err == nil {
			t.Errorf("%s: Decode = %v, want an error", tt.name, v)
		}
	}
}

func TestSerdesAreSafeTogether(t *testing.T) {
	s := mustFor[order](t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			want := order{ID: strings.Repeat("x", i), Stock: map[int64][]string{1: {"a"}, 2: nil}, Photo: []byte{byte(i)}}
			for range 200 {
				b, err := s.Encode(want)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := s.Decode(b); err != nil || !cmp.Equal(got, want, sameInstant) {
					t.Errorf("%v: %s", err, cmp.Diff(want, got, sameInstant))
					return
				}
			}
		})
	}
	wg.Wait()
}

var sameInstant = cmpopts.EquateApproxTime(0)

func FuzzMsgpackValue(f *testing.F) {
	s := mustFor[order](f)
	full, _ := s.Encode(order{
		ID: "id", Lines: []line{{"p", 1}}, Tags: map[string]string{"a": "b"}, Stock: map[int64][]string{1: {"a"}},
		Flags: map[string]bool{"f": true}, Next: &order{}, Sum: 1.5, Photo: []byte("p"),
	})
	for _, seed := range []string{string(full), "", "\xc0", "\x80", "\x90", "\x81\xa2At\xc0", "\x81\xa5Stock\xd6\xff\x81\x01\x91\xc0"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		v, err := s.Decode(src)
		if err != nil {
			return
		}
		b, err := s.Encode(v)
		if err != nil {
			return // a time or a depth that the input could say in another way
		}
		back, err := s.Decode(b)
		if err != nil {
			t.Fatalf("accepted bytes do not survive a round trip: %v\n% x\n% x", err, src, b)
		}
		if again, err := s.Encode(back); err != nil || !bytes.Equal(b, again) {
			t.Fatalf("equal values have other bytes: %v\n% x\n% x", err, b, again)
		}
	})
}

func FuzzMsgpackKey(f *testing.F) {
	type key struct {
		Region string
		Pair   pair
		Nos    [2]uint16
		Hash   [3]byte
		At     time.Time
		Open   bool
	}
	s, err := serde.ForKey[key]()
	if err != nil {
		f.Fatal(err)
	}
	full, _ := s.Encode(key{"eu", pair{"de", 300}, [2]uint16{1, 300}, [3]byte{1, 2, 3}, time.Unix(1, 1), true})
	f.Add(full)
	f.Add([]byte("\x96\xa0\x92\xa0\x00\x92\x00\x00\xc4\x03\x00\x00\x00\xd6\xff\x00\x00\x00\x00\xc2"))
	f.Fuzz(func(t *testing.T, src []byte) {
		v, err := s.Decode(src)
		if err != nil {
			return
		}
		if again, err := s.Encode(v); err != nil || !bytes.Equal(again, src) {
			t.Fatalf("a key that is accepted has another encoding: %v\n% x\n% x", err, src, again)
		}
	})
}

func BenchmarkMsgpack(b *testing.B) {
	s := mustFor[line](b)
	v := line{"a product with a name", 12345}
	buf, _ := s.Encode(v)
	b.Run("op=append", func(b *testing.B) {
		b.ReportAllocs()
		dst := make([]byte, 0, 128)
		for b.Loop() {
			dst, _ = s.Append(dst[:0], v)
		}
	})
	b.Run("op=decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = s.Decode(buf)
		}
	})
}
