// SPDX-License-Identifier: Apache-2.0

package records

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A jsonRecord is a record as consume --json prints it, one a line, and as
// produce --input json reads it. What is no UTF-8 is in the fields that end
// with Base64.
type jsonRecord struct {
	Topic       string       `json:"topic,omitempty"`
	Partition   *int32       `json:"partition,omitempty"`
	Offset      *int64       `json:"offset,omitempty"`
	Timestamp   *int64       `json:"timestamp,omitempty"` // ms
	Key         *string      `json:"key"`
	KeyBase64   []byte       `json:"key_base64,omitempty"`
	Value       *string      `json:"value"`
	ValueBase64 []byte       `json:"value_base64,omitempty"`
	Headers     []jsonHeader `json:"headers,omitempty"`
}

type jsonHeader struct {
	Name        string  `json:"name"`
	Value       *string `json:"value"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

// split says how bytes are shown: as text, as base64, or not at all.
func split(b []byte) (text *string, raw []byte) {
	switch {
	case b == nil:
		return nil, nil
	case utf8.Valid(b):
		s := string(b)
		return &s, nil
	default:
		return nil, b
	}
}

// join undoes split.
func join(text *string, raw []byte) []byte {
	if text != nil {
		return append([]byte{}, *text...)
	}
	return raw
}

// appendJSON appends a line.
func appendJSON(dst []byte, r *kgo.Record) []byte {
	ms := r.Timestamp.UnixMilli()
	j := jsonRecord{Topic: r.Topic, Partition: &r.Partition, Offset: &r.Offset, Timestamp: &ms}
	j.Key, j.KeyBase64 = split(r.Key)
	j.Value, j.ValueBase64 = split(r.Value)
	for _, h := range r.Headers {
		jh := jsonHeader{Name: h.Key}
		jh.Value, jh.ValueBase64 = split(h.Value)
		j.Headers = append(j.Headers, jh)
	}
	line, err := json.Marshal(&j)
	if err != nil { // it has strings, numbers and bytes
		panic(err)
	}
	return append(append(dst, line...), '\n')
}

// parseJSON reads a line. The offset in it, if any, and the topic don't matter:
// the record goes to a new place.
func parseJSON(line []byte) (*kgo.Record, error) {
	var j jsonRecord
	if err := json.Unmarshal(line, &j); err != nil {
		return nil, fmt.Errorf("no record: %w", err)
	}
	if j.Key != nil && j.KeyBase64 != nil || j.Value != nil && j.ValueBase64 != nil {
		return nil, errors.New("no record: a field is there twice, as text and as base64")
	}
	r := &kgo.Record{Key: join(j.Key, j.KeyBase64), Value: join(j.Value, j.ValueBase64), Partition: -1}
	if j.Partition != nil {
		r.Partition = *j.Partition
	}
	if j.Timestamp != nil {
		r.Timestamp = time.UnixMilli(*j.Timestamp)
	}
	for _, h := range j.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Name, Value: join(h.Value, h.ValueBase64)})
	}
	return r, nil
}
