// SPDX-License-Identifier: Apache-2.0

// Package records has the commands that write and read records: produce, from
// lines or JSON, and consume, in a format that the user gives.
package records
