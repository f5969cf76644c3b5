package infra_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// notPassed are the parameters of relay.yaml that template.yaml leaves at their defaults, and why.
var notPassed = map[string]string{
	"DatabaseSecretArn":       "the relay logs in with IAM authentication",
	"DatabaseSecretKmsKeyArn": "the relay logs in with IAM authentication",
	"Slot":                    "the stack has one relay, whose slot the alarms read by its default name",
	"Publication":             "the migration creates it with the default name",
	"Table":                   "the migration creates it with the default name",
	"Start":                   "all rows of the table that the migration creates are events of this relay",
}

// A deployment resets every parameter of the nested stack that template.yaml does not pass.
func TestTemplatePassesEachParameterOfTheRelay(t *testing.T) {
	t.Parallel()
	whole, part := read(t, root), read(t, "relay.yaml")
	passed, _ := whole.resources["Relay"].properties["Parameters"].(map[string]any)
	for parameter := range part.parameters {
		if _, isException := notPassed[parameter]; (passed[parameter] == nil) != isException {
			t.Errorf("template.yaml has to pass %s, or notPassed to have its reason: passed as %v, reason %q",
				parameter, passed[parameter], notPassed[parameter])
		}
	}
	for parameter := range notPassed {
		if part.parameters[parameter] == nil {
			t.Errorf("the exception %s is no parameter of relay.yaml", parameter)
		}
	}
}

// settingsOfTheRelay are parameters of template.yaml that relay.yaml has too, with another name.
var settingsOfTheRelay = map[string]string{
	"RelayRoutes": "Routes", "RelayAllowedDestinations": "AllowedDestinations", "RelayBusSource": "BusSource",
	"RelayLargeEventsBucket": "LargeEventsBucket", "RelayFormat": "Format", "RelayEmitted": "Emitted",
	"RelayTenant": "Tenant", "RelayRetention": "Retention", "RelayInFlight": "InFlight", "RelayMaxRate": "MaxRate",
	"RelayLinger": "Linger", "RelayParkAfter": "ParkAfter", "RelayCloudEventsAttributes": "CloudEventsAttributes",
	"RelayOrderKey": "OrderKey", "RelayUnknownDestination": "UnknownDestination",
	"RelayMaxEventBytes": "MaxEventBytes",
}

func TestRelayParametersHaveOneDefaultAndPattern(t *testing.T) {
	t.Parallel()
	whole, part := read(t, root), read(t, "relay.yaml")
	passed := whole.resources["Relay"].properties["Parameters"]
	for here, there := range settingsOfTheRelay {
		if got := field(passed, there, "Ref"); got != here {
			t.Errorf("%s of relay.yaml is %v, and not %s", there, got, here)
		}
		for _, property := range []string{
			"Type", "Default", "AllowedPattern", "AllowedValues", "MinValue", "MaxValue",
		} {
			a, b := field(whole.parameters, here, property), field(part.parameters, there, property)
			if fmt.Sprint(a) != fmt.Sprint(b) {
				t.Errorf("%s of %s is %v, and %v in relay.yaml", property, here, a, b)
			}
		}
	}
}

func TestFormatAndPrefixReachTheContainer(t *testing.T) {
	t.Parallel()
	_, env := container(t)
	for variable, parameter := range map[string]string{"RELAY_FORMAT": "Format", "RELAY_EMITTED": "Emitted"} {
		if got := field(env[variable], "Ref"); got != parameter {
			t.Errorf("%s is %v", variable, got)
		}
	}
}

// passedLists returns the lists of ARNs that the relay's nested stack gets. !GetAtt X.Y is X.Y.
func (t template) passedLists(given map[string]string) map[string]string {
	e := ruleEvaluation{t, given}
	lists := map[string]string{}
	for _, name := range []string{"TopicArns", "QueueArns", "BusArns", "KmsKeyArns"} {
		lists[name] = e.text(field(t.resources["Relay"].properties, "Parameters", name))
	}
	return lists
}

