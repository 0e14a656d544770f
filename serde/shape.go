// SPDX-License-Identifier: Apache-2.0

package serde

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmihailenco/msgpack/v5"
)

// A shape is what the MessagePack serde has to know of a type.
type shape struct {
	layout    string // of a key: names and types of all fields, in order
	maps      bool   // there is a map in it
	unsorted  bool   // there is a map that the encoder does not sort
	recursive bool   // it can be nested to any depth
}

// shapeOf walks through t and returns its shape, or why MessagePack cannot
// carry it, as a key or as a value.
func shapeOf(t reflect.Type, key bool) (shape, error) {
	w := walker{key: key, state: map[place]visit{}}
	if err := w.walk(t, t.String(), true); err != nil {
		return shape{}, fmt.Errorf("serde: %w for %v: %w", ErrNone, t, err)
	}
	w.shape.layout = w.layout.String()
	return w.shape, nil
}

var (
	timeType = reflect.TypeFor[time.Time]()
	uuidType = reflect.TypeFor[uuid.UUID]()
)

type visit int8

const (
	unseen visit = iota
	within       // the walk is inside it
	done
)

type walker struct {
	key    bool
	shape  shape
	layout strings.Builder
	state  map[place]visit
}

// A place is a type where the encoder can call methods of its pointer, or not.
type place struct {
	t           reflect.Type
	addressable bool
}

// walk checks t, found at path. addressable tells whether the encoder meets it
// where it can call methods of *t.
func (w *walker) walk(t reflect.Type, path string, addressable bool) error {
	if own, err := w.own(t, path, addressable); own || err != nil {
		return err
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		w.layout.WriteString(t.Kind().String())
		return nil
	case reflect.Float32, reflect.Float64:
		return w.notInKey(path, "a float")
	case reflect.Array:
		fmt.Fprintf(&w.layout, "[%d]", t.Len())
		return w.walk(t.Elem(), path+"[]", addressable)
	case reflect.Slice:
		if err := w.notInKey(path, "a slice"); err != nil {
			return err
		}
		return w.nested(place{t, true}, func() error { return w.walk(t.Elem(), path+"[]", true) })
	case reflect.Map:
		return w.mapping(t, path)
	case reflect.Pointer:
		return w.pointer(t, path)
	case reflect.Struct:
		return w.nested(place{t, addressable}, func() error { return w.structure(t, path, addressable) })
	}
	return fmt.Errorf("%s is of kind %v", path, t.Kind())
}

// notInKey is an error if the walk is for a key.
func (w *walker) notInKey(path, what string) error {
	if w.key {
		return fmt.Errorf("%s is %s, which is not canonical in a key", path, what)
	}
	return nil
}

// nested walks through the inside of a type once, and notes it if the type holds
// itself.
func (w *walker) nested(at place, inside func() error) error {
	switch seen := w.state[at]; {
	case seen == within:
		w.shape.recursive = true
		return nil
	case seen == done && !w.key: // a key needs the layout of each
		return nil
	}
	w.state[at] = within
	err := inside()
	w.state[at] = done
	return err
}

func (w *walker) mapping(t reflect.Type, path string) error {
	if err := w.notInKey(path, "a map"); err != nil {
		return err
	}
	w.shape.maps = true
	if t.Key() != reflect.TypeFor[string]() ||
		t.Elem() != reflect.TypeFor[string]() && t.Elem() != reflect.TypeFor[bool]() {
		w.shape.unsorted = true
	}
	if t.Key().Kind() == reflect.Pointer {
		return fmt.Errorf("%s has pointers for keys", path)
	}
	return w.nested(place{t, false}, func() error {
		if err := w.walk(t.Key(), path+"[key]", false); err != nil {
			return err
		}
		return w.walk(t.Elem(), path+"[]", false)
	})
}

func (w *walker) pointer(t reflect.Type, path string) error {
	if err := w.notInKey(path, "a pointer"); err != nil {
		return err
	}
	if t.Elem().Kind() == reflect.Pointer {
		return fmt.Errorf("%s is a pointer to a pointer", path)
	}
	return w.walk(t.Elem(), path, true)
}

