// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
	"github.com/millrace/millrace/internal/runtime"
)

// NewApp is "millrace app".
func NewApp(f *cli.Flags) *cobra.Command {
	cmd := cli.Group("app", "Reset a streaming application", newAppReset(f))
	f.Add(cmd)
	return cmd
}

// A reset is what "app reset" is asked for.
type reset struct {
	app           string
	inputs        []string
	internals     []string
	to            target
	state         string
	dryRun, force bool
}

// An appReport is what "app reset --json" prints.
type appReport struct {
	Application string   `json:"application"`
	Executed    bool     `json:"executed"`
	Removed     []string `json:"removedMembers"`
	Offsets     []move   `json:"offsets"`       // of input topics
	Deleted     []string `json:"deletedTopics"` // internal ones
	State       string   `json:"deletedState,omitempty"`
}

func newAppReset(f *cli.Flags) *cobra.Command {
	var r reset
	cmd := &cobra.Command{
		Use: "reset APPLICATION", Short: "Have an application begin anew",
		Long: `Have a streaming application that does not run begin anew: its committed offsets of
input topics are moved, to the earliest unless a flag says otherwise, and its internal
topics (APPLICATION-...-changelog and APPLICATION-...-repartition) are deleted with all
state in them. What it has written to other topics stays. Stores on disk are rebuilt by
themselves; --state removes those of this machine at once.

An application with members is refused. With --force they are removed: for instances that
have died, and whose session is still to end.`,
		Example: `  millrace app reset shop --dry-run
  millrace app reset shop --to-datetime 2026-11-01T00:00:00Z --state millrace-data/state
  millrace app reset shop --input-topics orders,users --shift -1000`,
		Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.app = args[0]
			if err := r.to.checkAlone(cmd, "to-earliest"); err != nil {
				return err
			}
			return f.Admin(cmd.Context(), func(ctx context.Context, adm *kadm.Client, cl *kgo.Client) error {
				report, err := r.run(ctx, adm, cl)
				if err != nil {
					return err
				}
				return f.Print(cmd.OutOrStdout(), report, report.write)
			})
		},
		ValidArgsFunction: cli.First(f.Groups()),
	}
	p := cmd.Flags()
	p.StringSliceVar(&r.inputs, "input-topics", nil, "`topics` whose offsets are moved (default: all that are committed, but for internal ones)")
	p.StringSliceVar(&r.internals, "internal-topics", nil, "internal `topics` to delete (default: all of the application)")
	p.StringVar(&r.state, "state", "", "`folder` of the stores on this machine, <data>/state, to remove those of the application")
	p.BoolVar(&r.dryRun, "dry-run", false, "show what would be done, and do nothing")
	p.BoolVar(&r.force, "force", false, "remove members that are there")
	_ = cmd.RegisterFlagCompletionFunc("input-topics", f.Topics())
	_ = cmd.MarkFlagDirname("state")
	r.to.add(cmd)
	return cmd
}

// run finds out all that is to be done before it does any of it.
func (r *reset) run(ctx context.Context, adm *kadm.Client, cl *kgo.Client) (*appReport, error) {
	report := &appReport{Application: r.app, Executed: !r.dryRun, Removed: []string{}}
	members, err := membersOf(ctx, adm, r.app)
	if err != nil {
		return nil, err
	}
	if len(members) > 0 && !r.force {
		return nil, fmt.Errorf("application %s has %d members: stop them first, or --force if they have died", r.app, len(members))
	}
	for _, m := range members {
		report.Removed = append(report.Removed, m.Member)
	}
	if report.Deleted, err = r.internalTopics(ctx, adm); err != nil {
		return nil, err
	}
	committed, err := adm.FetchOffsets(ctx, r.app)
	if err != nil {
		return nil, fmt.Errorf("committed offsets: %w", err)
	}
	if report.Offsets, err = r.moves(ctx, adm, committed); err != nil {
		return nil, err
	}
	cluster, err := clusterID(ctx, adm)
	if err != nil {
		return nil, err
	}
	if r.state != "" {
		if report.State, err = runtime.RemoveState(r.state, r.app, cluster, true); err != nil {
			return nil, err
		}
	}
	if len(report.Offsets)+len(report.Deleted)+len(members) == 0 && report.State == "" {
		return nil, fmt.Errorf("nothing is known of application %s: no committed offsets, no internal topics", r.app)
	}
	if r.dryRun {
		return report, nil
	}
	return report, r.execute(ctx, adm, cl, report, members, committed, cluster)
}

// execute does what the report says: the state first, since it is what a mistake in
// between would leave unfit.
func (r *reset) execute(ctx context.Context, adm *kadm.Client, cl *kgo.Client, report *appReport, members []memberInfo, committed kadm.OffsetResponses, cluster string) error {
	if err := removeMembers(ctx, adm, cl, r.app, members); err != nil {
		return err
	}
	if r.state != "" {
		if _, err := runtime.RemoveState(r.state, r.app, cluster, false); err != nil {
			return err
		}
	}
	if err := forget(ctx, adm, r.app, report.Deleted, committed); err != nil {
		return err
	}
	if err := dropTopics(ctx, adm, report.Deleted); err != nil {
		return err
	}
	if len(report.Offsets) == 0 {
		return nil
	}
	return commit(ctx, adm, r.app, report.Offsets)
}

