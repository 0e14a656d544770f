// SPDX-License-Identifier: Apache-2.0

package processor

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
)

// An App is a running instance of a topology: a member of the group that is
// called as the application, working on the tasks that the group gives it. Its
// methods may be called concurrently.
type App struct {
	id  string // of the application
	app *runtime.App
}

// Start runs t and returns at once: brokers that are away are waited for. The end
// of ctx closes the App, within 30 seconds. What is wrong with the topology or
// the configuration, and a folder of Stores in use by another process
// ([ErrInUse]), is answered here; what fails later ends the App: see Err.
func Start(ctx context.Context, t *Topology, cfg Config) (*App, error) {
	p, err := t.graph.Build()
	if err != nil {
		return nil, fmt.Errorf("topology %s:\n%w", t.ApplicationID(), err)
	}
	app, err := runtime.Start(ctx, p, cfg.runtime())
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", t.ApplicationID(), err)
	}
	return &App{t.ApplicationID(), app}, nil
}

// Close commits what is processed, hands the tasks back, leaves the group unless
// Config.StayOnClose is set, and waits for the end. When ctx ends before, the
// rest is dropped and processed again by whoever takes the tasks over. A second
// call waits as well.
func (a *App) Close(ctx context.Context) error { return a.app.Close(ctx) }

// Done is closed when the App is closed or has failed, and holds nothing any more.
func (a *App) Done() <-chan struct{} { return a.app.Done() }

// Err is what the App failed with, nil while it runs and after a Close. A failure
// at a record is a [*RecordError].
func (a *App) Err() error { return a.app.Err() }

// State is what the App is doing.
func (a *App) State() State { return a.app.State() }

// Progress is how far the App is, at this moment.
func (a *App) Progress() Progress { return a.app.Progress() }

// Hosts says which instance runs which tasks, as the leader of the group told it with the
// last assignment; instances with neither a Config.Address nor a fixed id are left out.
// There are none before the first assignment. The caller owns what he gets.
func (a *App) Hosts() []Host {
	var hosts []Host
	for _, known := range a.app.Hosts() {
		h := Host{Instance: known.Instance, Address: known.Address}
		for _, id := range known.Active {
			h.Tasks = append(h.Tasks, TaskID(id))
		}
		hosts = append(hosts, h)
	}
	return hosts
}

// A Host is an instance as all instances know it.
type Host struct {
	Instance string // Config.InstanceID, or the id that its folder keeps; "" if it has none
	Address  string // Config.Address
	Tasks    []TaskID
}

// A TaskID names a task: the sub-topology, by the topic of its first source, and the
// partition of its inputs.
type TaskID = runtime.TaskID

// ErrFenced says that another instance has taken this one's place in the group, under the
// same Config.InstanceID.
var ErrFenced = link.ErrFenced

// ErrInUse says that another process works in the same folder of stores.
var ErrInUse = runtime.ErrInUse

// ErrNotCommitted says that a source that begins only where its group has committed
// has found no committed offset.
var ErrNotCommitted = runtime.ErrNotCommitted

// ErrTopicDeleted says that a topic that the application reads by its name was deleted
// while it ran. A topic that matches a pattern may be: the rest goes on.
var ErrTopicDeleted = runtime.ErrTopicDeleted

// A RecordError says at which record, by topic, partition and offset, and in which
// step the processing ended.
type RecordError = runtime.RecordError

// A StoreChangedError says that a store in the topology has another kind or other
// encodings than the one that was written: which store, why, and what can be done.
type StoreChangedError = runtime.StoreChangedError

// A PanicError is a panic of a function of the program, in a [RecordError].
type PanicError = runtime.PanicError

// A Stage is what was being done with a record when it failed.
type Stage = plan.Stage

// The stages of a record.
const (
	Decoding   = plan.Decoding
	Processing = plan.Processing
	Producing  = plan.Producing
)

// A State is what an App is doing.
type State = runtime.State

// The states of an App. Restoring stores is part of Rebalancing.
const (
	Created          = runtime.Created
	WaitingForBroker = runtime.WaitingForBroker
	Rebalancing      = runtime.Rebalancing
	Running          = runtime.Running
	Closing          = runtime.Closing
	Closed           = runtime.Closed
	Failed           = runtime.Failed
)

// Progress is how far an App is: its state, its tasks, their inputs and restores.
type Progress = runtime.Progress

// TaskProgress is how far a task is.
type TaskProgress = runtime.TaskProgress

// A Drop says where records were dropped, and for which reason.
type Drop = runtime.Drop

// MemoryUse is what an App takes of its Config.MemoryLimit.
type MemoryUse = runtime.MemoryUse

// InputProgress is how far an input of a task is.
type InputProgress = runtime.InputProgress

// ClientOptions are the options of a franz-go client for the cluster of cfg, with
// the same way to it, the same security and the options of cfg.Client.
func ClientOptions(cfg Config) []kgo.Opt { return cfg.link().ClientOptions() }

func (c Config) link() link.Config {
	return link.Config{
		Brokers: c.Brokers, ClientID: c.ClientID, TLS: c.TLS, SASL: link.SASL(c.SASL),
		Dialer: c.Dial, Log: c.Logger, Extra: c.Client, MaxRecordBytes: c.MaxRecordBytes,
	}
}

func (c Config) runtime() runtime.Config {
	lc := c.link()
	all, partition := runtime.FetchBytes(c.MemoryLimit)
	lc.Extra = append([]kgo.Opt{kgo.FetchMaxBytes(all), kgo.FetchMaxPartitionBytes(partition)}, lc.Extra...)
	return runtime.Config{
		Link: lc, Stores: c.Stores, Workers: c.Workers,
		CommitInterval: c.CommitInterval, OpenBytes: c.OpenBytes, MemoryLimit: c.MemoryLimit, Replication: c.ReplicationFactor,
		SessionTimeout: c.SessionTimeout, Instance: c.InstanceID, Stay: c.StayOnClose, Address: c.Address, TopicsInterval: c.TopicsInterval,
		MaxTaskIdle: c.MaxTaskIdle, SourceIdleness: c.SourceIdleness, EmitInterval: c.EmitInterval, Policies: c.Policies(),
		OnFailure: c.OnFailure, OnStoreChange: c.OnStoreChange,
		Listener: c.Listener, Log: c.Logger,
	}
}