func (w *walker) structure(t reflect.Type, path string, addressable bool) error {
	names := map[string]bool{}
	w.layout.WriteString("{")
	for f := range t.Fields() {
		name, err := w.field(t, f, path)
		if err != nil {
			return err
		}
		if name == "" {
			continue
		}
		if names[name] {
			return fmt.Errorf("%s has two fields named %q", path, name)
		}
		names[name] = true
		if len(names) > 1 {
			w.layout.WriteString("; ")
		}
		w.layout.WriteString(f.Name + " ")
		if err := w.walk(f.Type, path+"."+f.Name, addressable); err != nil {
			return err
		}
	}
	w.layout.WriteString("}")
	if len(names) == 0 && t.NumField() > 0 {
		return fmt.Errorf("%s has fields, but none that is exported", path)
	}
	return nil
}

// field returns the name that f is written under, which is empty for a field
// that is not written.
func (w *walker) field(t reflect.Type, f reflect.StructField, path string) (string, error) {
	name, options, _ := strings.Cut(f.Tag.Get("msgpack"), ",")
	path += "." + f.Name
	switch {
	case f.Name == "_msgpack" || f.Name == "_":
		return "", nil // options for the struct, or padding
	case name == "-" || !f.IsExported() && !f.Anonymous:
		if w.key {
			return "", fmt.Errorf("%s is not written, so that keys with different ones would be the same", path)
		}
		return "", nil
	case strings.Contains(options, "intern"):
		return "", fmt.Errorf("%s is tagged as interned, which is not supported", path)
	case !f.IsExported() && f.Type.Kind() != reflect.Struct:
		return "", fmt.Errorf("%s is embedded and not exported, so that it could not be read back", path)
	case f.Anonymous && embeds(f.Type, t, map[reflect.Type]bool{}):
		return "", fmt.Errorf("%s embeds the struct that it is in", path)
	case name == "":
		name = f.Name
	}
	return name, nil
}

// embeds tells whether t is outer or embeds it, directly or not: the encoder
// would never end to look for its fields.
func embeds(t, outer reflect.Type, seen map[reflect.Type]bool) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == outer {
		return true
	}
	if t.Kind() != reflect.Struct || seen[t] {
		return false
	}
	seen[t] = true
	for f := range t.Fields() {
		if f.Anonymous && embeds(f.Type, outer, seen) {
			return true
		}
	}
	return false
}

// A marshalling is a way by which a type encodes itself inside MessagePack.
type marshalling struct {
	encode, decode reflect.Type
	promoted       func(reflect.Type) bool
}

// marshallings are in the order in which the encoder asks for them.
var marshallings = [...]marshalling{
	{reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.CustomDecoder](), promotedEncodeMsgpack},
	{reflect.TypeFor[msgpack.Marshaler](), reflect.TypeFor[msgpack.Unmarshaler](), promotedMarshalMsgpack},
	{marshalerType, unmarshalerType, promotedMarshalBinary},
	{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](), promotedMarshalText},
}

// own tells whether t encodes itself, so that what is in it need not be known.
func (w *walker) own(t reflect.Type, path string, addressable bool) (bool, error) {
	if t == timeType {
		w.layout.WriteString("time")
		return true, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return false, nil // the walk goes on to what it points to
	case reflect.Interface:
		return false, nil
	}
	p := reflect.PointerTo(t)
	if p.Implements(messageType) {
		return false, fmt.Errorf("%s is a protobuf message inside another type", path)
	}
	for _, m := range marshallings {
		if !p.Implements(m.encode) {
			continue
		}
		switch {
		case !p.Implements(m.decode):
			return false, fmt.Errorf("%s encodes itself by %v, but has no %v", path, m.encode, m.decode)
		case !addressable && !t.Implements(m.encode):
			return false, fmt.Errorf("%s encodes itself by methods of its pointer, which cannot be called inside a map", path)
		}
		if err := whole(t, m.promoted); err != nil {
			return false, fmt.Errorf("%s: %w", path, err)
		}
		w.layout.WriteString(t.String())
		return true, nil
	}
	return false, nil
}
