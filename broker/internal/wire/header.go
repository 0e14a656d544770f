// SPDX-License-Identifier: Apache-2.0

// Package wire is what the broker checks of a request before it is decoded.
//
// Decoding itself is kmsg's. But kmsg believes an array's length as long as
// that many bytes follow, and a count of tagged fields always: a frame of some
// bytes can keep it busy for minutes, one of 100 MiB can make it allocate many
// gigabytes. [Check] walks a request first, by the schema of its key and
// version, without allocating: afterwards every length in it is known to be
// true and the number of its elements to be bounded.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrTruncated says that a request claims more than its frame holds.
var ErrTruncated = errors.New("request is truncated")

// errNullArray says that an array is null that must not be.
var errNullArray = errors.New("an array is null")

// ErrTooManyElements says that the arrays of a request hold more elements
// together than any client sends.
var ErrTooManyElements = errors.New("request has too many elements")

// A Header stands before every request: header version 1, the key and version
// being the first two fields of it. The tagged fields of version 2 follow it
// and are part of what Check reads.
type Header struct {
	Key           int16
	Version       int16
	CorrelationID int32
	ClientID      string // "" if null
}

// ParseHeader reads the header of a frame (without its length) and returns
// what follows it, which aliases frame.
func ParseHeader(frame []byte) (Header, []byte, error) {
	if len(frame) < 10 {
		return Header{}, nil, fmt.Errorf("header of %d bytes: %w", len(frame), ErrTruncated)
	}
	h := Header{
		Key:           int16(binary.BigEndian.Uint16(frame)),
		Version:       int16(binary.BigEndian.Uint16(frame[2:])),
		CorrelationID: int32(binary.BigEndian.Uint32(frame[4:])),
	}
	n := int(int16(binary.BigEndian.Uint16(frame[8:])))
	rest := frame[10:]
	if n < 0 {
		return h, rest, nil
	}
	if n > len(rest) {
		return Header{}, nil, fmt.Errorf("client id of %d bytes: %w", n, ErrTruncated)
	}
	h.ClientID = string(rest[:n])
	return h, rest[n:], nil
}
