// SPDX-License-Identifier: Apache-2.0

// Enrich completes orders: with the customer who placed them, and with the name and the
// price of the product.
//
//	go run ./examples/enrich
//	printf 'ann:Ann,gold\n' | kcat -P -b 127.0.0.1:9092 -t customers -K:
//	printf 'p1:Pencil,120\n' | kcat -P -b 127.0.0.1:9092 -t products -K:
//	printf 'ann:p1,3\nbob:p1,1\n' | kcat -P -b 127.0.0.1:9092 -t orders -K:
//	kcat -C -b 127.0.0.1:9092 -t enriched -f '%k %s\n'
//
// Orders have the customer's id as their key, as the customers have: a table of
// customers is split over the instances like the orders, and an order meets the customer
// as it was at the order's time. A product is named in the order's value: the products
// are few, so each instance holds them all in a global table, and the orders need not be
// sent around; an order meets the product as the instance knows it by then. Orders of a
// customer or a product that is not known are told all the same.
package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
)

// The topics. Orders and customers are keyed by the customer's id, products by their own.
var (
	Orders    = topic.Of[string, string]("orders")    // product's id, count
	Customers = topic.Of[string, string]("customers") // name, status
	Products  = topic.Of[string, string]("products")  // name, price in cents
	Enriched  = topic.Of[string, string]("enriched")
)

// An order is what Orders says.
type order struct {
	product string
	count   int
}

// A priced is an order with its product.
type priced struct {
	order
	name  string
	cents int
}

func topology() *processor.Topology {
	t := processor.NewTopology("enrich")
	customers := ktable.From(t, "customers", Customers)
	products := ktable.Global(t, "products", Products)

	kstream.From(t, Orders).
		TryMapValues(parseOrder).OnError(processor.Skip()).
		LeftJoinGlobal(products, func(_ string, o order) string { return o.product }, price).
		LeftJoinTable(customers, tell).
		To(Enriched)
	return t
}

func parseOrder(s string) (order, error) {
	id, count, err := pair(s)
	return order{id, count}, err
}

func price(o order, product opt.V[string]) priced {
	name, cents, err := pair(product.Value)
	if err != nil {
		name = "an unknown product"
	}
	return priced{o, name, cents}
}

func tell(p priced, customer opt.V[string]) string {
	who := "somebody"
	if customer.OK {
		name, status, _ := strings.Cut(customer.Value, ",")
		who = fmt.Sprintf("%s (%s)", name, status)
	}
	return fmt.Sprintf("%s: %d x %s for %d.%02d", who, p.count, p.name, p.count*p.cents/100, p.count*p.cents%100)
}

// pair reads a text and a number with a comma between them.
func pair(s string) (text string, n int, err error) {
	text, number, ok := strings.Cut(s, ",")
	if !ok {
		return "", 0, fmt.Errorf("%q has no comma", s)
	}
	if n, err = strconv.Atoi(number); err != nil {
		return "", 0, fmt.Errorf("%q: %w", s, err)
	}
	return text, n, nil
}

func main() { millrace.Main(topology()) }
