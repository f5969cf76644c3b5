package infra_test

import (
	"slices"
	"strconv"
	"strings"
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

// TestConsumerReadsTheBucketOfTheRelay: the function has the setting and the permission whenever
// the relay has the bucket.
func TestConsumerReadsTheBucketOfTheRelay(t *testing.T) {
	t.Parallel()
	whole := read(t, root)
	consumer := whole.resources["CreateShipmentFunction"].properties
	if field(consumer, "Environment", "Variables", "LARGE_EVENTS_BUCKET", "Ref") != "RelayLargeEventsBucket" {
		t.Errorf("the function has the variables %v", field(consumer, "Environment", "Variables"))
	}
	reads := map[string]bool{}
	for _, s := range statementsOf(consumer["Policies"]) {
		for _, action := range s.actions {
			reads[action+" "+strings.Join(s.resources, " ")] = true
		}
	}
	for _, may := range []string{
		"s3:GetObject arn:${AWS::Partition}:s3:::${RelayLargeEventsBucket}/*", "kms:Decrypt RelayKmsKeyArns",
	} {
		if !reads[may] {
			t.Errorf("the function may not %s, only %v", may, reads)
		}
	}
}
