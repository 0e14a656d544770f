// SPDX-License-Identifier: Apache-2.0

package serde

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
)

// The serdes of the plain types. Those named after a Java serde write its
// bytes; numbers are big endian and of fixed width.
var (
	// String writes the bytes of the string as they are, which is UTF-8 for
	// text (StringSerializer). It does not check that they are: a string goes
	// through unchanged.
	String = Serde[string]{Name: "string", Append: appendString, Decode: decodeString}

	// Bytes writes the slice as it is (ByteArraySerializer). A nil slice is
	// written as an empty one and read back as one: Bytes has no null.
	Bytes = Serde[[]byte]{Name: "bytes", Append: appendBytes, Decode: decodeBytes}

	// Bool writes one byte, 0 or 1 (BooleanSerializer).
	Bool = Serde[bool]{Name: "bool", Append: appendBool, Decode: decodeBool}

	// Int8 writes one byte, in two's complement.
	Int8 = Serde[int8]{Name: "int8", Append: append8[int8], Decode: decodeInt8}
	// Int16 writes 2 bytes (ShortSerializer).
	Int16 = Serde[int16]{Name: "int16", Append: append16[int16], Decode: decodeInt16}
	// Int32 writes 4 bytes (IntegerSerializer).
	Int32 = Serde[int32]{Name: "int32", Append: append32[int32], Decode: decodeInt32}
	// Int64 writes 8 bytes (LongSerializer).
	Int64 = Serde[int64]{Name: "int64", Append: append64[int64], Decode: decodeInt64}
	// Int writes 8 bytes, as Int64 does, on every machine. Where int has 32
	// bits, a number that does not fit is an error to Decode.
	Int = Serde[int]{Name: "int64", Append: append64[int], Decode: decodeInt}

	// Uint8 writes one byte.
	Uint8 = Serde[uint8]{Name: "uint8", Append: append8[uint8], Decode: decodeUint8}
	// Uint16 writes 2 bytes.
	Uint16 = Serde[uint16]{Name: "uint16", Append: append16[uint16], Decode: decodeUint16}
	// Uint32 writes 4 bytes.
	Uint32 = Serde[uint32]{Name: "uint32", Append: append32[uint32], Decode: decodeUint32}
	// Uint64 writes 8 bytes.
	Uint64 = Serde[uint64]{Name: "uint64", Append: append64[uint64], Decode: decodeUint64}
	// Uint writes 8 bytes, as Uint64 does, on every machine.
	Uint = Serde[uint]{Name: "uint64", Append: append64[uint], Decode: decodeUint}

	// Float32 writes 4 bytes, IEEE 754 (FloatSerializer).
	Float32 = Serde[float32]{Name: "float32", Append: appendFloat32, Decode: decodeFloat32}
	// Float64 writes 8 bytes, IEEE 754 (DoubleSerializer).
	Float64 = Serde[float64]{Name: "float64", Append: appendFloat64, Decode: decodeFloat64}

	// UUID writes the 36 characters of the string form in lower case, as
	// UUIDSerializer does, and reads nothing else.
	UUID = Serde[uuid.UUID]{Name: "uuid", Append: appendUUID, Decode: decodeUUID}

	// Time writes the instant without loss in 12 bytes: seconds since the Unix
	// epoch as int64, then nanoseconds within the second as uint32. The zone and
	// the monotonic reading are not written: what is read is in UTC, and two
	// times that are Equal have the same bytes. Java has no such serde; for a
	// topic shared with it use an int64 of milliseconds.
	Time = Serde[time.Time]{Name: "time", Append: appendTime, Decode: decodeTime}
)

func appendString(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }

func decodeString(src []byte) (string, error) {
	if src == nil {
		return "", fmt.Errorf("string: %w", ErrNull)
	}
	return string(src), nil
}

func appendBytes(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }

func decodeBytes(src []byte) ([]byte, error) {
	if src == nil {
		return nil, fmt.Errorf("bytes: %w", ErrNull)
	}
	return append(make([]byte, 0, len(src)), src...), nil
}

func appendBool(dst []byte, v bool) ([]byte, error) {
	if v {
		return append(dst, 1), nil
	}
	return append(dst, 0), nil
}

func decodeBool(src []byte) (bool, error) {
	if len(src) != 1 {
		return false, badLength("bool", src, 1)
	}
	if src[0] > 1 {
		return false, fmt.Errorf("bool: byte %#02x, want 0 or 1", src[0])
	}
	return src[0] == 1, nil
}

func append8[T int8 | uint8](dst []byte, v T) ([]byte, error) { return append(dst, byte(v)), nil }

