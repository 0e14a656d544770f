// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/examples/internal/live"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
)

type record = processor.Record[string, string]

var (
	products  = []record{{Key: "p1", Value: "Pencil,120", Timestamp: 10}, {Key: "p2", Value: "Paper,450", Timestamp: 500}}
	customers = []record{{Key: "ann", Value: "Ann,gold", Timestamp: 20}}
	orders    = []record{
		{Key: "ann", Value: "p1,3", Timestamp: 100},
		{Key: "bob", Value: "p2,2", Timestamp: 110}, // bob is not known; the product is, though it is newer
		{Key: "ann", Value: "p9,1", Timestamp: 120}, // not known
		{Key: "ann", Value: "what?", Timestamp: 130},
		{Key: "ann", Value: "p2,1", Timestamp: 140},
	}
	enriched = []record{
		{Key: "ann", Value: "Ann (gold): 3 x Pencil for 3.60", Timestamp: 100},
		{Key: "bob", Value: "somebody: 2 x Paper for 9.00", Timestamp: 110},
		{Key: "ann", Value: "Ann (gold): 1 x an unknown product for 0.00", Timestamp: 120},
		{Key: "ann", Value: "Ann (gold): 1 x Paper for 4.50", Timestamp: 140},
	}
)

func TestOrdersAreEnriched(t *testing.T) {
	d := testdriver.New(t, topology())
	for _, p := range products {
		d.Pipe(Products, p)
	}
	for _, c := range customers {
		d.Pipe(Customers, c)
	}
	for _, o := range orders {
		d.Pipe(Orders, o)
	}
	if diff := cmp.Diff(enriched, d.ReadAll(Enriched)); diff != "" {
		t.Error(diff)
	}
}

// On a broker products come in the background: an order that is sent again and again
// tells when the last of them has.
func TestOrdersAreEnrichedOnTheBroker(t *testing.T) {
	r := live.Start(t, topology())
	r.Send(Products, products...)
	r.Send(Customers, customers...)
	before := 1
	for ; ; before++ {
		r.Send(Orders, record{Key: "ann", Value: "p2,1", Timestamp: 50})
		if got := r.Read(Enriched, before); strings.Contains(got[before-1].Value, "Paper") {
			break
		}
	}
	r.Send(Orders, orders...)
	if diff := cmp.Diff(enriched, r.Read(Enriched, before+len(enriched))[before:]); diff != "" {
		t.Error(diff)
	}
}
