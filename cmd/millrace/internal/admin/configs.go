// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// NewConfigs is "millrace configs".
func NewConfigs(f *cli.Flags) *cobra.Command {
	cmd := cli.Group("configs", "Describe and alter configurations", newConfigsDescribe(f), newConfigsAlter(f))
	f.Add(cmd)
	return cmd
}

// resourceNames are what can be configured, as the first argument.
var resourceNames = []string{"topic", "broker", "broker-logger", "client-metrics", "group"}

var resourceTypes = []kmsg.ConfigResourceType{
	kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger,
	kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig,
}

func resourceType(name string) (kmsg.ConfigResourceType, error) {
	if i := slices.Index(resourceNames, name); i >= 0 {
		return resourceTypes[i], nil
	}
	return 0, cli.Usagef("%q can't be configured: want topic, broker, broker-logger, client-metrics or group", name)
}

// completeResources completes the type, then names of it.
func completeResources(f *cli.Flags) cli.Completion {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) == 0:
			return resourceNames, cobra.ShellCompDirectiveNoFileComp
		case args[0] == "topic":
			return f.Topics()(cmd, args[1:], toComplete)
		case args[0] == "group":
			return f.Groups()(cmd, args[1:], toComplete)
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}
