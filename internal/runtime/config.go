// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	goruntime "runtime"
	"strconv"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/state"
)

// Config is what a run of a plan needs to know. The zero value of a field means
// the default in its comment.
type Config struct {
	// Link says how to reach the brokers. Group, OnAway and Log are set by the App.
	Link link.Config
	// Connect opens the link. link.Open; tests give a cluster in memory.
	Connect func(link.Config) (link.Cluster, error)

	// Stores is where state lies. state.Memory(). The App closes what it opens
	// there, not the backend.
	Stores       state.Backend
	StoreOptions state.Options

	Workers   int // goroutines that run tasks. GOMAXPROCS
	Restorers int // tasks that are restored at a time. GOMAXPROCS, from 2 to 8

	CommitInterval time.Duration // 30s
	OpenBytes      int64         // uncommitted state that brings a commit on, all stores together. 64 MiB
	QueueBytes     int64         // fetched and not processed, for each task, before its inputs are paused. 8 MiB
	// MemoryLimit is the memory, in bytes, that stores, their backend, queues and what is
	// under way to and from the brokers may take all together. A StoreOptions.Budget is
	// used as it is, for the stores' part. DefaultMemoryLimit.
	MemoryLimit   int64
	BaseLagBytes  int64         // committed bytes of a store that are not durable before a flush. 64 MiB
	BaseLagTime   time.Duration // their age before a flush. 30s
	PurgeInterval time.Duration // between deletions of what was read of repartition topics. 30s
	// TopicsInterval is the time between two looks for source topics that are new, have
	// grown or are gone. 10s
	TopicsInterval time.Duration

	Replication      int16         // of internal topics. -1: the broker's default
	SessionTimeout   time.Duration // 45s
	RebalanceTimeout time.Duration // 60s
	Instance         string        // id of this instance in the group, which a restart keeps. That of the data directory
	Stay             bool          // remain a member of the group on Close, for a restart within the session
	Address          string        // host:port at which queries are answered, told to all instances. "": at none
	CloseTimeout     time.Duration // the bound of the close that the end of Start's context brings. 30s

	// MaxTaskIdle is how long a task waits for data of an input that has none, so that
	// the records of its inputs come in the order of time: 0 waits only for data that
	// the broker is known to have, NoTaskIdle for nothing.
	MaxTaskIdle time.Duration
	// SourceIdleness is for how long all inputs of a task must be known to have
	// nothing new for its stream time to go on. 0: it never does without a record.
	SourceIdleness time.Duration

	// EmitInterval is the shortest time between two looks of an operator for results
	// that are due by stream time: of windows on close, of joins. 0: at each record.
	EmitInterval time.Duration

	// Policies are those for records that fail, where a node has none of its own.
	Policies plan.Policies

	// OnStoreChange says what happens at a store whose kind or encodings are others than
	// it was written with. RefuseStore.
	OnStoreChange OnStoreChange

	// OnFailure says what a failure that no policy gets over ends. StopApp.
	OnFailure OnFailure

	// Listener is called with every change of state, in order, on a goroutine of
	// its own.
	Listener func(State)
	Log      *slog.Logger // slog.Default()
}

// OnFailure is what a failure ends that no policy gets over.
type OnFailure int

// What a failure ends.
const (
	// StopApp ends the App with the error.
	StopApp OnFailure = iota
	// RestartTasks ends the tasks of the worker that has failed, and starts them again
	// from the last commit, after a wait that doubles from 1 s up to 30 s as long as
	// failures follow each other.
	RestartTasks
)

// NoTaskIdle is the MaxTaskIdle of tasks that wait for no input.
const NoTaskIdle time.Duration = -1

func (c Config) withDefaults() Config {
	def(&c.Workers, goruntime.GOMAXPROCS(0))
	def(&c.Restorers, min(max(2, goruntime.GOMAXPROCS(0)), 8))
	def(&c.CommitInterval, 30*time.Second)
	def(&c.OpenBytes, 64<<20)
	def(&c.QueueBytes, 8<<20)
	def(&c.MemoryLimit, DefaultMemoryLimit)
	def(&c.BaseLagBytes, 64<<20)
	def(&c.BaseLagTime, 30*time.Second)
	def(&c.PurgeInterval, 30*time.Second)
	def(&c.TopicsInterval, 10*time.Second)
	def(&c.Replication, -1)
	def(&c.SessionTimeout, 45*time.Second)
	def(&c.RebalanceTimeout, time.Minute)
	def(&c.CloseTimeout, 30*time.Second)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Stores == nil {
		c.Stores = state.Memory()
	}
	if c.Connect == nil {
		c.Connect = func(lc link.Config) (link.Cluster, error) {
			k, err := link.Open(lc)
			if err != nil {
				return nil, err
			}
			return k, nil
		}
	}
	return c
}

// maxIdle is MaxTaskIdle in ms.
func (c *Config) maxIdle() int64 {
	if c.MaxTaskIdle < 0 {
		return -1
	}
	return c.MaxTaskIdle.Milliseconds()
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// check returns all that is wrong, after withDefaults.
func (c *Config) check() error {
	var errs []error
	positive := func(name string, v int64) {
		if v < 0 {
			errs = append(errs, fmt.Errorf("%s is negative", name))
		}
	}
	positive("Workers", int64(c.Workers))
	positive("Restorers", int64(c.Restorers))
	positive("CommitInterval", int64(c.CommitInterval))
	positive("OpenBytes", c.OpenBytes)
	positive("QueueBytes", c.QueueBytes)
	positive("MemoryLimit", c.MemoryLimit)
	positive("BaseLagBytes", c.BaseLagBytes)
	positive("BaseLagTime", int64(c.BaseLagTime))
	positive("PurgeInterval", int64(c.PurgeInterval))
	positive("TopicsInterval", int64(c.TopicsInterval))
	positive("SessionTimeout", int64(c.SessionTimeout))
	positive("RebalanceTimeout", int64(c.RebalanceTimeout))
	positive("SourceIdleness", int64(c.SourceIdleness))
	positive("EmitInterval", int64(c.EmitInterval))
	positive("CloseTimeout", int64(c.CloseTimeout))
	positive("Link.MaxRecordBytes", int64(c.Link.MaxRecordBytes))
	if c.Replication < -1 {
		errs = append(errs, fmt.Errorf("Replication is %d", c.Replication))
	}
	if c.Instance != "" && !validID(c.Instance) {
		errs = append(errs, fmt.Errorf("the instance's id %q is not of letters, digits, \".\", \"_\" and \"-\", at most 249", c.Instance))
	}
	if c.Stay && c.Instance == "" && c.Stores.Dir() == "" {
		errs = append(errs, errors.New("Stay needs the instance's id, or stores with a folder where one is kept"))
	}
	if err := checkAddress(c.Address); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// checkAddress holds an address that others are told to be one that they can dial.
func checkAddress(addr string) error {
	if addr == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("the address of this instance: %w", err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return fmt.Errorf("the address of this instance, %q, is not host:port", addr)
	}
	return nil
}
