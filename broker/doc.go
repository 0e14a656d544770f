// SPDX-License-Identifier: Apache-2.0

// Package broker is one durable node that speaks the Kafka protocol: topics,
// produce and fetch, consumer groups of the classic protocol, and idempotent
// producers, for Kafka's own clients, librdkafka, franz-go and the like. It
// runs in a process of its own (millrace broker) or inside a program, with TCP
// or without ([Broker.Dial]), on a directory or in memory.
//
//	b, err := broker.Open(ctx, broker.Config{Dir: "data", Listen: "127.0.0.1:9092"})
//	...
//	defer b.Close()
//
// # What an acknowledgement means
//
// With acks=1 or acks=all an answer without an error says that the batch is in
// the log, in order, once (with an idempotent producer), and that the flush
// policy holds for it:
//
//   - [FlushOS], the default as in Kafka on one node: it is in the page cache.
//     It survives a kill -9 of the broker. If the machine itself dies, each
//     partition may lose its newest records: always a suffix, never some in
//     the middle.
//   - [FlushBatch]: an fsync has covered it. It survives a power cut. Producers
//     that wait share one fsync, and consumers see nothing that has had none.
//   - [FlushInterval]: as FlushOS, and what was acknowledged more than one
//     interval ago survives a power cut.
//
// acks=0 promises nothing. Committed offsets and the state of groups follow the
// same policy. The creation and deletion of topics and the reservation of
// producer ids are always durable when they are acknowledged. A broker in memory
// forgets everything when it is closed.
//
// When the disk is full or fails, producers get KAFKA_STORAGE_ERROR and reads
// go on. Each start counts the leader epoch of every partition up by one, and
// the epoch is in every batch, so that a client can tell a log that was cut
// short (KIP-320).
//
// # Limits
//
// One node: no replication yet, though the high watermark and in-sync replicas
// are there for it. Not yet: transactions (a transactional id is refused),
// quotas, TLS, SASL and ACLs. ApiVersions announces only what is there; the
// comment at the head of each request's file says which versions.
//
// Configs are those in one table (option_table.go): what is not in it is refused,
// what is in it is honoured or says in its text that it has no effect on one
// node. Those of topics, and their defaults on the broker, can be changed while
// it runs; a change holds, and is durable, when it is acknowledged.
//
// What a client can make the broker hold is bounded: the bytes of all requests
// (RequestMemory), a frame (RequestMaxBytes), the elements of a request's
// arrays, fetch sessions and their partitions, connections and partitions. An
// answer to a fetch is at most FetchMaxBytes long and stays on the disk until it
// goes out, so that it takes no more memory than 128 KiB and what describes its
// partitions. A client that is slow or stuck holds up itself alone, and for
// RequestTimeout at most.
//
// # Files
//
//	DIR/lock                    held while a broker is open
//	DIR/metadata                cluster id, topics, configs, producer ids, see
//	                            docs/format/metadata.md
//	DIR/topics/ID/PARTITION/    a log, see docs/format/segment.md; ID in hex
package broker
