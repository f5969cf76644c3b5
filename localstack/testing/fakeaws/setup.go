package fakeaws

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Queue identifies a created queue.
type Queue struct{ URL, ARN string }

// CreateQueue creates a queue, like the action CreateQueue. It adds FifoQueue if the name requires
// it.
func (s *Server) CreateQueue(name string, attributes map[string]string) (Queue, error) {
	r := &sqsRequest{QueueName: name, Attributes: withFIFO(name, "FifoQueue", attributes)}
	if _, err := s.createQueue(r); err != nil {
		return Queue{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return Queue{URL: s.queues[name].url, ARN: s.queues[name].arn}, nil
}

// CreateTopic creates a topic, like the action CreateTopic, and returns its ARN. It adds FifoTopic
// if the name requires it.
func (s *Server) CreateTopic(name string, attributes map[string]string) (arn string, err error) {
	created, err := s.createTopic(newForm(url.Values{"Name": {name}}, withFIFO(name, "FifoTopic", attributes)))
	return created.text, err
}

// Subscribe subscribes queueARN to topicARN. attributes are those of a subscription, for example
// RawMessageDelivery and FilterPolicy.
func (s *Server) Subscribe(topicARN, queueARN string, attributes map[string]string) (subscriptionARN string,
	err error,
) {
	created, err := s.subscribe(newForm(url.Values{
		"TopicArn": {topicARN}, "Protocol": {"sqs"}, "Endpoint": {queueARN},
	}, attributes))
	return created.text, err
}

// CreateBus creates an event bus, like the action CreateEventBus, and returns its ARN.
func (s *Server) CreateBus(name string) (arn string, err error) {
	b, err := s.createBus(&eventsRequest{Name: name})
	if err != nil {
		return "", err
	}
	return b.arn, nil
}

// SendTo adds a rule to the event bus busARN that sends the events of pattern to queueARN. An empty
// pattern selects every event.
func (s *Server) SendTo(busARN, queueARN, pattern string) error {
	if pattern == "" {
		pattern = everyEvent
	}
	rule := &eventsRequest{Name: nameOf(queueARN), EventBusName: busARN, EventPattern: pattern}
	if _, err := s.putRule(rule); err != nil {
		return err
	}
	_, err := s.putTargets(&eventsRequest{
		Rule: rule.Name, EventBusName: busARN, Targets: []target{{ID: rule.Name, ARN: queueARN}},
	})
	return err
}

func withFIFO(name, attribute string, attributes map[string]string) map[string]string {
	all := map[string]string{}
	if strings.HasSuffix(name, ".fifo") {
		all[attribute] = "true"
	}
	maps.Copy(all, attributes)
	return all
}

func newForm(values url.Values, attributes map[string]string) form {
	for i, name := range slices.Sorted(maps.Keys(attributes)) {
		entry := "Attributes.entry." + strconv.Itoa(i+1)
		values.Set(entry+".key", name)
		values.Set(entry+".value", attributes[name])
	}
	return form{values.Encode()}
}
