// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/millrace/millrace/state"
)

var sample = state.Header{
	Cluster: "c-1", ChangelogID: [16]byte{0xaa, 15: 0xbb}, Changelog: "app-s-changelog", Partition: 7,
	Position: 1 << 40, LeaderEpoch: state.NoEpoch, AppliedAt: 1_700_000_000_000,
	Kind: "keyvalue", Serdes: "string,int64", Format: 1,
}

// TestHeaderBytes pins the bytes: they lie on disks.
func TestHeaderBytes(t *testing.T) {
	const want = "01" + "aa0000000000000000000000000000bb" + "00000007" + "0000010000000000" + "ffffffff" +
		"0000018bcfe56800" + "00000001" + "0003632d31" + "000f6170702d732d6368616e67656c6f67" +
		"00086b657976616c7565" + "000c737472696e672c696e743634"
	got := hex.EncodeToString(sample.Append(nil))
	if got[:len(got)-8] != want {
		t.Errorf("Append = %s\nwant     %s and a checksum", got, want)
	}
	h, err := state.ParseHeader(sample.Append([]byte("before"))[6:])
	if err != nil || h != sample {
		t.Errorf("ParseHeader = %+v, %v", h, err)
	}
}

func TestHeaderDamage(t *testing.T) {
	good := sample.Append(nil)
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x10
		if _, err := state.ParseHeader(bad); !errors.Is(err, state.ErrDamaged) {
			t.Errorf("byte %d changed: %v, want ErrDamaged", i, err)
		}
		if _, err := state.ParseHeader(good[:i]); !errors.Is(err, state.ErrDamaged) {
			t.Errorf("cut to %d bytes: %v, want ErrDamaged", i, err)
		}
	}
	if _, err := state.ParseHeader(append(good, 0)); !errors.Is(err, state.ErrDamaged) {
		t.Errorf("one byte more: %v, want ErrDamaged", err)
	}
}

func TestHeaderLongNames(t *testing.T) {
	h := state.Header{Cluster: strings.Repeat("x", math.MaxUint16+10)}
	got, err := state.ParseHeader(h.Append(nil))
	if err != nil || len(got.Cluster) != math.MaxUint16 {
		t.Errorf("cluster of %d bytes, %v", len(got.Cluster), err)
	}
}

func TestHeaderDiffers(t *testing.T) {
	for _, c := range []struct {
		word   string
		change func(h *state.Header)
	}{
		{"cluster", func(h *state.Header) { h.Cluster = "c-2" }},
		{"changelog is", func(h *state.Header) { h.Changelog = "other" }},
		{"topic id", func(h *state.Header) { h.ChangelogID[3] = 1 }},
		{"partition", func(h *state.Header) { h.Partition = 1 }},
		{"kind", func(h *state.Header) { h.Kind = "window" }},
		{"serdes", func(h *state.Header) { h.Serdes = "string,string" }},
		{"format", func(h *state.Header) { h.Format = 2 }},
	} {
		want := sample
		c.change(&want)
		if got := sample.Differs(want); !strings.Contains(got, c.word) {
			t.Errorf("Differs = %q, want something with %q", got, c.word)
		}
	}
	later := sample
	later.Position, later.LeaderEpoch, later.AppliedAt = 1, 2, 3
	if got := sample.Differs(later); got != "" {
		t.Errorf("a header of another moment differs: %s", got)
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(sample.Append(nil))
	f.Add(state.Header{}.Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, src []byte) {
		h, err := state.ParseHeader(src)
		if err != nil {
			return
		}
		if again := h.Append(nil); string(again) != string(src) {
			t.Fatalf("accepted bytes do not survive a round trip:\n% x\n% x", src, again)
		}
	})
}
