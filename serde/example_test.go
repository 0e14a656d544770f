// SPDX-License-Identifier: Apache-2.0

package serde_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/millrace/millrace/serde"
)

func ExampleFor() {
	type UserID string
	type Order struct {
		User   UserID
		Amount int64
	}
	ids, _ := serde.For[UserID]()
	orders, _ := serde.For[Order]()
	b, _ := orders.Encode(Order{"ann", 7})
	fmt.Printf("%s %s %q\n", ids.Name, orders.Name, b)

	_, err := serde.For[chan int]()
	fmt.Println(err)
	// Output:
	// string msgpack(serde_test.Order) "\x82\xa4User\xa3ann\xa6Amount\a"
	// serde: no encoding for chan int: chan int is of kind chan
}

// Keys have to be canonical: equal keys are equal bytes.
func ExampleForKey() {
	type Place struct {
		Country string
		Zip     int
	}
	places, _ := serde.ForKey[Place]()
	b, _ := places.Encode(Place{"NO", 7})
	fmt.Printf("%s %q\n", places.Name, b)

	_, err := serde.ForKey[map[string]string]()
	fmt.Println(errors.Is(err, serde.ErrNone), err)
	// Output:
	// msgpack-key({Country string; Zip int}) "\x92\xa2NO\a"
	// true serde: no encoding for map[string]string: a map is not canonical as a key
}

// A serde of one's own is two functions and a name.
func ExampleSerde() {
	csv := serde.Serde[[]string]{
		Name: "csv",
		Append: func(dst []byte, v []string) ([]byte, error) {
			return append(dst, strings.Join(v, ",")...), nil
		},
		Decode: func(src []byte) ([]string, error) {
			return strings.Split(string(src), ","), nil
		},
	}
	b, _ := csv.Encode([]string{"a", "b"})
	v, _ := csv.Decode(b)
	fmt.Printf("%s %v\n", b, v)
	// Output: a,b [a b]
}

// Celsius brings its own serde, for values: serde.For finds it.
type Celsius float64

// Serde returns a serde.Serde[Celsius].
func (Celsius) Serde() (any, error) {
	return serde.Serde[Celsius]{
		Name:   "celsius",
		Append: func(dst []byte, v Celsius) ([]byte, error) { return fmt.Appendf(dst, "%g C", v), nil },
		Decode: func(src []byte) (v Celsius, err error) { _, err = fmt.Sscanf(string(src), "%g C", &v); return v, err },
	}, nil
}

func ExampleProvider() {
	s, _ := serde.For[Celsius]()
	b, _ := s.Encode(21.5)
	v, err := s.Decode(b)
	fmt.Printf("%s %s %v %v\n", s.Name, b, v, err)
	// Output: celsius 21.5 C 21.5 <nil>
}
