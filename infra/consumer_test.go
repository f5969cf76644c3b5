package infra_test

import (
	"slices"
	"strconv"
	"testing"
)

// TestConsumerQueueFitsItsFunction: Lambda deletes failed messages of a mapping that does not
// report them. A visibility timeout below six times that of the function delivers messages that are
// still in progress. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
func TestConsumerQueueFitsItsFunction(t *testing.T) {
	t.Parallel()
	whole, consumer := read(t, root), read(t, "consumer.yaml")
	mapping := whole.resources["ShipmentsMapping"].properties
	if !slices.Equal(texts(mapping["FunctionResponseTypes"]), []string{"ReportBatchItemFailures"}) {
		t.Errorf("the mapping has the response types %v", mapping["FunctionResponseTypes"])
	}
	if field(mapping, "FunctionName", "Ref") != "CreateShipmentFunction" ||
		field(mapping, "EventSourceArn", "Fn::GetAtt") != "Shipments.Outputs.QueueArn" || mapping["BatchSize"] != 10 {
		t.Errorf("the mapping is %v", mapping)
	}
	timeout, _ := whole.resources["CreateShipmentFunction"].properties["Timeout"].(int)
	visibility, err := strconv.Atoi(consumer.defaultOf("VisibilityTimeout"))
	if err != nil || timeout == 0 || visibility < 6*timeout {
		t.Errorf("the function may take %d s, and a message is invisible for %d s (%v)", timeout, visibility, err)
	}
	// The subscription has to let through what the function ships.
	if consumer.defaultOf("EventType") != "order.created" {
		t.Errorf("the subscription lets %s through", consumer.defaultOf("EventType"))
	}
	for _, name := range []string{"CreateShipmentFunction", "ShipmentsMapping", "Shipments"} {
		if whole.resources[name].condition != "MakeEvents" {
			t.Errorf("%s exists without a topic of this stack", name)
		}
	}
}
