package fakeaws

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/filter"
)

func (s *Server) subscribe(f form) (element, error) {
	t, err := s.findTopic(f.get("TopicArn"))
	if err != nil {
		return element{}, err
	}
	if f.get("Protocol") != "sqs" {
		return element{}, invalidParameter("Protocol Reason: fakeaws delivers to the protocol sqs only")
	}
	sub, err := s.newSubscription(t, f.get("Endpoint"), f.entries("Attributes"))
	if err != nil {
		return element{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, existing := range t.subscriptions {
		if existing.queueARN != sub.queueARN {
			continue
		}
		if !maps.Equal(existing.attributes, sub.attributes) {
			return element{}, invalidParameter("Attributes Reason: Subscription already exists with different " +
				"attributes")
		}
		return text("SubscriptionArn", existing.arn), nil
	}
	t.subscriptions = append(t.subscriptions, sub)
	return text("SubscriptionArn", sub.arn), nil
}

func (s *Server) newSubscription(t *topic, queueARN string, attributes map[string]string) (*subscription, error) {
	q := s.queueByARN(queueARN)
	if q == nil {
		return nil, invalidParameter("SQS endpoint ARN")
	}
	if q.fifo && !t.fifo {
		return nil, invalidParameter("Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to " +
			"standard SNS topics")
	}
	sub := &subscription{arn: t.arn + ":" + s.identify.uuid(), queueARN: queueARN, attributes: attributes}
	for name, value := range attributes {
		if err := sub.set(name, value); err != nil {
			return nil, err
		}
	}
	return sub, nil
}

func (sub *subscription) set(name, value string) error {
	switch name {
	case "RawMessageDelivery":
		sub.raw = value == "true"
		if value != "true" && value != "false" {
			return invalidParameter("Attributes Reason: RawMessageDelivery: Invalid value [%s]. Must be true or false.",
				value)
		}
	case "FilterPolicy":
		policy, err := filter.Parse(value)
		if err != nil {
			return invalidParameter("Attributes Reason: FilterPolicy: %v", err)
		}
		sub.policy = policy
	case "FilterPolicyScope":
		if value != "MessageAttributes" {
			return invalidParameter("Attributes Reason: FilterPolicyScope: fakeaws filters on MessageAttributes only")
		}
	case "RedrivePolicy":
		var policy redrivePolicy
		if json.Unmarshal([]byte(value), &policy) != nil || policy.DeadLetterTargetARN == "" {
			return invalidParameter("Attributes Reason: RedrivePolicy: no deadLetterTargetArn")
		}
		sub.deadLetterARN = policy.DeadLetterTargetARN
	default:
		return invalidParameter("AttributeName")
	}
	return nil
}

func (s *Server) unsubscribe(f form) (element, error) {
	arn := f.get("SubscriptionArn")
	s.mu.RLock()
	topics := slices.Collect(maps.Values(s.topics))
	s.mu.RUnlock()
	for _, t := range topics {
		t.mu.Lock()
		t.subscriptions = slices.DeleteFunc(t.subscriptions, func(sub *subscription) bool { return sub.arn == arn })
		t.mu.Unlock()
	}
	return element{}, nil // a subscription that does not exist is no error
}

func (s *Server) listSubscriptionsByTopic(f form) (element, error) {
	t, err := s.findTopic(f.get("TopicArn"))
	if err != nil {
		return element{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var members []element
	for _, sub := range t.subscriptions {
		members = append(members, list("member", text("SubscriptionArn", sub.arn), text("Owner", s.options.Account),
			text("Protocol", "sqs"), text("Endpoint", sub.queueARN), text("TopicArn", t.arn)))
	}
	return list("Subscriptions", members...), nil
}
