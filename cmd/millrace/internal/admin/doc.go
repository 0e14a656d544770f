// SPDX-License-Identifier: Apache-2.0

// Package admin has the commands that look after a cluster: topics, groups,
// offsets, configs and logdirs. They speak Kafka's protocol and work with any
// broker of it. Each prints a table or, with --json, what the table is made of.
package admin
