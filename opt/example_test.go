// SPDX-License-Identifier: Apache-2.0

package opt_test

import (
	"encoding/json"
	"fmt"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
)

// A joiner takes a V on the side that may have no partner.
func Example() {
	greet := func(name string, city opt.V[string]) string {
		if c, ok := city.Get(); ok {
			return name + " in " + c
		}
		return name
	}
	fmt.Println(greet("Ann", opt.Some("Oslo")))
	fmt.Println(greet("Bob", opt.None[string]()))
	fmt.Println(opt.None[string]().Or("somewhere"))
	// Output:
	// Ann in Oslo
	// Bob
	// somewhere
}

func ExampleV_String() {
	fmt.Println(opt.Some(0), opt.None[int]())
	// Output: 0 none
}

func ExampleV_MarshalJSON() {
	b, _ := json.Marshal([]opt.V[int]{opt.Some(7), opt.None[int]()})
	fmt.Println(string(b))
	// Output: [7,null]
}

// A V has the bytes of the value in it, and is null if there is none.
func ExampleSerde() {
	s := opt.Serde(serde.String)
	some, _ := s.Encode(opt.Some(""))
	none, _ := s.Encode(opt.None[string]())
	fmt.Println(some == nil, none == nil)
	// Output: false true
}
