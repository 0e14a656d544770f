// SPDX-License-Identifier: Apache-2.0

package seglog

import "encoding/binary"

// CountRecords is how many records the headers of whole batches claim, for
// metrics: nothing but these headers is read.
func CountRecords(batches []byte) int64 {
	n := int64(0)
	for len(batches) >= HeaderSize {
		be := binary.BigEndian
		n += int64(max(int32(be.Uint32(batches[57:])), 0))
		length := lengthEnd + int(int32(be.Uint32(batches[8:])))
		if length < HeaderSize || length > len(batches) {
			break
		}
		batches = batches[length:]
	}
	return n
}
