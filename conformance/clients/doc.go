// SPDX-License-Identifier: Apache-2.0

// Package clients has the programs that people use with Apache Kafka do the
// same things on the bundled broker and on Apache Kafka, and compares what each
// of them saw. It has tests only; "make test-clients" runs them all.
//
// A program is a set of scenarios, written with one client: franz-go, sarama
// and kafka-go in this package, librdkafka's kcat and Apache Kafka's own tools
// driven from it, those in Python and JavaScript in the folders python and
// node. It is given the address of a broker without topics, and what it sees
// becomes outcomes: JSON objects of a scenario, a step, and what was got, free
// of ids and times that differ from run to run. Programs that do the same thing
// name the step alike. What a client can't do its program lacks; what comes next
// to it has another name: kcat and kafka-go can't pause a partition, and are left
// "unread" in its place.
//
// The outcomes of both brokers must be equal, and equal to those that
// testdata/outcomes.jsonl holds for the program, which Apache Kafka has given
// ("go test ./clients -rewrite" records them anew). The file has one line a
// step and outcome, with the programs that got it: where two programs differ,
// two lines show it.
//
// Programs that can't be had (no interpreter, a registry that does not answer)
// are skipped with a line that says what to install.
package clients
