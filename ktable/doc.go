// SPDX-License-Identifier: Apache-2.0

// Package ktable is the DSL of tables: a [KTable] holds the latest value of each
// key, kept in a named store with a changelog topic, and sends its changes on.
// Here are also the operators that make tables of grouped streams; programs
// reach them through the methods of package kstream.
//
// The semantics are those of the operations of the same name in Kafka Streams.
package ktable
