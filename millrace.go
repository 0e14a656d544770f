// SPDX-License-Identifier: Apache-2.0

// Package millrace runs a topology with all that it needs around it: the bundled
// broker in the same process, or a Kafka cluster elsewhere; stores in a folder;
// the topics. [Main] is a whole program, [Run] is for one with flags of its own,
// [Start] for one that does other work beside.
package millrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/pebble"
	"github.com/millrace/millrace/state/rocksdb"
)

// Config says where a topology runs. The zero value of a field means the
// default in its comment.
type Config struct {
	// Brokers are addresses, host:port, of a Kafka cluster. Without any the
	// bundled broker runs in this process.
	Brokers []string
	// Data is the folder of all that lasts: the bundled broker's logs in
	// <Data>/broker, the stores in <Data>/state. It belongs to one process at a
	// time. "": everything is kept in memory and gone at the end.
	Data string
	// Listen is the address, host:port, at which other programs reach the bundled
	// broker. "": none do, this process alone uses it.
	Listen string
	// Partitions is the number of partitions of the topology's own topics where
	// they do not exist and are made: 4 on the bundled broker. On other brokers
	// they are made only if this is set.
	Partitions int32
	// Engine is the rest. Brokers, Dial and, if nil, Stores are filled in.
	Engine processor.Config
}

// An Instance is a running topology with its surroundings.
type Instance struct {
	App    *processor.App
	broker *broker.Broker // nil if it runs on other brokers
	stores state.Backend  // nil if the caller brought his own
	client []kgo.Opt
	log    *slog.Logger
}

// Start starts what cfg asks for, makes missing topics and runs t. It waits for
// brokers elsewhere as long as ctx allows. An error leaves nothing running.
func Start(ctx context.Context, t *processor.Topology, cfg Config) (*Instance, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	i := &Instance{}
	if err := i.start(ctx, t, cfg); err != nil {
		return nil, errors.Join(err, i.Close(ctx))
	}
	return i, nil
}

func (i *Instance) start(ctx context.Context, t *processor.Topology, cfg Config) error {
	engine := cfg.Engine
	engine.Brokers = cfg.Brokers
	if engine.Logger == nil {
		engine.Logger = slog.Default()
	}
	i.log = engine.Logger
	if len(cfg.Brokers) == 0 {
		if err := i.startBroker(ctx, cfg, engine.Logger); err != nil {
			return err
		}
		engine.Brokers, engine.Dial = i.broker.Bootstrap(), i.broker.Dial
		if cfg.Partitions == 0 {
			cfg.Partitions = 4
		}
	}
	i.client = processor.ClientOptions(engine)
	if cfg.Partitions > 0 {
		if err := i.createTopics(ctx, t, cfg.Partitions); err != nil {
			return err
		}
	}
	if engine.Stores == nil {
		i.stores = Stores(cfg.Data)
		engine.Stores = i.stores
	}
	app, err := processor.Start(ctx, t, engine)
	i.App = app
	return err
}

func (i *Instance) startBroker(ctx context.Context, cfg Config, log *slog.Logger) error {
	b := broker.Config{Listen: cfg.Listen, Logger: log}
	if cfg.Data != "" {
		b.Dir = filepath.Join(cfg.Data, "broker")
	}
	var err error
	if i.broker, err = broker.Open(ctx, b); err != nil {
		return fmt.Errorf("start the bundled broker: %w", err)
	}
	return nil
}

// Stores is the backend that Start takes: RocksDB under <data>/state where this
// program was built with it, else Pebble; in memory if data is "".
func Stores(data string) state.Backend {
	dir := filepath.Join(data, "state")
	switch {
	case data == "":
		return state.Memory()
	case rocksdb.Built:
		return rocksdb.At(dir)
	default:
		return pebble.At(dir)
	}
}

// createTopics makes those of the topology's own topics that do not exist.
func (i *Instance) createTopics(ctx context.Context, t *processor.Topology, partitions int32) error {
	var names []string
	for _, n := range t.Graph().Nodes {
		if n.Kind != plan.Operator && !n.Internal && n.Topic != "" && !slices.Contains(names, n.Topic) {
			names = append(names, n.Topic)
		}
	}
	return i.CreateTopics(ctx, partitions, names...)
}

// NewClient opens a franz-go client of the brokers that the topology runs on,
// with its security. Its requests wait for brokers that are away for as long as
// their context allows. The caller closes it.
func (i *Instance) NewClient(options ...kgo.Opt) (*kgo.Client, error) {
	client, err := kgo.NewClient(append(slices.Clone(i.client), options...)...)
	if err != nil {
		return nil, fmt.Errorf("open a client: %w", err)
	}
	return client, nil
}

// BrokerAddr is the address at which the bundled broker listens, "" if it does not.
func (i *Instance) BrokerAddr() string {
	if i.broker == nil {
		return ""
	}
	return i.broker.Addr()
}

// Close commits and ends the topology, within the bound of ctx, then the stores
// and the bundled broker. It returns the first failure. A second call does nothing.
func (i *Instance) Close(ctx context.Context) error {
	var errs []error
	if i.App != nil {
		errs = append(errs, i.App.Close(ctx))
	}
	if i.stores != nil {
		errs = append(errs, i.stores.Close())
	}
	if i.broker != nil {
		errs = append(errs, i.broker.Close())
	}
	i.App, i.stores, i.broker = nil, nil, nil
	return errors.Join(errs...)
}
