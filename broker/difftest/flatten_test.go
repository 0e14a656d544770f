// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"fmt"
	"hash/crc32"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/seglog"
)

// flatten writes every field of an answer under its path, with symbols for what
// no two nodes have in common.
func (s *script) flatten(fields map[string]string, resp kmsg.Response) {
	s.walk(fields, "", reflect.ValueOf(resp).Elem())
}

func (s *script) walk(fields map[string]string, path string, v reflect.Value) {
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name == "Version" || name == "UnknownTags" && v.Field(i).IsZero() {
			continue
		}
		at := name
		if path != "" {
			at = path + "." + name
		}
		s.field(fields, at, name, v.Field(i), v)
	}
}

func (s *script) field(fields map[string]string, path, name string, v, parent reflect.Value) {
	switch x := v.Interface().(type) {
	case []byte:
		s.bytes(fields, path, name, x)
		return
	case [16]byte:
		fields[path] = s.topicID(x)
		return
	case *string:
		fields[path] = "null"
		if x != nil {
			fields[path] = s.text(name, *x, parent)
		}
		return
	case string:
		fields[path] = s.text(name, x, parent)
		return
	}
	switch v.Kind() {
	case reflect.Slice:
		s.list(fields, path, name, v)
	case reflect.Pointer:
		fields[path] = "null"
		if !v.IsNil() {
			delete(fields, path)
			s.walk(fields, path, v.Elem())
		}
	case reflect.Struct:
		s.walk(fields, path, v)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		fields[path] = s.number(name, v.Int())
	default:
		fields[path] = fmt.Sprint(v.Interface())
	}
}

// list matches elements by what names them: nodes answer in orders of their own.
func (s *script) list(fields map[string]string, path, name string, v reflect.Value) {
	switch {
	case v.IsNil():
		fields[path] = "null"
	case v.Len() == 0:
		fields[path] = "[]"
	}
	for i := range v.Len() {
		e := v.Index(i)
		id := strconv.Itoa(i)
		if e.Kind() == reflect.Struct && e.Type() != reflect.TypeFor[kmsg.Tags]() {
			id = s.identity(e, id)
		} else if unordered[name] {
			id = fmt.Sprint(e.Interface())
		}
		at := path + "[" + id + "]"
		for n := 2; name != "Topics" || !hasPartitions(e); n++ { // of a topic told twice the partitions are told together
			if _, ok := fields[at]; !ok {
				break
			}
			at = path + "[" + id + "#" + strconv.Itoa(n) + "]"
		}
		if e.Kind() == reflect.Struct {
			fields[at] = "there"
			s.walk(fields, at, e)
		} else {
			s.field(fields, at, name, e, v)
		}
	}
}

func hasPartitions(e reflect.Value) bool {
	return e.Kind() == reflect.Struct && e.FieldByName("Partitions").Kind() == reflect.Slice
}

// unordered are the lists of plain values whose order says nothing.
var unordered = map[string]bool{"SubscribedTopics": true, "Partitions": true}

// identities are the fields that name an element, alone or together.
var identities = []string{
	"ApiKey", "Type", "ResourceType", "ResourceName", "Name", "Topic", "TopicID", "Group", "GroupID", "Partition", "MemberID", "InstanceID", "NodeID", "ProducerID", "Key", "Dir",
}

func (s *script) identity(e reflect.Value, id string) string {
	var parts []string
	for _, name := range identities {
		f := e.FieldByName(name)
		if !f.IsValid() || f.Kind() == reflect.Slice || name == "NodeID" && e.FieldByName("Key").IsValid() {
			continue // which node coordinates is the answer, not what was asked for
		}
		part := map[string]string{}
		s.field(part, "", name, f, e)
		if name == "TopicID" && slices.ContainsFunc(parts, func(p string) bool { return p != `""` }) {
			continue // it has its name
		}
		if p := part[""]; p != "" && p != "null" && p != "<no id>" {
			parts = append(parts, p)
		}
	}
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == `""` && len(parts) > 1 })
	if len(parts) == 0 {
		return id
	}
	return strings.Join(parts, ":")
}

