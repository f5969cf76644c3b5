package fakeaws

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/queue"
)

// maxMessageBytes bounds a message and the sum of a SendMessageBatch, and is the default of
// MaximumMessageSize.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
const maxMessageBytes = 1 << 20

var queueNames = regexp.MustCompile(`^([A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo)$`)

// queueDefaults are the default attributes of a queue.
var queueDefaults = map[string]string{
	"VisibilityTimeout": "30", "MaximumMessageSize": strconv.Itoa(maxMessageBytes), "MessageRetentionPeriod": "345600",
	"DelaySeconds": "0", "ReceiveMessageWaitTimeSeconds": "0", "SqsManagedSseEnabled": "true",
}

var fifoDefaults = map[string]string{
	"ContentBasedDeduplication": "false", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue",
}

// attributeRanges are the bounds of the numeric attributes.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
var attributeRanges = map[string][2]int{
	"VisibilityTimeout": {0, 43200}, "MaximumMessageSize": {1024, maxMessageBytes}, "DelaySeconds": {0, 900},
	"MessageRetentionPeriod": {60, 1209600}, "ReceiveMessageWaitTimeSeconds": {0, 20},
	"KmsDataKeyReusePeriodSeconds": {60, 86400},
}

var attributeChoices = map[string][]string{
	"FifoQueue": {"true"}, "ContentBasedDeduplication": {"true", "false"}, "SqsManagedSseEnabled": {"true", "false"},
	"DeduplicationScope": {"queue", "messageGroup"}, "FifoThroughputLimit": {"perQueue", "perMessageGroupId"},
}

var freeAttributes = []string{"KmsMasterKeyId", "Policy", "RedriveAllowPolicy"}

type redrivePolicy struct {
	DeadLetterTargetARN string `json:"deadLetterTargetArn"`
	// MaxReceiveCount is a number or a string, because clients send either.
	MaxReceiveCount json.RawMessage `json:"maxReceiveCount"`
}

func (p redrivePolicy) maxReceiveCount() int {
	n, _ := strconv.Atoi(strings.Trim(string(p.MaxReceiveCount), `"`))
	return n
}

// checkQueueAttributes checks new attributes of a queue.
func (s *Server) checkQueueAttributes(fifo bool, attributes map[string]string) error {
	for name, value := range attributes {
		if value == "" && name != "FifoQueue" { // AWS removes the attribute
			continue
		}
		if err := s.checkQueueAttribute(fifo, name, value); err != nil {
			return err
		}
	}
	if attributes["FifoThroughputLimit"] == "perMessageGroupId" && attributes["DeduplicationScope"] != "messageGroup" {
		return invalidValue("The perMessageGroupId value for FifoThroughputLimit is allowed only when the value for " +
			"DeduplicationScope is messageGroup.")
	}
	return nil
}

func (s *Server) checkQueueAttribute(fifo bool, name, value string) error {
	if bounds, ok := attributeRanges[name]; ok {
		n, err := strconv.Atoi(value)
		if err != nil || n < bounds[0] || n > bounds[1] {
			return sqsError("InvalidAttributeValue", "Invalid value for the parameter %s.", name)
		}
		return nil
	}
	_, onlyFIFO := fifoDefaults[name]
	choices, known := attributeChoices[name]
	switch {
	case (onlyFIFO || name == "FifoQueue") && !fifo:
		return sqsError("InvalidAttributeName", "Unknown Attribute %s.", name)
	case known && !slices.Contains(choices, value):
		return sqsError("InvalidAttributeValue", "Invalid value for the parameter %s.", name)
	case known || slices.Contains(freeAttributes, name):
		return nil
	case name == "RedrivePolicy":
		return s.checkRedrivePolicy(fifo, value)
	}
	return sqsError("InvalidAttributeName", "Unknown Attribute %s.", name)
}

func (s *Server) checkRedrivePolicy(fifo bool, text string) error {
	var policy redrivePolicy
	if json.Unmarshal([]byte(text), &policy) != nil || policy.maxReceiveCount() < 1 || policy.maxReceiveCount() > 1000 {
		return invalidValue("Value %s for parameter RedrivePolicy is invalid. Reason: Invalid value for "+
			"maxReceiveCount: valid values are from 1 to 1000 both inclusive.", text)
	}
	target := s.queueByARN(policy.DeadLetterTargetARN)
	if target == nil || target.fifo != fifo {
		return invalidValue("Value %s for parameter RedrivePolicy is invalid. Reason: Dead letter target does not "+
			"exist or is not of the queue's type.", text)
	}
	return nil
}

// settings converts attributes to the settings of a queue.
func (s *Server) settings(q *sqsQueue, attributes map[string]string) queue.Settings {
	settings := queue.Settings{
		FIFO:               q.fifo,
		DeduplicateByGroup: attributes["DeduplicationScope"] == "messageGroup",
		Delay:              time.Duration(seconds(attributes["DelaySeconds"])) * time.Second,
		VisibilityTimeout:  time.Duration(seconds(attributes["VisibilityTimeout"])) * time.Second,
	}
	var policy redrivePolicy
	if text := attributes["RedrivePolicy"]; text != "" && json.Unmarshal([]byte(text), &policy) == nil {
		settings.MaxReceiveCount = policy.maxReceiveCount()
		settings.DeadLetter = func(messages []*Message) { s.deadLetter(q.arn, policy.DeadLetterTargetARN, messages) }
	}
	return settings
}

// deadLetter moves messages to the queue target. As on AWS they keep their ids.
func (s *Server) deadLetter(source, target string, messages []*Message) {
	to := s.queueByARN(target)
	if to == nil {
		return // the dead-letter queue was deleted: AWS drops the messages too
	}
	for _, m := range messages {
		moved := *m
		moved.DeadLetterFrom, moved.Delay = source, 0
		to.messages.Send(&moved)
	}
}

// fullAttributes returns the defaults of a queue, overridden by attributes.
func fullAttributes(fifo bool, attributes map[string]string) map[string]string {
	full := maps.Clone(queueDefaults)
	if fifo {
		maps.Copy(full, fifoDefaults)
	}
	maps.Copy(full, attributes)
	return full
}
