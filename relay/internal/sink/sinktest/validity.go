package sinktest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// invalid has messages that are wrong for one reason each. A topic accepts some that the queues
// behind it refuse; these are marked. A bus accepts all but those that are marked as its own.
var invalid = map[string]struct {
	spoil      func(*sink.Message)
	topicTakes bool
	onlyFIFO   bool
	onlyTopic  bool
	onlyBus    bool
}{
	"empty body":        {spoil: func(m *sink.Message) { m.Body = "" }},
	"control character": {spoil: func(m *sink.Message) { m.Body = "a\x1f" }, topicTakes: true},
	"noncharacter":      {spoil: func(m *sink.Message) { m.Body = "a\uffff" }, topicTakes: true},
	"control character in a value": {
		spoil:      func(m *sink.Message) { m.Attributes[0].Value = "a\x02" },
		topicTakes: true,
	},
	"empty value": {spoil: func(m *sink.Message) { m.Attributes[0].Value = "" }},
	"tab in a value at a topic": {
		spoil:      func(m *sink.Message) { m.Attributes[0].Value = "a\tb" },
		topicTakes: true,
		onlyTopic:  true,
	},
	"no number":                   {spoil: func(m *sink.Message) { m.Attributes[0].DataType = sink.Number }},
	"unknown type":                {spoil: func(m *sink.Message) { m.Attributes[0].DataType = sink.Number + 1 }},
	"name with a space":           {spoil: func(m *sink.Message) { m.Attributes[0].Name = "a b" }},
	"name of AWS's own":           {spoil: func(m *sink.Message) { m.Attributes[0].Name = "AWS.x" }},
	"name that ends with a point": {spoil: func(m *sink.Message) { m.Attributes[0].Name = "x." }},
	"name that is too long":       {spoil: func(m *sink.Message) { m.Attributes[0].Name = strings.Repeat("n", 256) }},
	"group with a space":          {spoil: func(m *sink.Message) { setGroup(m, "a b") }},
	"group beyond ASCII":          {spoil: func(m *sink.Message) { setGroup(m, "ü") }},
	"group of 129 characters":     {spoil: func(m *sink.Message) { setGroup(m, strings.Repeat("g", 129)) }},
	"id with a space":             {spoil: func(m *sink.Message) { m.DeduplicationID = "a b" }, onlyFIFO: true},
	"id of 129 characters": {
		spoil:    func(m *sink.Message) { m.DeduplicationID = strings.Repeat("d", 129) },
		onlyFIFO: true,
	},
	"detail-type of 129 characters": {
		spoil:   func(m *sink.Message) { m.Type = strings.Repeat("ü", 129) },
		onlyBus: true,
	},
	"eleven attributes": {topicTakes: true, spoil: func(m *sink.Message) {
		for name := range strings.SplitSeq("a b c d e f g h i j", " ") {
			m.Attributes = append(m.Attributes, sink.Attribute{Name: name, DataType: sink.String, Value: "x"})
		}
	}},
}

// setGroup sets the group for either kind of destination.
func setGroup(m *sink.Message, group string) { m.GroupID, m.TenantID = group, group }

func refusesWhatValidateRefuses(s suite, t *testing.T, k kind) {
	d := s.open(t, k, nil)
	gaps := s.Gaps.QueueTakes
	switch k.service {
	case sink.SNS:
		gaps = s.Gaps.TopicTakes
	case sink.EventBridge:
		gaps = s.Gaps.BusTakes
	}
	for name, bad := range invalid {
		if bad.onlyFIFO && !k.fifo || bad.onlyTopic && k.service != sink.SNS ||
			bad.onlyBus && k.service != sink.EventBridge {
			continue
		}
		m := message("group", 1)
		bad.spoil(m)
		if sink.Validate(m, d.Limits()) == nil {
			t.Errorf("%s: validate passes it", name)
		}
		if k.service == sink.SNS && bad.topicTakes || k.service == sink.EventBridge && !bad.onlyBus ||
			slices.Contains(gaps, name) {
			continue
		}
		if err := d.outcomes(t, m)[0]; !isRejected(err) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	d.receive(t, 0)
}

// takesWhatValidatePasses goes to the limits of valid messages.
func takesWhatValidatePasses(s suite, t *testing.T, k kind) {
	d := s.open(t, k, nil)
	edge := message("", 1)
	setGroup(edge, strings.Repeat("g", 128))
	edge.Body = "\t\n\r \u007f\u0085\ud7ff\ue000\ufffd\U00010000\U0010ffff"
	edge.DeduplicationID = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" + strings.Repeat("d", 96)
	edge.Attributes = nil
	value := edge.Body
	if d.Limits().OneLine {
		value = strings.TrimLeft(value, "\t\n\r")
	}
	for i := range 8 {
		edge.Attributes = append(edge.Attributes,
			sink.Attribute{Name: fmt.Sprint("a_-.", i), DataType: sink.String, Value: value})
	}
	edge.Attributes = append(edge.Attributes,
		sink.Attribute{Name: "event_id", DataType: sink.String, Value: edge.EventID},
		sink.Attribute{Name: strings.Repeat("n", 255), DataType: sink.Number, Value: "-12345678901234567890.5e-20"})
	if refused := sink.Validate(edge, d.Limits()); refused != nil {
		t.Fatal(refused)
	}
	d.deliver(t, edge)
	if diff := cmp.Diff(arrivalOf(edge, k), d.receive(t, 1)[0]); diff != "" {
		t.Errorf("sent (-), received (+):\n%s", diff)
	}
}