func append16[T int16 | uint16](dst []byte, v T) ([]byte, error) {
	return binary.BigEndian.AppendUint16(dst, uint16(v)), nil
}

func append32[T int32 | uint32](dst []byte, v T) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, uint32(v)), nil
}

func append64[T int64 | uint64 | int | uint](dst []byte, v T) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
}

func decodeInt8(src []byte) (int8, error) {
	if len(src) != 1 {
		return 0, badLength("int8", src, 1)
	}
	return int8(src[0]), nil
}

func decodeInt16(src []byte) (int16, error) {
	if len(src) != 2 {
		return 0, badLength("int16", src, 2)
	}
	return int16(binary.BigEndian.Uint16(src)), nil
}

func decodeInt32(src []byte) (int32, error) {
	if len(src) != 4 {
		return 0, badLength("int32", src, 4)
	}
	return int32(binary.BigEndian.Uint32(src)), nil
}

func decodeInt64(src []byte) (int64, error) {
	if len(src) != 8 {
		return 0, badLength("int64", src, 8)
	}
	return int64(binary.BigEndian.Uint64(src)), nil
}

func decodeInt(src []byte) (int, error) {
	n, err := decodeInt64(src)
	if err == nil && int64(int(n)) != n {
		return 0, fmt.Errorf("int64: %d does not fit the int of this machine", n)
	}
	return int(n), err
}

func decodeUint8(src []byte) (uint8, error) {
	if len(src) != 1 {
		return 0, badLength("uint8", src, 1)
	}
	return src[0], nil
}

func decodeUint16(src []byte) (uint16, error) {
	if len(src) != 2 {
		return 0, badLength("uint16", src, 2)
	}
	return binary.BigEndian.Uint16(src), nil
}

func decodeUint32(src []byte) (uint32, error) {
	if len(src) != 4 {
		return 0, badLength("uint32", src, 4)
	}
	return binary.BigEndian.Uint32(src), nil
}

func decodeUint64(src []byte) (uint64, error) {
	if len(src) != 8 {
		return 0, badLength("uint64", src, 8)
	}
	return binary.BigEndian.Uint64(src), nil
}

func decodeUint(src []byte) (uint, error) {
	n, err := decodeUint64(src)
	if err == nil && uint64(uint(n)) != n {
		return 0, fmt.Errorf("uint64: %d does not fit the uint of this machine", n)
	}
	return uint(n), err
}

func appendFloat32(dst []byte, v float32) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, math.Float32bits(v)), nil
}

func decodeFloat32(src []byte) (float32, error) {
	if len(src) != 4 {
		return 0, badLength("float32", src, 4)
	}
	return math.Float32frombits(binary.BigEndian.Uint32(src)), nil
}

func appendFloat64(dst []byte, v float64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(v)), nil
}

func decodeFloat64(src []byte) (float64, error) {
	if len(src) != 8 {
		return 0, badLength("float64", src, 8)
	}
	return math.Float64frombits(binary.BigEndian.Uint64(src)), nil
}

// uuidLen is the length of the string form of a UUID.
const uuidLen = 36

func appendUUID(dst []byte, v uuid.UUID) ([]byte, error) {
	dst = append(hex.AppendEncode(dst, v[0:4]), '-')
	dst = append(hex.AppendEncode(dst, v[4:6]), '-')
	dst = append(hex.AppendEncode(dst, v[6:8]), '-')
	dst = append(hex.AppendEncode(dst, v[8:10]), '-')
	return hex.AppendEncode(dst, v[10:]), nil
}

func decodeUUID(src []byte) (uuid.UUID, error) {
	if len(src) != uuidLen {
		return uuid.UUID{}, badLength("uuid", src, uuidLen)
	}
	for _, c := range src {
		if 'A' <= c && c <= 'F' {
			return uuid.UUID{}, fmt.Errorf("uuid: %q is not in lower case", src)
		}
	}
	id, err := uuid.ParseBytes(src)
	if err != nil {
		return uuid.UUID{}, fmt.Errorf("uuid: %w", err)
	}
	return id, nil
}

func appendTime(dst []byte, v time.Time) ([]byte, error) {
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.Unix()))
	return binary.BigEndian.AppendUint32(dst, uint32(v.Nanosecond())), nil
}

func decodeTime(src []byte) (time.Time, error) {
	if len(src) != 12 {
		return time.Time{}, badLength("time", src, 12)
	}
	sec, ns := int64(binary.BigEndian.Uint64(src)), binary.BigEndian.Uint32(src[8:])
	if ns >= uint32(time.Second) {
		return time.Time{}, fmt.Errorf("time: %d ns within the second, want less than %d", ns, time.Second)
	}
	return time.Unix(sec, int64(ns)).UTC(), nil
}
