// SPDX-License-Identifier: Apache-2.0

package topic_test

import (
	"fmt"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topic"
)

type Order struct {
	Customer string
	Amount   int64
}

// Topics are values of the program: a name and its types, once.
var (
	Orders = topic.Of[string, Order]("orders")
	Prices = topic.Of[float64, int64]("prices").Keys(serde.Float64) // a serde that is not found by itself
	Raw    = topic.Of[opt.V[string], opt.V[string]]("raw")          // lets nulls through
)

func ExampleOf() {
	fmt.Println(Orders.Name(), Orders.KeySerde().Name, Orders.ValueSerde().Name, Orders.Err())
	fmt.Println(Prices.Name(), Prices.KeySerde().Name, Prices.ValueSerde().Name, Prices.Err())
	fmt.Println(Raw.Name(), Raw.KeySerde().Name, Raw.ValueSerde().Name, Raw.Err())
	// Output:
	// orders string msgpack(topic_test.Order) <nil>
	// prices float64 int64 <nil>
	// raw string string <nil>
}

func ExampleMatching() {
	regions := topic.Matching[string, Order]("orders-[a-z]+")
	fmt.Println(regions.Matches("orders-eu"), regions.Matches("old-orders-eu"), regions.Err())
	fmt.Println(regions.Topic("orders-eu").Name(), topic.Matching[string, Order]("orders-[").Err())
	// Output:
	// true false <nil>
	// orders-eu pattern "orders-[": error parsing regexp: missing closing ]: `[`
}

func ExampleTopic_Err() {
	fmt.Println(topic.Of[string, func()]("jobs").Err())
	// Output: topic "jobs": values: serde: no encoding for func(): func() is of kind func
}
