package gateway

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mapping is an event source mapping: Lambda reads a queue and invokes a function with its
// messages. https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html
type mapping struct {
	source    string // the attribute in !GetAtt that has the ARN of the queue
	batchSize int
	partial   bool // the function reports the messages that failed
}

const reportsFailures = "ReportBatchItemFailures"

// maxBatch is the largest batch of a FIFO queue, and the most messages of one ReceiveMessage.
const maxBatch = 10

type mappingProperties struct {
	FunctionName          yaml.Node `yaml:"FunctionName"`
	EventSourceArn        yaml.Node `yaml:"EventSourceArn"`
	BatchSize             yaml.Node `yaml:"BatchSize"`
	FunctionResponseTypes []string  `yaml:"FunctionResponseTypes"`
}

// mappings returns the event source mappings of the template by the logical id of their function.
func (t *samTemplate) mappings() (map[string][]mapping, error) {
	found := map[string][]mapping{}
	for name, resource := range t.Resources {
		if resource.Type != "AWS::Lambda::EventSourceMapping" {
			continue
		}
		var properties mappingProperties
		if err := resource.Properties.Decode(&properties); err != nil {
			return nil, fmt.Errorf("event source mapping %s: %w", name, err)
		}
		m, err := t.mapping(properties)
		if err != nil {
			return nil, fmt.Errorf("event source mapping %s: %w", name, err)
		}
		function := properties.FunctionName.Value
		found[function] = append(found[function], m)
	}
	return found, nil
}

func (t *samTemplate) mapping(properties mappingProperties) (mapping, error) {
	if properties.FunctionName.Tag != "!Ref" || properties.EventSourceArn.Tag != "!GetAtt" {
		return mapping{}, fmt.Errorf("only a !Ref to a function and a !GetAtt of a queue's ARN are understood")
	}
	size, err := t.integer("BatchSize", maxBatch, properties.BatchSize)
	if err != nil {
		return mapping{}, err
	}
	return mapping{
		source:    properties.EventSourceArn.Value,
		batchSize: min(size, maxBatch),
		partial:   slices.Contains(properties.FunctionResponseTypes, reportsFailures),
	}, nil
}

// queueNameOf returns the last part of a queue's ARN.
func queueNameOf(arn string) string { return arn[strings.LastIndex(arn, ":")+1:] }
