package preflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// permissions are the IAM actions that the relay needs of a service.
var permissions = map[sink.Service]string{
	sink.SNS: "sns:Publish and sns:GetTopicAttributes",
	sink.SQS: "sqs:SendMessage, sqs:GetQueueAttributes and sqs:GetQueueUrl",

	sink.EventBridge: "events:PutEvents and events:DescribeEventBus",
}

// nouns are the words for a destination of each service.
var nouns = map[sink.Service]string{sink.SNS: "topic", sink.SQS: "queue", sink.EventBridge: "event bus"}

// consumers are the parts of a new destination without which AWS accepts each event and drops it.
var consumers = map[sink.Service]string{
	sink.SNS: " and its subscriptions before the relay runs", sink.EventBridge: " and its rules before the relay runs",
}

// refusal is the finding of a destination that cannot be opened.
func (d *destinations) refusal(destination sink.Destination, err error) Finding {
	name, kind, place := destination.String(), nouns[destination.Service], d.place(destination)
	object := "destination " + name
	fail := func(format string, args ...any) Finding {
		return failed(CodeDestination, object, "%s %s "+format, append([]any{kind, name}, args...)...).because(err)
	}
	switch code := sink.Code(err); code {
	case "NotFound", "QueueDoesNotExist", "NonExistentQueue", "ResourceNotFoundException":
		return fail("does not exist %s: create it%s, or change RELAY_DESTINATION or RELAY_ROUTES", place,
			consumers[destination.Service]).
			with("%s", d.creation(destination))
	case "AuthorizationError", "AccessDenied", "AccessDeniedException":
		return fail("may not be read (%s): the role of the relay needs %s", code, permissions[destination.Service])
	case "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "ExpiredToken",
		"InvalidAccessKeyId":
		return fail("refuses the credentials (%s) %s: check AWS_PROFILE, AWS_ACCESS_KEY_ID and "+
			"AWS_SECRET_ACCESS_KEY, or the role of the task, and AWS_ENDPOINT_URL", code, place)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fail("did not answer within %v %s: check AWS_ENDPOINT_URL, AWS_REGION and the network", limit, place)
	}
	return fail("cannot be opened %s: %v", place, err)
}

// place describes where the relay looked for a destination.
func (d *destinations) place(destination sink.Destination) string {
	region := cmp.Or(destination.Region, d.AWS.Region)
	if d.AWS.BaseEndpoint == nil {
		return "in region " + region
	}
	return fmt.Sprintf("at %s (%s)", *d.AWS.BaseEndpoint, region)
}

// creation returns the command that creates a destination.
func (d *destinations) creation(destination sink.Destination) string {
	command := fmt.Sprintf("aws sns create-topic --name %s", destination.Name)
	fifo := " --attributes FifoTopic=true"
	switch destination.Service {
	case sink.EventBridge:
		command = fmt.Sprintf("aws events create-event-bus --name %s", destination.Name)
	case sink.SQS:
		command = fmt.Sprintf("aws sqs create-queue --queue-name %s", destination.Name)
		fifo = " --attributes FifoQueue=true,DeduplicationScope=messageGroup,FifoThroughputLimit=perMessageGroupId"
	}
	if destination.FIFO {
		command += fifo
	}
	if region := cmp.Or(destination.Region, d.AWS.Region); region != "" {
		command += " --region " + region
	}
	if d.AWS.BaseEndpoint != nil {
		command += " --endpoint-url " + *d.AWS.BaseEndpoint
	}
	return command
}
