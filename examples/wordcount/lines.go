// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"io"
)

// maxLine is the longest piece, in bytes, that is sent as one line.
const maxLine = 256 << 10

// eachLine calls f with each line of r, without its end, and the number of bytes
// read up to and with that end. line is valid during the call. A line longer
// than maxLine is cut where a word ends.
func eachLine(r io.Reader, f func(line []byte, end int64) error) error {
	var end int64
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, maxLine), maxLine)
	sc.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		n, line := nextLine(data, atEOF)
		end += int64(n)
		return n, line, nil
	})
	for sc.Scan() {
		if err := f(sc.Bytes(), end); err != nil {
			return err
		}
	}
	return sc.Err()
}

// nextLine finds the first line of data: how many bytes it takes with its end,
// and the line. Zero asks for more data.
func nextLine(data []byte, atEOF bool) (int, []byte) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, bytes.TrimSuffix(data[:i:i], []byte{'\r'})
	}
	if len(data) < maxLine && !atEOF || len(data) == 0 {
		return 0, nil
	}
	n := len(data)
	if !atEOF {
		for n > 1 && letter(data[n-1]) {
			n--
		}
		if n == 1 {
			n = len(data) // one word as long as that is cut
		}
	}
	return n, data[:n:n]
}
