package chaos

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// destination is a topic, queue or event bus of a run, with the aggregate type whose events it
// receives.
type destination struct {
	checker.Destination
	setting       string // its name in the relay's settings
	arn           string
	aggregateType string
	limit         int // maximum size of a message in bytes
	// refused counts the events of its fragile aggregate that the broker refuses until a repair.
	refused *atomic.Int32
}

// Maximum sizes of a message. That of a topic is the default of AWS, and that of a bus its only
// one.
const (
	queueLimit = 128 << 10
	topicLimit = 256 << 10
	busLimit   = 1<<20 - 200 // a payload of this size exceeds it, and is none that no destination takes
)

// createDestinations creates the topics, queues and buses of the plan. Each topic has a subscribed
// queue with raw delivery, and each bus a rule for one.
func (r *run) createDestinations() error {
	if r.plan.Load.Large {
		r.broker.CreateBucket(bucket)
	}
	policy := r.plan.setting("RELAY_ON_REJECTED")
	for i, kind := range r.plan.Destinations {
		d := destination{aggregateType: fmt.Sprintf("kind-%d", i), refused: new(atomic.Int32)}
		d.FIFO = kind.fifo()
		d.ParksAggregate = policy == "park-aggregate" || policy == "" && d.FIFO
		d.GroupBatches, d.ParkAfter = r.plan.setting("RELAY_GROUP_BATCHES") == "true", r.plan.ParkAfter
		name := fmt.Sprintf("events-%d", i)
		if d.FIFO {
			name += ".fifo"
		}
		d.RowsWait = d.FIFO && r.plan.rowsWait()
		if err := r.create(kind, &d, name); err != nil {
			return err
		}
		d.Name = d.arn
		r.destinations = append(r.destinations, d)
	}
	r.refusal = r.broker.Script(fakeaws.Match{Entry: r.isRefused},
		fakeaws.FailEntries("InvalidMessageContents", "refused by the test", true))
	return nil
}

func (r *run) create(kind Kind, d *destination, name string) error {
	switch kind {
	case Bus:
		return r.createBus(d, name)
	case FIFOTopic, StandardTopic:
		return r.createTopic(d, name)
	}
	return r.createQueue(d, name)
}

func (r *run) isRefused(m *fakeaws.Message) bool {
	return r.attribute(sent(m), "event_type") == refusedType
}

func (r *run) createQueue(d *destination, name string) error {
	queue, err := r.broker.CreateQueue(name, map[string]string{"MaximumMessageSize": strconv.Itoa(queueLimit)})
	d.setting, d.arn, d.limit = queue.URL, queue.ARN, queueLimit
	if r.plan.BrokerTLS { // the URL leads past it
		d.setting = queue.ARN
	}
	return err
}

func (r *run) createTopic(d *destination, name string) error {
	topic, err := r.broker.CreateTopic(name, nil)
	if err != nil {
		return err
	}
	queue, err := r.broker.CreateQueue("of-"+name, nil)
	if err != nil {
		return err
	}
	d.setting, d.arn, d.limit = topic, topic, topicLimit
	_, err = r.broker.Subscribe(topic, queue.ARN, map[string]string{"RawMessageDelivery": "true"})
	return err
}

func (r *run) createBus(d *destination, name string) error {
	bus, err := r.broker.CreateBus(name)
	if err != nil {
		return err
	}
	queue, err := r.broker.CreateQueue("of-"+name, nil)
	if err != nil {
		return err
	}
	d.setting, d.arn, d.limit = bus, bus, busLimit
	return r.broker.SendTo(bus, queue.ARN, `{"detail":{"metadata":{"event_id":[{"exists":true}]}}}`)
}

// routes returns the settings that route each event to its destination.
func (r *run) routes() []string {
	if r.shape.routes == byColumn {
		return r.pattern()
	}
	var routes []string
	for _, d := range r.destinations[1:] {
		routes = append(routes, "aggregate:"+d.aggregateType+"="+d.setting)
	}
	return []string{"RELAY_DESTINATION=" + r.destinations[0].setting, "RELAY_ROUTES=" + strings.Join(routes, ";")}
}

// sent returns a message as the relay was asked to send it. That of a bus is a detail.
func sent(m *fakeaws.Message) *fakeaws.Message {
	var detail struct {
		Metadata map[string]json.RawMessage
		Data     json.RawMessage
	}
	if m.Subject == "" || json.Unmarshal([]byte(m.Body), &detail) != nil {
		return m
	}
	message := *m
	message.Body, message.Attributes = string(detail.Data), nil
	for name, value := range detail.Metadata {
		text := string(value)
		if err := json.Unmarshal(value, &text); err != nil { // a number
			text = string(value)
		}
		message.Attributes = append(message.Attributes, fakeaws.Attribute{Name: name, StringValue: text})
	}
	return &message
}

// pattern returns the settings that route each event by the name of its destination in a column.
func (r *run) pattern() []string {
	var allowed []string
	for _, d := range r.destinations {
		allowed = append(allowed, d.arn)
	}
	first := r.destinations[0].arn
	name := strings.TrimSuffix(nameOf(first), ".fifo")
	return []string{
		"RELAY_DESTINATION=" + first, "RELAY_ROUTES=event:*=" + strings.Replace(first, name, "${topic}", 1),
		"RELAY_ALLOWED_DESTINATIONS=" + strings.Join(allowed, ";"),
	}
}

// attribute returns the value of one of the relay's attributes under the name that the shape has
// for it, or under its own name if the shape excludes it.
func (r *run) attribute(m *fakeaws.Message, name string) string {
	name = cmp.Or(r.shape.attribute(name), name)
	for _, a := range m.Attributes {
		if a.Name == name {
			return a.StringValue
		}
	}
	return ""
}

// nameOf returns the last part of an ARN.
func nameOf(arn string) string { return arn[strings.LastIndexAny(arn, ":/")+1:] }
