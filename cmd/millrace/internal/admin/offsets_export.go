// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// A committedOffset is a line of "offsets export".
type committedOffset struct {
	topicPartition
	Offset int64 `json:"offset"`
}

func newOffsetsExport(f *cli.Flags) *cobra.Command {
	return &cobra.Command{
		Use: "export GROUP", Short: "Print the committed offsets of a group as topic,partition,offset", Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.Admin(cmd.Context(), func(ctx context.Context, adm *kadm.Client, _ *kgo.Client) error {
				return exportOffsets(ctx, f, adm, args[0], cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: cli.First(f.Groups()),
	}
}

func exportOffsets(ctx context.Context, f *cli.Flags, adm *kadm.Client, group string, w io.Writer) error {
	committed, err := adm.FetchOffsets(ctx, group)
	if err != nil {
		return fmt.Errorf("committed offsets: %w", err)
	}
	all := []committedOffset{}
	for _, o := range committed.Sorted() {
		all = append(all, committedOffset{topicPartition{o.Topic, o.Partition}, o.At})
	}
	return f.Print(w, all, func(w io.Writer) error {
		rows := csv.NewWriter(w)
		for _, o := range all {
			_ = rows.Write([]string{o.Topic, strconv.Itoa(int(o.Partition)), strconv.FormatInt(o.Offset, 10)})
		}
		rows.Flush()
		return rows.Error()
	})
}
