// SPDX-License-Identifier: Apache-2.0

// Package metrics has what a broker counts while it works: atomic counters and
// histograms that cost a few nanoseconds a request or a batch, nothing a record,
// and allocate nothing after the topic or the request key was set up. A scrape
// reads them as Prometheus metrics; nothing is written for a scrape's sake.
//
// The names, units and labels that a user sees are in docs/guide/metrics.md,
// and package broker, which knows the gauges, puts them together.
package metrics