// text evaluates a function of the section Resources.
func (e ruleEvaluation) text(value any) string {
	if attribute, ok := field(value, "Fn::GetAtt").(string); ok {
		return attribute
	}
	if choice, ok := field(value, "Fn::If").([]any); ok {
		condition := field(e.whole, "Conditions", choice[0].(string))
		if e.holds(condition) {
			return e.text(choice[1])
		}
		return e.text(choice[2])
	}
	join, ok := field(value, "Fn::Join").([]any)
	if !ok {
		return e.values(value)[0]
	}
	list, ok := join[1].([]any)
	if !ok {
		return strings.Join(e.values(join[1]), join[0].(string))
	}
	var elements []string
	for _, element := range list {
		elements = append(elements, e.text(element))
	}
	return strings.Join(elements, join[0].(string))
}

// IAM refuses a policy with an empty ARN.
func TestRelayMayUseExactlyTheListedARNs(t *testing.T) {
	t.Parallel()
	whole := read(t, root)
	for name, c := range map[string]struct{ given, want map[string]string }{
		"nothing": {nil, map[string]string{"TopicArns": "Events.Outputs.TopicArn"}},
		"a key":   {map[string]string{"KmsKeyArn": "k"}, map[string]string{"KmsKeyArns": "k"}},
		"a key of the relay": {
			map[string]string{"RelayKmsKeyArns": "k,l"},
			map[string]string{"KmsKeyArns": "k,l"},
		},
		"both keys": {
			map[string]string{"KmsKeyArn": "k", "RelayKmsKeyArns": "l"},
			map[string]string{"KmsKeyArns": "k,l"},
		},
		"another topic": {
			map[string]string{"RelayTopicArns": "t,u"},
			map[string]string{"TopicArns": "Events.Outputs.TopicArn,t,u"},
		},
		"only topics of others": {
			map[string]string{"TopicArn": "s", "RelayTopicArns": "t"},
			map[string]string{"TopicArns": "s,t"},
		},
		"queues and buses": {
			map[string]string{"RelayQueueArns": "q,r", "RelayBusArns": "b"},
			map[string]string{"QueueArns": "q,r", "BusArns": "b"},
		},
	} {
		want := map[string]string{
			"TopicArns": "Events.Outputs.TopicArn", "QueueArns": "", "BusArns": "", "KmsKeyArns": "",
		}
		maps.Copy(want, c.want)
		if got := whole.passedLists(c.given); !maps.Equal(got, want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A created network reaches only the services of its endpoints, and a relay without a way to its
// queue would fail its first deployment.
func TestQueuesAndBusesNeedTheirEndpoints(t *testing.T) {
	t.Parallel()
	whole := read(t, root)
	own := map[string]string{"VpcId": "vpc-1", "SubnetIds": "subnet-1"}
	for name, c := range map[string]struct {
		given   []map[string]string
		refused bool
	}{
		"a queue":                {[]map[string]string{{"RelayQueueArns": "q"}}, true},
		"a queue, its endpoint":  {[]map[string]string{{"RelayQueueArns": "q", "QueueEndpoint": "true"}}, false},
		"a queue, own network":   {[]map[string]string{{"RelayQueueArns": "q"}, own}, false},
		"a bus":                  {[]map[string]string{{"RelayBusArns": "b"}}, true},
		"a bus, its endpoint":    {[]map[string]string{{"RelayBusArns": "b", "BusEndpoint": "true"}}, false},
		"a bus, own network":     {[]map[string]string{{"RelayBusArns": "b"}, own}, false},
		"endpoint, own network":  {[]map[string]string{{"BusEndpoint": "true"}, own}, true},
		"traces, own network":    {[]map[string]string{{"TraceEndpoint": "true"}, own}, true},
		"allowed without routes": {[]map[string]string{{"RelayAllowedDestinations": "t"}}, true},
		"allowed with routes":    {[]map[string]string{{"RelayAllowedDestinations": "t", "RelayRoutes": "r"}}, false},
	} {
		given := map[string]string{"AWS::Region": "eu-central-1"}
		for _, some := range c.given {
			maps.Copy(given, some)
		}
		if refused := whole.refusals(given); (len(refused) > 0) != c.refused {
			t.Errorf("%s: refused because of %q", name, refused)
		}
	}
	for parameter, endpoint := range map[string]string{"Buses": "BusEndpoint", "Traces": "TraceEndpoint"} {
		if got := field(whole.resources["Network"].properties, "Parameters", parameter, "Ref"); got != endpoint {
			t.Errorf("the network's %s is %v", parameter, got)
		}
	}
}

func TestPatternsAcceptValuesOfTheRelay(t *testing.T) {
	t.Parallel()
	const topic, queue, bus = "arn:aws:sns:eu-central-1:1:t", "arn:aws:sqs:eu-central-1:1:q",
		"arn:aws:events:eu-central-1:1:event-bus/b"
	for parameter, c := range map[string]struct{ good, bad []string }{
		"RelayTopicArns":  {[]string{"", topic}, []string{queue, "t"}},
		"RelayQueueArns":  {[]string{"", queue}, []string{topic, "https://sqs.eu-central-1.amazonaws.com/1/q"}},
		"RelayBusArns":    {[]string{"", bus}, []string{topic, "b"}},
		"RelayKmsKeyArns": {[]string{"", "arn:aws:kms:eu-central-1:1:key/k"}, []string{"alias/k", "k"}},
		"RelayFormat": {
			[]string{
				"plain", "cloudevents", "cloudevents-binary", "cloudevents; event:billing.*=plain",
				"event:a=cloudevents", "plain\nevent:a=cloudevents-binary;aggregate:b=plain;",
			},
			[]string{"cloudevent", "json", "plain;cloudevents", "event:a", "event:a=json", "type:a=plain"},
		},
		"RelayEmitted":   {[]string{"", "outbox", "outbox."}, []string{"out box", " outbox", "outbox\n"}},
		"RelayRetention": {[]string{"0s", "168h", "1h30m"}, []string{"", "7", "7d"}},
		"RelayBusSource": {[]string{"outbox-relay", "shop.orders"}, []string{""}},
	} {
		pattern, _ := field(read(t, root).parameters, parameter, "AllowedPattern").(string)
		allowed := regexp.MustCompile("^(?:" + pattern + ")$")
		for _, value := range slices.Concat(c.good, c.bad) {
			if allowed.MatchString(value) != slices.Contains(c.good, value) {
				t.Errorf("the pattern of %s accepts %q: %v", parameter, value, allowed.MatchString(value))
			}
		}
	}
}

// The relay needs the key of the bucket, which no other template passes to it.
func TestKeyOfLargeEventsHasItsPlace(t *testing.T) {
	t.Parallel()
	bucket := read(t, "large-events.yaml")
	key := field(bucket.outputs, "KmsKeyArn")
	if field(key, "Value", "Ref") != "KmsKeyArn" || field(key, "Condition") != "WithKey" {
		t.Errorf("the output with the key of the bucket is %v", key)
	}
	for file, c := range map[string]struct{ keys, of string }{
		root:         {"RelayKmsKeyArns", "RelayLargeEventsBucket"},
		"relay.yaml": {"KmsKeyArns", "LargeEventsBucket"},
	} {
		for parameter, other := range map[string]string{c.keys: c.of, c.of: c.keys} {
			text, _ := field(read(t, file).parameters, parameter, "Description").(string)
			if !strings.Contains(text, " "+other) {
				t.Errorf("%s: the description of %s does not name %s: %s", file, parameter, other, text)
			}
		}
		text, _ := field(bucket.parameters, "KmsKeyArn", "Description").(string)
		if !strings.Contains(text, c.keys+" of") {
			t.Errorf("large-events.yaml: the description of KmsKeyArn does not name %s: %s", c.keys, text)
		}
	}
}
