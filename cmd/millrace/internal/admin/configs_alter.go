// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// alterFlags are those of "configs alter".
type alterFlags struct {
	set, remove, add, subtract []string
	validateOnly               bool
}

// An alterResult is what became of one thing.
type alterResult struct {
	Type  string `json:"type"`
	Name  string `json:"name"`
	Error string `json:"error,omitempty"`
}

func newConfigsAlter(f *cli.Flags) *cobra.Command {
	var a alterFlags
	cmd := &cobra.Command{
		Use: "alter {topic|broker|...} NAME...", Short: "Set and unset configuration keys; others stay", Args: cli.Args(cobra.MinimumNArgs(2)),
		Example: "  millrace configs alter topic orders --set retention.ms=3600000 --delete segment.ms --append cleanup.policy=compact",
		RunE: func(cmd *cobra.Command, args []string) error {
			typ, err := resourceType(args[0])
			if err != nil {
				return err
			}
			changes, err := a.changes()
			if err != nil {
				return err
			}
			return f.Admin(cmd.Context(), func(ctx context.Context, _ *kadm.Client, cl *kgo.Client) error {
				return alterConfigs(ctx, f, cl, typ, args, changes, a.validateOnly, cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: completeResources(f),
	}
	p := cmd.Flags()
	p.StringArrayVar(&a.set, "set", nil, "`key=value` to set; may be repeated")
	p.StringArrayVar(&a.remove, "delete", nil, "`key` that gets its default back; may be repeated")
	p.StringArrayVar(&a.add, "append", nil, "`key=value` to add to a list; may be repeated")
	p.StringArrayVar(&a.subtract, "subtract", nil, "`key=value` to take out of a list; may be repeated")
	p.BoolVar(&a.validateOnly, "validate-only", false, "only ask whether it could be done")
	return cmd
}

type alteration = kmsg.IncrementalAlterConfigsRequestResourceConfig

// changes are the flags as the protocol has them.
func (a *alterFlags) changes() ([]alteration, error) {
	var all []alteration
	for _, k := range a.remove {
		if k == "" || strings.Contains(k, "=") {
			return nil, cli.Usagef("--delete %q: want a key", k)
		}
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op = k, kmsg.IncrementalAlterConfigOpDelete
		all = append(all, c)
	}
	for _, with := range []struct {
		flag  string
		pairs []string
		op    kmsg.IncrementalAlterConfigOp
	}{
		{"--set", a.set, kmsg.IncrementalAlterConfigOpSet},
		{"--append", a.add, kmsg.IncrementalAlterConfigOpAppend},
		{"--subtract", a.subtract, kmsg.IncrementalAlterConfigOpSubtract},
	} {
		pairs, err := splitConfigs(with.flag, with.pairs)
		if err != nil {
			return nil, err
		}
		for _, k := range sortedKeys(pairs) {
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Name, c.Value, c.Op = k, pairs[k], with.op
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil, cli.Usagef("nothing to alter: want --set, --delete, --append or --subtract")
	}
	return all, nil
}

// alterConfigs changes what args name: a type and names.
func alterConfigs(
	ctx context.Context, f *cli.Flags, cl *kgo.Client, typ kmsg.ConfigResourceType, args []string, changes []alteration, validateOnly bool, w io.Writer,
) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = validateOnly
	for _, name := range args[1:] {
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.Configs = typ, name, changes
		req.Resources = append(req.Resources, r)
	}
	all := []alterResult{}
	var failures cli.Failures
	for _, shard := range cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			failures.Add("alter", shard.Err)
			continue
		}
		for _, r := range shard.Resp.(*kmsg.IncrementalAlterConfigsResponse).Resources {
			err := cli.Explain(kerr.ErrorForCode(r.ErrorCode), deref(r.ErrorMessage))
			failures.Add(args[0]+" "+r.ResourceName, err)
			all = append(all, alterResult{args[0], r.ResourceName, errorText(err)})
		}
	}
	did := "altered"
	if validateOnly {
		did = "could alter"
	}
	err := f.Print(w, all, func(w io.Writer) error {
		for _, r := range all {
			if r.Error == "" {
				fmt.Fprintf(w, "%s %s %s\n", did, r.Type, cli.Clean(r.Name))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return failures.Err()
}
