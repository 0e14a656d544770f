// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
)

// What the scenarios of all programs have in common; the external programs
// have the same values in their own language.
const (
	baseTime   = int64(1_700_000_000_000) // ms since the Unix epoch, of the first record with a time
	codecCount = 20                       // records a codec
	groupParts = 4                        // partitions of a group's topic
	groupEach  = 10                       // records in each of them
	idempotent = 200                      // records of the idempotent producer
	// 2 MB: more than one fetch brings, and than what lies between may hold.
	unreadCount = 64
	// A record without a key in a batch of its own takes 72 bytes more than its
	// value: this one is max.message.bytes long, 1048588.
	largestValue = 1_048_588 - 72
)

// keepAll are the configs of a topic whose old timestamps must not matter.
var keepAll = map[string]string{"retention.ms": "-1"}

// A record is one as outcomes show it. A nil Key or Value is a null.
type record struct {
	Offset  int64       `json:"offset"`
	Time    int64       `json:"time"` // ms after baseTime
	Key     *string     `json:"key"`
	Value   *string     `json:"value"`
	Headers [][]*string `json:"headers"` // pairs of name and value
}

func text(b []byte) *string {
	if b == nil {
		return nil
	}
	return new(string(b))
}

// recordsToSend are those of the scenario "records"; their times are 0, 1, ...
// ms after baseTime.
func recordsToSend() []record {
	pair := func(name string, value *string) []*string { return []*string{&name, value} }
	return []record{
		{Key: new("k"), Value: new("v")},
		{Key: nil, Value: new("no key")},
		{Key: new("no value"), Value: nil},
		{Key: new(""), Value: new("")},
		{Key: new("h"), Value: new("headers"), Headers: [][]*string{
			pair("a", new("1")), pair("a", new("2")), pair("empty", new("")), pair("null", nil),
		}},
	}
}

func bytesOf(s *string) []byte {
	if s == nil {
		return nil
	}
	return append([]byte{}, *s...)
}

func codecValue(codec string, i int) string {
	return fmt.Sprintf("%s %d %s", codec, i, strings.Repeat("abc", 100))
}

// unreadValues are those of the scenario "unread".
func unreadValues() []string {
	var all []string
	for i := range unreadCount {
		all = append(all, fmt.Sprintf("%02d %s", i, strings.Repeat("x", 32<<10)))
	}
	return all
}

// groupValues are all values of a group's topic, in order.
func groupValues() []string {
	var all []string
	for p := range groupParts {
		for i := range groupEach {
			all = append(all, groupValue(p, i))
		}
	}
	return all
}

func groupValue(p, i int) string { return fmt.Sprintf("p%d-%02d", p, i) }

// code is the Kafka error code in err, 0 for none, or else its text.
func code(err error) any {
	if err == nil {
		return 0
	}
	if ke, ok := errors.AsType[*kerr.Error](err); ok {
		return ke.Code
	}
	if se, ok := errors.AsType[sarama.KError](err); ok {
		return int16(se)
	}
	if te, ok := errors.AsType[*sarama.TopicError](err); ok {
		return int16(te.Err)
	}
	if ge, ok := errors.AsType[kafka.Error](err); ok {
		return int(ge)
	}
	return err.Error()
}

// until asks every 20 ms until ok holds, for at most three minutes.
func until(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
	return nil
}

// settle asks until ok holds, for at most a minute: what Apache Kafka's controller
// has done its broker shows a little later. What is then there is the outcome.
func settle(ctx context.Context, ok func() bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_ = until(ctx, "the change", ok)
}

// sizes are how many partitions each member has, smallest first.
func sizes(members ...[]int32) []int {
	all := []int{}
	for _, m := range members {
		all = append(all, len(m))
	}
	slices.Sort(all)
	return all
}

// byPartition are numbers as JSON shows them, by partition.
func byPartition(m map[int32]int64) map[string]int64 {
	all := make(map[string]int64)
	for p, n := range m {
		all[strconv.Itoa(int(p))] = n
	}
	return all
}
