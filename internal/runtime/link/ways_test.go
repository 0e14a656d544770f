// SPDX-License-Identifier: Apache-2.0

package link

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type told struct{}

func (told) OnProduceBatchWritten(kgo.BrokerMetadata, string, int32, kgo.ProduceBatchMetrics) {}

func (told) OnFetchBatchRead(kgo.BrokerMetadata, string, int32, kgo.FetchBatchMetrics) {}

// Options that only the client's own way follows make the link go that way.
func TestOptionsOfTheClientKeepTheirMeaning(t *testing.T) {
	tests := map[string]struct {
		cfg         Config
		send, fetch bool // in batches
	}{
		"none":        {Config{}, true, true},
		"compression": {Config{Extra: []kgo.Opt{kgo.ProducerBatchCompression(kgo.Lz4Compression())}}, true, true},
		"hooks":       {Config{Extra: []kgo.Opt{kgo.WithHooks(told{})}}, false, false},
		"rack":        {Config{Extra: []kgo.Opt{kgo.Rack("r")}}, true, false},
		"acks":        {Config{Extra: []kgo.Opt{kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite()}}, false, true},
		"partitioner": {Config{Extra: []kgo.Opt{kgo.RecordPartitioner(kgo.RoundRobinPartitioner())}}, false, true},
		"delivery":    {Config{Extra: []kgo.Opt{kgo.RecordDeliveryTimeout(time.Minute)}}, false, true},
		"by record":   {Config{ByRecord: true}, false, false},
	}
	t.Setenv(Env, "")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.cfg.Brokers, tt.cfg.Group = []string{"127.0.0.1:1"}, "g"
			k, err := Open(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			_, fetch := k.intake(&MemberConfig{}).(*fetcher)
			if k.batches != tt.send || fetch != tt.fetch {
				t.Errorf("batches are sent: %v, fetched: %v; want %v, %v", k.batches, fetch, tt.send, tt.fetch)
			}
		})
	}
}