// moves plans where the offsets of input topics go.
func (r *reset) moves(ctx context.Context, adm *kadm.Client, committed kadm.OffsetResponses) ([]move, error) {
	of := r.to.listed()
	if of == nil {
		s := selection{topics: r.inputs, all: len(r.inputs) == 0}
		var err error
		if of, err = s.find(ctx, adm, committed); err != nil {
			return nil, err
		}
	}
	of = slices.DeleteFunc(of, func(tp topicPartition) bool { return isInternal(r.app, tp.Topic) })
	if len(r.inputs) == 0 { // what was committed of topics that are gone is of no interest
		topics, err := adm.ListTopics(ctx)
		if err != nil {
			return nil, err
		}
		of = slices.DeleteFunc(of, func(tp topicPartition) bool { return !topics.Has(tp.Topic) })
	}
	return r.to.plan(ctx, adm, of, committed)
}

// internalTopics lists the application's internal topics. Those that begin with the
// id of another group that goes on where this one's ends belong to that.
func (r *reset) internalTopics(ctx context.Context, adm *kadm.Client) ([]string, error) {
	topics, err := adm.ListTopics(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := adm.ListGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	all := []string{}
	for _, topic := range topics.Names() {
		foreign := slices.ContainsFunc(groups.Groups(), func(g string) bool {
			return strings.HasPrefix(g, r.app+"-") && isInternal(g, topic)
		})
		if isInternal(r.app, topic) && !foreign {
			all = append(all, topic)
		}
	}
	if r.internals == nil {
		return all, nil
	}
	for _, topic := range r.internals {
		if !slices.Contains(all, topic) {
			return nil, cli.Usagef("--internal-topics: %s is none of application %s", topic, r.app)
		}
	}
	return r.internals, nil
}

// isInternal tells whether a topic has the name of an internal one of an application,
// as Kafka's StreamsResetter decides it.
func isInternal(app, topic string) bool {
	name, ok := strings.CutPrefix(topic, app+"-")
	return ok && (strings.HasSuffix(name, "-changelog") || strings.HasSuffix(name, "-repartition"))
}

// membersOf lists the members of a group, none of one that does not exist.
func membersOf(ctx context.Context, adm *kadm.Client, group string) ([]memberInfo, error) {
	var unknown cli.Failures
	infos, err := describeGroups(ctx, adm, &unknown, group)
	if err != nil || len(infos) == 0 {
		return nil, err
	}
	return infos[0].Members, nil
}

// removeMembers ends the memberships. Instances that live join again, and are found.
func removeMembers(ctx context.Context, adm *kadm.Client, cl *kgo.Client, group string, members []memberInfo) error {
	if len(members) == 0 {
		return nil
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group
	for _, m := range members {
		leaving := kmsg.NewLeaveGroupRequestMember()
		leaving.MemberID = m.Member
		if m.Instance != "" {
			leaving.InstanceID = kmsg.StringPtr(m.Instance)
		}
		leaving.Reason = kmsg.StringPtr("the application is reset")
		req.Members = append(req.Members, leaving)
	}
	if _, err := req.RequestWith(ctx, cl); err != nil {
		return fmt.Errorf("remove members: %w", err)
	}
	left, err := membersOf(ctx, adm, group)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("application %s still has %d members: they are alive, stop them first", group, len(left))
	}
	return err
}

func clusterID(ctx context.Context, adm *kadm.Client) (string, error) {
	meta, err := adm.BrokerMetadata(ctx)
	if err != nil {
		return "", fmt.Errorf("cluster id: %w", err)
	}
	return meta.Cluster, nil
}

// dropTopics deletes topics and waits until the cluster does not show them any more:
// an application that is started before would take them for its own.
func dropTopics(ctx context.Context, adm *kadm.Client, topics []string) error {
	if len(topics) == 0 {
		return nil
	}
	resps, err := adm.DeleteTopics(ctx, topics...)
	if err != nil {
		return fmt.Errorf("delete internal topics: %w", err)
	}
	var failures cli.Failures
	for _, r := range resps {
		failures.Add("delete "+r.Topic, cli.Explain(r.Err, r.ErrMessage))
	}
	if err := failures.Err(); err != nil {
		return err
	}
	return gone(ctx, adm, topics)
}

// gone waits until topics that are being deleted are not shown any more.
func gone(ctx context.Context, adm *kadm.Client, topics []string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := adm.ListTopics(ctx, topics...)
		if err != nil || !slices.ContainsFunc(topics, left.Has) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("internal topics are still being deleted: %w", ctx.Err())
		}
	}
}

// forget deletes what is committed of topics that are to be deleted: of topics that are
// gone a broker may not know what that means.
func forget(ctx context.Context, adm *kadm.Client, group string, topics []string, committed kadm.OffsetResponses) error {
	var set kadm.TopicsSet
	committed.Each(func(o kadm.OffsetResponse) {
		if slices.Contains(topics, o.Topic) {
			set.Add(o.Topic, o.Partition)
		}
	})
	if len(set) == 0 {
		return nil
	}
	resps, err := adm.DeleteOffsets(ctx, group, set)
	if err == nil {
		err = resps.Error()
	}
	if err != nil {
		return fmt.Errorf("forget the offsets of internal topics: %w", err)
	}
	return nil
}

func (a *appReport) write(w io.Writer) error {
	var errs []error
	line := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format+"\n", args...)
		errs = append(errs, err)
	}
	for _, m := range a.Removed {
		line("member %s is removed", m)
	}
	for _, t := range a.Deleted {
		line("topic %s is deleted", t)
	}
	if a.State != "" {
		line("folder %s is deleted", a.State)
	}
	if len(a.Offsets) > 0 {
		table := cli.NewTable("TOPIC", "#PARTITION", "#FROM", "#TO")
		for _, m := range a.Offsets {
			table.Row(m.Topic, m.Partition, known(m.From), m.To)
		}
		errs = append(errs, table.Write(w))
	}
	if !a.Executed {
		line("\nnothing was changed: leave out --dry-run to do it")
	}
	return errors.Join(errs...)
}
