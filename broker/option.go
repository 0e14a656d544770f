// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var errInvalidConfig = errors.New("invalid config")

// An option is one configuration key, with Kafka's name and meaning. What is
// not in the table of options is refused: no client is to believe that a key was
// set that nobody looks at.
type option struct {
	topic  string // its name on a topic; "" if only the broker has it
	broker string // its name on the broker, whose value is the default of topics and groups
	group  string // its name on a group; "" if groups have none
	kind   kmsg.ConfigType
	def    string // the default
	// elsewhere is a default that Kafka has under another name, in hours, which is
	// told beside what is set: on the broker itself it is null then.
	elsewhere setting
	none      bool // it has no default: the Config gives it
	// fixed: it can't be changed while the broker runs.
	fixed  bool
	static func(c *Config) string // by the Config, "" for the default; nil: always that

	min, max float64  // of numbers
	allowed  []string // of strings and of list elements; nil: any
	refused  []string // of what would be accepted else
	doc      string
}

// A setting is a value of an option and where it comes from.
type setting struct {
	name, value string
	source      kmsg.ConfigSource
}

// layers are the places where a value can come from, the first that has one
// wins. The maps are never changed.
type layers struct {
	topic map[string]string // set on one topic
	group map[string]string // set on one group
	*brokerLayers
}

// brokerLayers are those of the broker, which all topics share.
type brokerLayers struct {
	node, cluster map[string]string // set on this broker, and on all that there are
	cfg           *Config           // what it says, where that differs from the default
}

// of lists the settings of an option, the one that holds first.
func (l *layers) of(o *option) []setting {
	var all []setting
	add := func(from map[string]string, name string, source kmsg.ConfigSource) {
		if v, ok := from[name]; ok && name != "" {
			all = append(all, setting{name, v, source})
		}
	}
	add(l.topic, o.topic, kmsg.ConfigSourceDynamicTopicConfig)
	add(l.group, o.group, kmsg.ConfigSourceGroupConfig)
	own := len(all)
	add(l.node, o.broker, kmsg.ConfigSourceDynamicBrokerConfig)
	add(l.cluster, o.broker, kmsg.ConfigSourceDynamicDefaultBrokerConfig)
	if v := o.staticValue(l.cfg); v != "" && v != o.def {
		all = append(all, setting{o.broker, v, kmsg.ConfigSourceStaticBrokerConfig})
	}
	switch {
	case o.none, o.elsewhere.name != "" && len(all) == own:
	case o.elsewhere.name != "":
		all = append(all, o.elsewhere)
	default:
		all = append(all, setting{o.broker, o.def, kmsg.ConfigSourceDefaultConfig})
	}
	return all
}

// staticValue is what the Config says, "" for nothing.
func (o *option) staticValue(c *Config) string {
	if v, ok := c.topicDefaults[o.broker]; ok {
		return v
	}
	if o.static == nil {
		return ""
	}
	return o.static(c)
}

// value is what holds, and where it comes from.
func (l *layers) value(o *option) (string, kmsg.ConfigSource) {
	if all := l.of(o); len(all) > 0 {
		return all[0].value, all[0].source
	}
	return o.def, kmsg.ConfigSourceDefaultConfig
}

// string, number and float are the value of a topic's option by name. Values are
// checked when they come in, but the metadata file may have been written by hand:
// what makes no sense there is as if it was not. The Config has bounds of its own.
func (l *layers) string(name string) string { return l.valueOf(topicOption(name)) }

func (l *layers) valueOf(o *option) string {
	for _, s := range l.of(o) {
		if s.source == kmsg.ConfigSourceDefaultConfig {
			break
		}
		if s.source == kmsg.ConfigSourceStaticBrokerConfig || o.accepts(s.value) {
			return strings.TrimSpace(s.value)
		}
	}
	return o.def
}

func (l *layers) number(name string) int64 {
	n, _ := strconv.ParseInt(l.string(name), 10, 64)
	return n
}

func (l *layers) float(name string) float64 {
	f, _ := strconv.ParseFloat(l.string(name), 64)
	return f
}

// accepts tells whether value is one of the option.
func (o *option) accepts(value string) bool {
	value = strings.TrimSpace(value)
	if slices.Contains(o.refused, value) {
		return false
	}
	switch o.kind {
	case typeLong, typeInt:
		n, err := strconv.ParseInt(value, 10, 64)
		if o.kind == typeInt && (n > math.MaxInt32 || n < math.MinInt32) {
			return false
		}
		return err == nil && float64(n) >= o.min && float64(n) <= o.max
	case typeFloat:
		f, err := strconv.ParseFloat(value, 64)
		return err == nil && f >= o.min && f <= o.max
	case typeBool:
		return strings.EqualFold(value, "true") || strings.EqualFold(value, "false")
	case typeList:
		return !slices.ContainsFunc(elements(value), func(e string) bool { return !slices.Contains(o.allowed, e) })
	default:
		return o.allowed == nil || slices.Contains(o.allowed, value)
	}
}

// elements are those of a list as Kafka writes it.
func elements(value string) []string {
	if strings.TrimSpace(value) == "" {
		return nil
	}
	list := strings.Split(value, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// checkTopicConfig refuses a key or a value that topics do not have.
func checkTopicConfig(name, value string) error {
	o := topicOption(name)
	if err := checkKnown(o, "topic", name); err != nil {
		return err
	}
	return checkValue(o, name, value)
}

func checkKnown(o *option, what, name string) error {
	if o == nil {
		return fmt.Errorf("%w: unknown %s config name: %.100q", errInvalidConfig, what, name)
	}
	return nil
}

func checkValue(o *option, name, value string) error {
	if !o.accepts(value) {
		return fmt.Errorf("%w: invalid value %.100q for configuration %s", errInvalidConfig, value, name)
	}
	return nil
}

// checkTopic refuses values of a topic that contradict each other.
func (l *brokerLayers) checkTopic(set map[string]string) error {
	v := &layers{topic: set, brokerLayers: l}
	if least, most := v.number("min.compaction.lag.ms"), v.number("max.compaction.lag.ms"); least > most {
		return fmt.Errorf("%w: min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)", errInvalidConfig, least, most)
	}
	return nil
}
