// SPDX-License-Identifier: Apache-2.0

// Package window defines windows: how records are gathered in time, when a
// window is complete and when its result is sent on. It is arithmetic on
// timestamps in ms since the Unix epoch; the operators that use it are in package
// kstream.
//
// Time is event time. The stream time that an operator has observed is the highest
// timestamp of the records that reached it; a window closes when that passes its
// end by the grace period, and records that come later are dropped and counted.
package window
