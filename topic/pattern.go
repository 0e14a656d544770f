// SPDX-License-Identifier: Apache-2.0

package topic

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strconv"

	"github.com/millrace/millrace/serde"
)

// A Pattern stands for all topics whose names match a regular expression, with the
// serdes of their keys and values. It is a plain value, as [Topic] is.
type Pattern[K, V any] struct {
	expr    string
	re      *regexp.Regexp
	exprErr error
	of      Topic[K, V] // the encodings and the place; it has no name
}

// Matching returns the pattern of topics whose whole name matches expr, in the syntax
// of package regexp: "orders-.*" matches "orders-eu", and not "old-orders-eu". The
// serdes are found by type, as in [Of]. It does not fail: what is wrong is told by Err,
// and with it by the check of the topology that uses the pattern.
func Matching[K, V any](expr string) Pattern[K, V] {
	p := Pattern[K, V]{expr: expr, of: Of[K, V]("")}
	var pcs [1]uintptr
	runtime.Callers(2, pcs[:])
	p.of.pc = pcs[0]
	if expr == "" {
		p.exprErr = errors.New("it is empty")
		return p
	}
	if _, p.exprErr = regexp.Compile(expr); p.exprErr == nil { // by itself, so that no bracket of ours mends it
		p.re, p.exprErr = regexp.Compile(`\A(?:` + expr + `)\z`)
	}
	return p
}

// Keys returns p with s for the keys, as [Topic.Keys].
func (p Pattern[K, V]) Keys(s serde.Serde[K]) Pattern[K, V] {
	p.of = p.of.Keys(s)
	return p
}

// Values returns p with s for the values.
func (p Pattern[K, V]) Values(s serde.Serde[V]) Pattern[K, V] {
	p.of = p.of.Values(s)
	return p
}

// String returns the regular expression as it was given.
func (p Pattern[K, V]) String() string { return p.expr }

// Matches tells whether a topic's name matches. A pattern with an error matches none.
func (p Pattern[K, V]) Matches(name string) bool { return p.re != nil && p.re.MatchString(name) }

// Topic returns the topic of that name with the pattern's serdes, for tests and
// clients that write to one.
func (p Pattern[K, V]) Topic(name string) Topic[K, V] {
	t := p.of
	t.name = name
	return t
}

// KeySerde returns the serde of the keys. It is not valid if Err is not nil because of
// it.
func (p Pattern[K, V]) KeySerde() serde.Serde[K] { return p.of.keys }

// ValueSerde returns the serde of the values. It is not valid if Err is not nil
// because of it.
func (p Pattern[K, V]) ValueSerde() serde.Serde[V] { return p.of.values }

// Err returns what is wrong with the pattern, all problems joined, or nil: an
// expression that cannot be read, or a type without an encoding.
func (p Pattern[K, V]) Err() error {
	var errs []error
	add := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("pattern %s%s: %w", strconv.Quote(p.expr), what, err))
		}
	}
	add("", p.exprErr)
	add(": keys", p.of.keyErr)
	add(": values", p.of.valueErr)
	return errors.Join(errs...)
}

// Site returns where Matching was called, as "file:line". It is empty for the zero
// Pattern.
func (p Pattern[K, V]) Site() string { return p.of.Site() }
