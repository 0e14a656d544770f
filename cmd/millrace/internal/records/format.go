// SPDX-License-Identifier: Apache-2.0

package records

import (
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// A format prints records as a string says, in the manner of kcat's -f.
type format struct {
	parts []func(dst []byte, r *kgo.Record) []byte
	null  string // for keys and values that are null
}

// formatHelp is for the command's help.
const formatHelp = `Format:
  %k %v %s   key, value, value again as kcat has it
  %K %V %S   their lengths in bytes, -1 for null
  %t %p %o   topic, partition, offset
  %T         timestamp, ms since the epoch
  %h         headers as name=value,name=value
  %%         a percent sign
  \n \r \t \0 \\ \xHH   characters`

// parseFormat compiles s.
func parseFormat(s, null string) (*format, error) {
	f := &format{null: null}
	var text []byte
	flush := func() {
		if len(text) > 0 {
			lit := string(text)
			f.parts = append(f.parts, func(dst []byte, _ *kgo.Record) []byte { return append(dst, lit...) })
			text = text[:0]
		}
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			c, n, err := unescape(s[i+1:])
			if err != nil {
				return nil, err
			}
			text = append(text, c)
			i += n
		case s[i] == '%' && i+1 < len(s) && s[i+1] == '%':
			text = append(text, '%')
			i++
		case s[i] == '%' && i+1 < len(s):
			field := f.field(s[i+1])
			if field == nil {
				return nil, cli.Usagef("format %q: %%%c is unknown", s, s[i+1])
			}
			flush()
			f.parts = append(f.parts, field)
			i++
		default:
			text = append(text, s[i])
		}
	}
	flush()
	return f, nil
}

// unescape reads what follows a backslash: a character, and how long it was.
func unescape(s string) (c byte, n int, err error) {
	if i := strings.IndexByte("nrt0\\", s[0]); i >= 0 {
		return "\n\r\t\x00\\"[i], 1, nil
	}
	if s[0] == 'x' && len(s) >= 3 {
		if v, err := strconv.ParseUint(s[1:3], 16, 8); err == nil {
			return byte(v), 3, nil
		}
	}
	return 0, 0, cli.Usagef(`\%c: want \n, \r, \t, \0, \\ or \xHH`, s[0])
}

// unescapeAll is a string with such escapes read.
func unescapeAll(s string) (string, error) {
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		c, n, err := unescape(s[i+1:])
		if err != nil {
			return "", err
		}
		b = append(b, c)
		i += n
	}
	return string(b), nil
}

// field is what a letter stands for, nil for nothing.
func (f *format) field(letter byte) func([]byte, *kgo.Record) []byte {
	number := func(of func(*kgo.Record) int64) func([]byte, *kgo.Record) []byte {
		return func(dst []byte, r *kgo.Record) []byte { return strconv.AppendInt(dst, of(r), 10) }
	}
	switch letter {
	case 'k':
		return func(dst []byte, r *kgo.Record) []byte { return f.bytes(dst, r.Key) }
	case 'v', 's':
		return func(dst []byte, r *kgo.Record) []byte { return f.bytes(dst, r.Value) }
	case 'K':
		return number(func(r *kgo.Record) int64 { return length(r.Key) })
	case 'V', 'S':
		return number(func(r *kgo.Record) int64 { return length(r.Value) })
	case 't':
		return func(dst []byte, r *kgo.Record) []byte { return append(dst, r.Topic...) }
	case 'p':
		return number(func(r *kgo.Record) int64 { return int64(r.Partition) })
	case 'o':
		return number(func(r *kgo.Record) int64 { return r.Offset })
	case 'T':
		return number(func(r *kgo.Record) int64 { return r.Timestamp.UnixMilli() })
	case 'h':
		return f.headers
	}
	return nil
}

func (f *format) bytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, f.null...)
	}
	return append(dst, b...)
}

func (f *format) headers(dst []byte, r *kgo.Record) []byte {
	for i, h := range r.Headers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, h.Key...), '=')
		dst = f.bytes(dst, h.Value)
	}
	return dst
}

func length(b []byte) int64 {
	if b == nil {
		return -1
	}
	return int64(len(b))
}

// appendTo appends r as the format has it.
func (f *format) appendTo(dst []byte, r *kgo.Record) []byte {
	for _, part := range f.parts {
		dst = part(dst, r)
	}
	return dst
}
