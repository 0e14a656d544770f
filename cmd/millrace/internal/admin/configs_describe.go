// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// A resourceConfigs is what is configured on one thing.
type resourceConfigs struct {
	Type    string        `json:"type"`
	Name    string        `json:"name"`
	Configs []configEntry `json:"configs"`
}

type configEntry struct {
	Key       string          `json:"key"`
	Value     *string         `json:"value"` // null: not set, or secret
	Type      string          `json:"type"`
	Source    string          `json:"source"`
	ReadOnly  bool            `json:"read_only"`
	Sensitive bool            `json:"sensitive"`
	Synonyms  []configSynonym `json:"synonyms,omitempty"`
	Doc       string          `json:"doc,omitempty"`
}

type configSynonym struct {
	Key    string  `json:"key"`
	Value  *string `json:"value"`
	Source string  `json:"source"`
}

// describeFlags are those of "configs describe".
type describeFlags struct{ all, docs bool }

func newConfigsDescribe(f *cli.Flags) *cobra.Command {
	var d describeFlags
	cmd := &cobra.Command{
		Use: "describe {topic|broker|...} NAME...", Short: "Show what is configured", Args: cli.Args(cobra.MinimumNArgs(2)),
		Long: `Show what is configured on topics, brokers (by node id), groups or others: what differs
from the defaults, or with --all everything.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			typ, err := resourceType(args[0])
			if err != nil {
				return err
			}
			return f.Admin(cmd.Context(), func(ctx context.Context, _ *kadm.Client, cl *kgo.Client) error {
				return describeConfigs(ctx, f, cl, typ, args, d, cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: completeResources(f),
	}
	cmd.Flags().BoolVarP(&d.all, "all", "a", false, "defaults too")
	cmd.Flags().BoolVar(&d.docs, "docs", false, "explain each key")
	return cmd
}

// describeConfigs describes what args name: a type and names.
func describeConfigs(ctx context.Context, f *cli.Flags, cl *kgo.Client, typ kmsg.ConfigResourceType, args []string, d describeFlags, w io.Writer) error {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms, req.IncludeDocumentation = true, d.docs
	for _, name := range args[1:] {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = typ, name
		req.Resources = append(req.Resources, r)
	}
	all := []resourceConfigs{}
	var failures cli.Failures
	for _, shard := range cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			failures.Add("describe", shard.Err)
			continue
		}
		for _, r := range shard.Resp.(*kmsg.DescribeConfigsResponse).Resources {
			if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
				failures.Add(args[0]+" "+r.ResourceName, cli.Explain(err, deref(r.ErrorMessage)))
				continue
			}
			all = append(all, resourceConfigs{args[0], r.ResourceName, entries(r.Configs, d.all)})
		}
	}
	slices.SortFunc(all, func(a, b resourceConfigs) int { return cmp.Compare(a.Name, b.Name) })
	err := f.Print(w, all, func(w io.Writer) error {
		for i, r := range all {
			if i > 0 {
				fmt.Fprintln(w)
			}
			if err := r.write(w, d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return failures.Err()
}

func entries(configs []kmsg.DescribeConfigsResponseResourceConfig, all bool) []configEntry {
	es := []configEntry{}
	for _, c := range configs {
		if !all && (c.Source == kmsg.ConfigSourceDefaultConfig || c.IsDefault) {
			continue
		}
		e := configEntry{
			Key: c.Name, Value: c.Value, Type: lower(c.ConfigType), Source: lower(c.Source),
			ReadOnly: c.ReadOnly, Sensitive: c.IsSensitive, Doc: deref(c.Documentation),
		}
		for _, s := range c.ConfigSynonyms {
			e.Synonyms = append(e.Synonyms, configSynonym{s.Name, s.Value, lower(s.Source)})
		}
		es = append(es, e)
	}
	slices.SortFunc(es, func(a, b configEntry) int { return cmp.Compare(a.Key, b.Key) })
	return es
}

func lower(v fmt.Stringer) string { return strings.ToLower(v.String()) }

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (r *resourceConfigs) write(w io.Writer, d describeFlags) error {
	fmt.Fprintf(w, "%s %s\n\n", r.Type, cli.Clean(r.Name))
	head := []string{"KEY", "VALUE", "TYPE", "SOURCE"}
	if d.docs {
		head = append(head, "EXPLANATION")
	}
	table := cli.NewTable(head...)
	for _, e := range r.Configs {
		value := deref(e.Value)
		if e.Sensitive {
			value = "(secret)"
		}
		row := []any{e.Key, value, e.Type, e.Source}
		if d.docs {
			row = append(row, strings.Join(strings.Fields(e.Doc), " "))
		}
		table.Row(row...)
	}
	return table.Write(w)
}
