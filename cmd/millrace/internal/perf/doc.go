// SPDX-License-Identifier: Apache-2.0

// Package perf measures what a cluster does: how fast it takes records and gives
// them back, and how long a record needs. Loads with a rate are open loops: each
// record has a time at which it is meant to be sent, and its latency counts from
// there, so that a broker that stalls can't hide it by slowing the load down.
package perf
