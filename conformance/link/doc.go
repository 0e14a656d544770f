// SPDX-License-Identifier: Apache-2.0

// Package link runs the engine's link to Kafka against clusters of several brokers
// that exist in memory alone: leaders move, and brokers answer with errors at will.
package link
