// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// Format is the version of the layout of keys and values in a base that this
// package writes. A base of another format is set aside.
const Format = 1

// NoEpoch is the LeaderEpoch of a header whose records carried none.
const NoEpoch int32 = -1

// A Header is what a base says about itself: whose data it holds and how far
// they are. It is stored inside the base, in the same atomic batch as the data it
// speaks of.
type Header struct {
	Cluster     string   // cluster id of the broker
	ChangelogID [16]byte // topic id of the changelog; zero if the broker has none
	Changelog   string   // name of the changelog topic
	Partition   int32    // partition of the changelog
	Position    int64    // next changelog offset to apply: all before it is in the base
	LeaderEpoch int32    // of the last applied changelog record, NoEpoch if unknown
	AppliedAt   int64    // wall clock of the last apply, ms since the Unix epoch
	Kind        string   // kind of store, as [Store.Kind]
	Serdes      string   // fingerprint of the encodings, as [Store.Serdes]
	Format      int      // layout of the base, [Format]
}

const headerVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Append appends the encoded header to dst. Strings longer than 65535 bytes are
// cut: no name in Kafka is.
//
//	version byte | id [16]byte | partition int32 | position int64 | epoch int32 |
//	applied at int64 | format int32 | cluster, changelog, kind, serdes: each
//	length uint16 and bytes | crc-32c of all before, uint32
//
// Integers are big endian.
func (h Header) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, headerVersion)
	dst = append(dst, h.ChangelogID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.Partition))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Position))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.LeaderEpoch))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.AppliedAt))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.Format))
	for _, s := range []string{h.Cluster, h.Changelog, h.Kind, h.Serdes} {
		s = s[:min(len(s), math.MaxUint16)]
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
		dst = append(dst, s...)
	}
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// ParseHeader reads what Append wrote. It keeps nothing of b. Errors satisfy
// errors.Is(err, ErrDamaged).
func ParseHeader(b []byte) (Header, error) {
	const fixed = 1 + 16 + 4 + 8 + 4 + 8 + 4
	if len(b) < fixed+4 {
		return Header{}, fmt.Errorf("header of %d bytes: %w", len(b), ErrDamaged)
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return Header{}, fmt.Errorf("header: wrong checksum: %w", ErrDamaged)
	}
	if body[0] != headerVersion {
		return Header{}, fmt.Errorf("header: version %d, not %d: %w", body[0], headerVersion, ErrDamaged)
	}
	h := Header{
		Partition:   int32(binary.BigEndian.Uint32(body[17:])),
		Position:    int64(binary.BigEndian.Uint64(body[21:])),
		LeaderEpoch: int32(binary.BigEndian.Uint32(body[29:])),
		AppliedAt:   int64(binary.BigEndian.Uint64(body[33:])),
		Format:      int(int32(binary.BigEndian.Uint32(body[41:]))),
	}
	copy(h.ChangelogID[:], body[1:17])
	rest := body[fixed:]
	for _, s := range []*string{&h.Cluster, &h.Changelog, &h.Kind, &h.Serdes} {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return Header{}, fmt.Errorf("header: short string: %w", ErrDamaged)
		}
		n := int(binary.BigEndian.Uint16(rest))
		*s = string(rest[2 : 2+n])
		rest = rest[2+n:]
	}
	if len(rest) != 0 {
		return Header{}, fmt.Errorf("header: %d bytes too many: %w", len(rest), ErrDamaged)
	}
	return h, nil
}

// Differs compares whose data h and want speak of and in which form: cluster,
// changelog, partition, kind, serdes, format. It returns "" if they agree, else
// the first difference in words, fit for a log line. How far the two are is not
// compared.
func (h Header) Differs(want Header) string {
	switch {
	case h.Cluster != want.Cluster:
		return fmt.Sprintf("cluster is %q, not %q", want.Cluster, h.Cluster)
	case h.Changelog != want.Changelog:
		return fmt.Sprintf("changelog is %q, not %q", want.Changelog, h.Changelog)
	case !bytes.Equal(h.ChangelogID[:], want.ChangelogID[:]):
		return fmt.Sprintf("changelog %s has topic id %x, not %x", want.Changelog, want.ChangelogID, h.ChangelogID)
	case h.Partition != want.Partition:
		return fmt.Sprintf("partition is %d, not %d", want.Partition, h.Partition)
	case h.Kind != want.Kind:
		return fmt.Sprintf("kind of store is %q, not %q", want.Kind, h.Kind)
	case h.Serdes != want.Serdes:
		return fmt.Sprintf("serdes are %q, not %q", want.Serdes, h.Serdes)
	case h.Format != want.Format:
		return fmt.Sprintf("format is %d, not %d", want.Format, h.Format)
	}
	return ""
}
