// SPDX-License-Identifier: Apache-2.0

// Package cli is what the commands of millrace that talk to a Kafka cluster have
// in common: the flags that say which and how, the client made of them, tables
// and JSON, errors with exit codes, completion of names, and progress.
package cli
