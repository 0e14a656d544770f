// SPDX-License-Identifier: Apache-2.0

package serde

import (
	"bytes"
	"fmt"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// packed returns the MessagePack serde of T.
func packed[T any](t reflect.Type, key bool) (Serde[T], error) {
	pointer := t.Kind() == reflect.Pointer
	if pointer && t.Elem().Kind() != reflect.Struct {
		return Serde[T]{}, none(t, "a value that can be absent is an opt.V[%v]", t.Elem())
	}
	sh, err := shapeOf(t, key)
	if err != nil {
		return Serde[T]{}, err
	}
	p := &packer{name: "msgpack(" + pointee(t).String() + ")", key: key, shape: sh}
	if key {
		// Without names in the bytes, the names and types are the encoding.
		p.name = "msgpack-key(" + sh.layout + ")"
	}
	if err := p.try(t); err != nil {
		return Serde[T]{}, err
	}
	s := Serde[T]{
		Name:   p.name,
		Append: func(dst []byte, v T) ([]byte, error) { return p.append(dst, any(&v)) },
		Decode: func(src []byte) (v T, err error) {
			if src == nil {
				return v, fmt.Errorf("%s: %w", p.name, ErrNull)
			}
			err = p.decode(src, any(&v))
			return v, err
		},
	}
	if pointer {
		s.IsNull = isNilPointer[T]
		s.Append = func(dst []byte, v T) ([]byte, error) { return p.append(dst, any(v)) }
		s.Decode = func(src []byte) (v T, err error) {
			if src == nil {
				return v, nil
			}
			if err = p.decode(src, any(&v)); err == nil && isNilPointer(v) {
				err = fmt.Errorf("%s: a MessagePack nil, want a struct", p.name)
			}
			return v, err
		}
	}
	return s, nil
}

// A packer encodes and decodes one type by MessagePack. It guards the library,
// which takes the lengths that it reads at their word and panics on some input.
type packer struct {
	name  string
	key   bool
	shape shape
}

// try encodes and decodes a zero value, to meet here what the library does not
// like about a type.
func (p *packer) try(t reflect.Type) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = none(t, "%v", r)
		}
	}()
	t = pointee(t)
	b, err := p.append(nil, reflect.New(t).Interface())
	if err == nil {
		err = p.decode(b, reflect.New(t).Interface())
	}
	if err != nil {
		return none(t, "%v", err)
	}
	return nil
}

// encoders holds encoders, for append and for canonical.
var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.enc = msgpack.NewEncoder(&e.out)
	return e
}}

type encoder struct {
	enc     *msgpack.Encoder
	out     output
	scratch []byte // for canonical
}

// maxKept is the longest input, in bytes, after which a decoder or a scratch
// buffer is used again: both have grown to the size of what they held.
const maxKept = 64 << 10

// output is what an encoder writes to.
type output struct{ b []byte }

func (o *output) Write(p []byte) (int, error) {
	o.b = append(o.b, p...)
	return len(p), nil
}

func (o *output) WriteByte(c byte) error {
	o.b = append(o.b, c)
	return nil
}

// append appends the encoding of what v points to.
func (p *packer) append(dst []byte, v any) ([]byte, error) {
	e := encoders.Get().(*encoder)
	e.out.b = dst
	b, err := p.encode(e, v)
	if err != nil {
		return dst, err // an encoder that has met an error is not used again
	}
	e.out.b = nil
	encoders.Put(e)
	return b, nil
}

// encode appends the encoding of what v points to to the buffer of e, which it
// returns.
func (p *packer) encode(e *encoder, v any) ([]byte, error) {
	start := len(e.out.b)
	e.enc.Reset(&e.out)
	e.enc.UseCompactInts(true)
	e.enc.UseArrayEncodedStructs(p.key)
	e.enc.SetSortMapKeys(true)
	if err := e.enc.Encode(v); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	if p.shape.recursive {
		if _, err := skip(e.out.b[start:]); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if p.shape.unsorted {
		if _, err := sortMaps(e.out.b[start:]); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return e.out.b, nil
}

// decoders holds decoders with their input.
var decoders = sync.Pool{New: func() any {
	return &decoder{dec: msgpack.NewDecoder(&input{})}
}}

type decoder struct {
	dec *msgpack.Decoder
	in  input
}

// decode reads all of src into what v points to.
func (p *packer) decode(src []byte, v any) error {
	n, err := skip(src)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if n != len(src) {
		return fmt.Errorf("%s: %d bytes after the value", p.name, len(src)-n)
	}
	d := decoders.Get().(*decoder)
	d.in = input{src: src, guard: p.shape.maps}
	if err := d.run(v); err != nil {
		return fmt.Errorf("%s: %w", p.name, err) // d may be anywhere: it is not used again
	}
	d.in = input{}
	if len(src) <= maxKept {
		decoders.Put(d)
	}
	if p.key {
		return p.canonical(src, v)
	}
	return nil
}

// run decodes into v. The library panics on some input, such as a nil in the
// place of a time; so may the methods of a type that are called with it.
func (d *decoder) run(v any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the decoder panicked: %v", r)
		}
	}()
	d.dec.Reset(&d.in)
	return d.dec.Decode(v)
}

// canonical returns an error if src is not how v is written here: numbers may
// have more bytes than they need, and structs may be maps. As a key it would be
// another than its equal.
func (p *packer) canonical(src []byte, v any) error {
	e := encoders.Get().(*encoder)
	e.out.b = e.scratch[:0]
	b, err := p.encode(e, v)
	if err != nil {
		return err
	}
	same := bytes.Equal(b, src)
	e.out.b = nil
	if cap(b) <= maxKept {
		e.scratch = b
	}
	encoders.Put(e)
	if !same {
		return fmt.Errorf("%s: not the canonical encoding of the key", p.name)
	}
	return nil
}