func (s *script) topicID(id [16]byte) string {
	if id == ([16]byte{}) {
		return "<no id>"
	}
	if name, ok := s.topic(id); ok {
		return "<id of " + name + ">"
	}
	return "<id>"
}

// generated is the id that a node makes for a member.
var generated = regexp.MustCompile(`^.*[A-Za-z0-9_-]{22}$|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func (s *script) text(name, x string, parent reflect.Value) string {
	switch name {
	case "ErrorMessage", "ClusterID", "Documentation", "Host":
		if x != "" {
			return "<" + name + ">"
		}
	case "LogDir", "Dir":
		return "<dir>"
	case "Value":
		if strings.HasPrefix(x, "/") || strings.HasPrefix(x, "PLAINTEXT://") {
			return "<place>"
		}
	case "MemberID", "LeaderID":
		return s.symbol("member", x)
	}
	return strconv.Quote(x)
}

// symbol is a name for an id that a node made, by the order of first sight.
func (s *script) symbol(kind, x string) string {
	if sym, ok := s.symbols[kind+x]; ok {
		return sym
	}
	if kind == "member" && !generated.MatchString(x) {
		return strconv.Quote(x)
	}
	n := 1
	for have := range s.symbols {
		if strings.HasPrefix(have, kind) {
			n++
		}
	}
	s.symbols[kind+x] = fmt.Sprintf("<%s %d>", kind, n)
	return s.symbols[kind+x]
}

// today is a time after any that a script writes.
const today = 1_600_000_000_000

func (s *script) number(name string, x int64) string {
	switch {
	case name == "ErrorCode":
		return errorName(int16(x))
	case name == "Port":
		return "<port>"
	case name == "FinalizedFeaturesEpoch" && x >= 0:
		return "<epoch>"
	case (name == "TotalBytes" || name == "UsableBytes") && x > 0:
		return "<bytes>"
	case name == "SessionID" && x != 0:
		return s.symbol("session", fmt.Sprint(x))
	case name == "ProducerID" && x >= 0:
		return s.symbol("producer", fmt.Sprint(x))
	case (strings.Contains(name, "imestamp") || name == "LogAppendTime") && x > today:
		return "<now>"
	}
	return strconv.FormatInt(x, 10)
}

func (s *script) bytes(fields map[string]string, path, name string, x []byte) {
	switch {
	case x == nil:
		fields[path] = "null"
	case name == "RecordBatches" && len(x) > 0:
		s.batches(fields, path, x)
	default:
		fields[path] = strconv.Quote(string(x))
	}
}

// batches shows what a fetch brought, batch by batch.
func (s *script) batches(fields map[string]string, path string, x []byte) {
	for i := 0; len(x) > 0; i++ {
		at := fmt.Sprintf("%s[%d]", path, i)
		h, err := seglog.ParseHeader(x)
		if err != nil || h.Length > len(x) {
			fields[at] = fmt.Sprintf("%d bytes that are no batch", len(x))
			return
		}
		producer := s.number("ProducerID", h.ProducerID)
		fields[at] = fmt.Sprintf("%d to %d, %d records in %d bytes, leader epoch %d, attributes %#x, times %s to %s, producer %s epoch %d sequence %d, sum %08x, body %08x",
			h.BaseOffset, h.LastOffset(), h.Records, h.Length, h.LeaderEpoch, h.Attributes,
			s.number("Timestamp", h.BaseTimestamp), s.number("Timestamp", h.MaxTimestamp),
			producer, h.ProducerEpoch, h.BaseSequence, s.sum(&h), crc32.ChecksumIEEE(x[61:h.Length]))
		x = x[h.Length:]
	}
}

// sum is the sum of a batch, unless it is over what no two nodes have in common.
func (s *script) sum(h *seglog.Header) uint32 {
	if h.MaxTimestamp > today || h.ProducerID >= 0 {
		return 0
	}
	return h.CRC
}
