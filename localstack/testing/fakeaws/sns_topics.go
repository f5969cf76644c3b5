package fakeaws

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/filter"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/queue"
)

// defaultTopicMessageBytes bounds a message and a PublishBatch unless the topic's
// MaximumMessageSize is larger.
// https://docs.aws.amazon.com/sns/latest/dg/large-message-payloads.html
const defaultTopicMessageBytes = 262_144

var topicNames = regexp.MustCompile(`^([A-Za-z0-9_-]{1,256}|[A-Za-z0-9_-]{1,251}\.fifo)$`)

// topicAttributes are the settable attributes of a topic, with their values if there are few.
// https://docs.aws.amazon.com/sns/latest/api/API_SetTopicAttributes.html
var topicAttributes = map[string][]string{
	"FifoTopic": {"true", "false"}, "ContentBasedDeduplication": {"true", "false"},
	"FifoThroughputScope": {
		"Topic",
		"MessageGroup",
	}, "MaximumMessageSize": nil, "KmsMasterKeyId": nil, "DisplayName": nil,
	"Policy": nil, "DeliveryPolicy": nil, "TracingConfig": nil, "SignatureVersion": nil, "ArchivePolicy": nil,
}

// topic is a topic with its subscriptions. mu also orders its deliveries.
type topic struct {
	name, arn string
	fifo      bool
	journal   journal

	mu            sync.Mutex
	attributes    map[string]string
	subscriptions []*subscription
	seen          *queue.Deduplication
}

// subscription is the subscription of a queue to a topic.
type subscription struct {
	arn, queueARN string
	raw           bool
	policy        filter.Policy
	deadLetterARN string
	attributes    map[string]string
}

func (s *Server) topicByARN(arn string) *topic {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if t := s.topics[nameOf(arn)]; t != nil && t.arn == arn {
		return t
	}
	return nil
}

func (s *Server) findTopic(arn string) (*topic, error) {
	if t := s.topicByARN(arn); t != nil {
		return t, nil
	}
	if parts := strings.Split(arn, ":"); len(parts) != 6 || parts[0] != "arn" || parts[2] != "sns" {
		return nil, invalidParameter("TopicArn Reason: no value for required parameter, or not the ARN of a topic")
	}
	return nil, snsError("NotFound", "Topic does not exist")
}

func (s *Server) createTopic(f form) (element, error) {
	name, attributes := f.get("Name"), f.entries("Attributes")
	fifo := strings.HasSuffix(name, ".fifo")
	if !topicNames.MatchString(name) || fifo != (attributes["FifoTopic"] == "true") {
		return element{}, invalidParameter("Topic Name")
	}
	if err := checkTopicAttributes(fifo, attributes); err != nil {
		return element{}, err
	}
	if attributes["FifoTopic"] == "false" { // a standard topic does not have the attribute
		delete(attributes, "FifoTopic")
	}
	arn := "arn:aws:sns:" + s.options.Region + ":" + s.options.Account + ":" + name
	created := &topic{
		name: name, fifo: fifo, arn: arn, attributes: attributes,
		journal: journal{retain: s.options.Retain, tell: s.tell(arn)}, seen: queue.NewDeduplication(s.options.Retain),
	}
	s.mu.Lock()
	existing := s.topics[name]
	if existing == nil {
		s.topics[name] = created
	}
	s.mu.Unlock()
	if existing != nil && !existing.has(attributes) {
		return element{}, invalidParameter("Attributes Reason: Topic already exists with different attributes")
	}
	return text("TopicArn", created.arn), nil
}

func (t *topic) has(attributes map[string]string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, value := range attributes {
		if t.attributes[name] != value {
			return false
		}
	}
	return true
}

func checkTopicAttributes(fifo bool, attributes map[string]string) error {
	for name, value := range attributes {
		choices, known := topicAttributes[name]
		onlyFIFO := name == "ContentBasedDeduplication" || name == "FifoThroughputScope"
		switch {
		case !known, onlyFIFO && !fifo:
			return invalidParameter("AttributeName")
		case len(choices) > 0 && !slices.Contains(choices, value):
			return invalidParameter("Attributes Reason: Invalid value for %s", name)
		case name == "MaximumMessageSize" && (seconds(value) < 1024 || seconds(value) > maxMessageBytes):
			return invalidParameter("Attributes Reason: MaximumMessageSize must be between 1024 and %d",
				maxMessageBytes)
		}
	}
	return nil
}

func (s *Server) deleteTopic(f form) (element, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	arn := f.get("TopicArn")
	if t := s.topics[nameOf(arn)]; t != nil && t.arn == arn { // a topic that does not exist is no error
		delete(s.topics, t.name)
	}
	return element{}, nil
}

func (s *Server) listTopics(form) (element, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var members []element
	for _, name := range slices.Sorted(maps.Keys(s.topics)) {
		members = append(members, list("member", text("TopicArn", s.topics[name].arn)))
	}
	return list("Topics", members...), nil
}

func (s *Server) getTopicAttributes(f form) (element, error) {
	t, err := s.findTopic(f.get("TopicArn"))
	if err != nil {
		return element{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]string{
		"TopicArn": t.arn, "Owner": s.options.Account, "DisplayName": "", "SubscriptionsPending": "0",
		"SubscriptionsDeleted": "0", "SubscriptionsConfirmed": strconv.Itoa(len(t.subscriptions)),
	}
	if t.fifo {
		all["ContentBasedDeduplication"], all["FifoThroughputScope"] = "false", "Topic"
	}
	maps.Copy(all, t.attributes)
	return attributeMap(all), nil
}

func attributeMap(attributes map[string]string) element {
	var entries []element
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		entries = append(entries, list("entry", text("key", name), text("value", attributes[name])))
	}
	return list("Attributes", entries...)
}

func (s *Server) setTopicAttributes(f form) (element, error) {
	t, err := s.findTopic(f.get("TopicArn"))
	if err != nil {
		return element{}, err
	}
	name, value := f.get("AttributeName"), f.get("AttributeValue")
	if name == "FifoTopic" {
		return element{}, invalidParameter("AttributeName")
	}
	if err := checkTopicAttributes(t.fifo, map[string]string{name: value}); err != nil {
		return element{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.attributes = maps.Clone(t.attributes)
	t.attributes[name] = value
	return element{}, nil
}
