// SPDX-License-Identifier: Apache-2.0

package window

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/millrace/millrace/serde"
)

// A Key is a key in a time window. Start is in the window, End is not, but for a
// sliding window; both are ms since the Unix epoch.
type Key[K any] struct {
	Key        K
	Start, End int64
}

// A SessionKey is a key in a session: Start is the timestamp of its first record,
// End that of its last, ms since the Unix epoch. Both are in it.
type SessionKey[K any] struct {
	Key        K
	Start, End int64
}

// TimeKey is the encoding of keys in windows of a size, as Kafka Streams writes it:
// the key, then the start, 8 bytes, big endian. The size is not written, so it is
// needed to read.
func TimeKey[K any](inner serde.Serde[K], size time.Duration) serde.Serde[Key[K]] {
	ms := size.Milliseconds()
	return serde.Serde[Key[K]]{
		Name: fmt.Sprintf("window(%s,%d)", inner.Name, ms),
		Append: func(dst []byte, k Key[K]) ([]byte, error) {
			dst, err := inner.Append(dst, k.Key)
			if err != nil {
				return dst, err
			}
			return binary.BigEndian.AppendUint64(dst, uint64(k.Start)), nil
		},
		Decode: func(src []byte) (Key[K], error) {
			key, start, err := split(src, 8)
			if err != nil {
				return Key[K]{}, err
			}
			k, err := inner.Decode(key)
			if err != nil {
				return Key[K]{}, err
			}
			from := int64(binary.BigEndian.Uint64(start))
			if from < 0 || from > math.MaxInt64-ms {
				return Key[K]{}, fmt.Errorf("window start %d is out of range", from)
			}
			return Key[K]{k, from, from + ms}, nil
		},
	}
}

// SessionKeys is the encoding of keys in sessions, as Kafka Streams writes it: the
// key, then the end and the start, 8 bytes each, big endian.
func SessionKeys[K any](inner serde.Serde[K]) serde.Serde[SessionKey[K]] {
	return serde.Serde[SessionKey[K]]{
		Name: fmt.Sprintf("session(%s)", inner.Name),
		Append: func(dst []byte, k SessionKey[K]) ([]byte, error) {
			return appendPair(dst, inner, k.Key, k.End, k.Start)
		},
		Decode: func(src []byte) (SessionKey[K], error) {
			k, end, start, err := decodePair(src, inner)
			if err != nil {
				return SessionKey[K]{}, err
			}
			if start < 0 || end < start {
				return SessionKey[K]{}, fmt.Errorf("session from %d to %d is out of range", start, end)
			}
			return SessionKey[K]{k, start, end}, nil
		},
	}
}

// appendPair appends a key and two numbers, 8 bytes each, big endian.
func appendPair[K any](dst []byte, inner serde.Serde[K], key K, a, b int64) ([]byte, error) {
	dst, err := inner.Append(dst, key)
	if err != nil {
		return dst, err
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(a))
	return binary.BigEndian.AppendUint64(dst, uint64(b)), nil
}

// decodePair reads what appendPair has written.
func decodePair[K any](src []byte, inner serde.Serde[K]) (key K, a, b int64, err error) {
	k, pair, err := split(src, 16)
	if err != nil {
		return key, 0, 0, err
	}
	if key, err = inner.Decode(k); err != nil {
		return key, 0, 0, err
	}
	return key, int64(binary.BigEndian.Uint64(pair)), int64(binary.BigEndian.Uint64(pair[8:])), nil
}

// split cuts the last n bytes off a key.
func split(src []byte, n int) (key, bounds []byte, err error) {
	if len(src) < n {
		return nil, nil, errors.New("windowed key is too short")
	}
	at := len(src) - n
	return src[:at:at], src[at:], nil
}
