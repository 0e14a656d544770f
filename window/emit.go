// SPDX-License-Identifier: Apache-2.0

package window

// EmitMode tells when an aggregation sends its results on.
type EmitMode uint8

// The modes of emission.
const (
	// OnUpdate sends the new result with every record: Kafka Streams without
	// its record cache.
	OnUpdate EmitMode = iota
	// OnCommit sends the latest result of each key that has changed once a
	// commit: Kafka Streams with its record cache, but by a rule. What comes out
	// depends on where the commits fall; the last result of each key does not.
	OnCommit
	// OnClose sends the result of a window once, when it has closed (KIP-825). It
	// is for windows only.
	OnClose
)
