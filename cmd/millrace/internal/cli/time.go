// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strconv"
	"time"
)

// ParseTime reads a moment: ms since the Unix epoch, RFC 3339, the same without
// a zone (local time) or without a time of day, or a negative duration before
// now ("-90m").
func ParseTime(s string, now time.Time) (time.Time, error) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil && ms >= 0 {
		return time.UnixMilli(ms), nil
	}
	if d, err := time.ParseDuration(s); err == nil && d <= 0 {
		return now.Add(d), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05.999", "2006-01-02T15:04", "2006-01-02 15:04:05.999", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, Usagef("%q is no time: want ms since the epoch, 2006-01-02T15:04:05Z, 2006-01-02, or -90m", s)
}
