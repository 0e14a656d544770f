// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"strconv"
	"strings"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
)

// keptInList is how many values listCase keeps of a key.
const keptInList = 4

// listCase keeps the last values of each key in a list store, and sends them on. Each
// seventh value clears its key's list. A value that is read again is known by its number,
// so that lists do not depend on crashes.
func listCase(top *processor.Topology, in *kstream.KStream[string, string]) {
	store := processor.AddStore(top, state.List[string, string]("st"))
	in.ProcessValues("keep", func(pc *processor.Context[string, string], r processor.Record[string, string]) error {
		lists := store.In(pc)
		if err := keepInList(lists, r); err != nil {
			return err
		}
		var all []string
		err := lists.Each(r.Key, func(v string, _ int64) error {
			all = append(all, v)
			return nil
		})
		if err != nil {
			return err
		}
		return pc.Forward(processor.Record[string, string]{Key: r.Key, Value: strings.Join(all, " "), Timestamp: r.Timestamp})
	}, store).To(topic.Of[string, string]("out"))
}

func keepInList(lists *state.ListStore[string, string], r processor.Record[string, string]) error {
	n, err := lists.Len(r.Key)
	if err != nil {
		return err
	}
	last, _, ok, err := lists.At(r.Key, n-1)
	if err != nil || ok && last >= r.Value {
		return err
	}
	number, err := strconv.Atoi(r.Value)
	if err != nil {
		return err
	}
	if number%7 == 0 {
		return lists.Clear(r.Key)
	}
	if err := lists.Append(r.Key, r.Value, r.Timestamp); err != nil {
		return err
	}
	return lists.DropFront(r.Key, max(0, n+1-keptInList))
}
