package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// TestReportOfFailuresIsReadAsLambdaDoes: an answer that is not understood fails the whole batch,
// because Lambda would deliver it again.
func TestReportOfFailuresIsReadAsLambdaDoes(t *testing.T) {
	t.Parallel()
	batch := []types.Message{{MessageId: aws.String("1")}, {MessageId: aws.String("2")}}
	for answer, want := range map[string]string{
		``: "", `null`: "", `{}`: "", `{"batchItemFailures":null}`: "", `{"batchItemFailures":[]}`: "",
		`{"batchItemFailures":[{"itemIdentifier":"2"}]}`:                        "2",
		`{"batchItemFailures":[{"itemIdentifier":"2"},{"itemIdentifier":"1"}]}`: "1 2",
		`{"batchItemFailures":[{"itemIdentifier":"3"}]}`:                        "error",
		`{"batchItemFailures":[{"itemIdentifier":""}]}`:                         "error",
		`{"batchItemFailures":[{"itemIdentifier":null}]}`:                       "error",
		`{"batchItemFailures":[{"id":"1"}]}`:                                    "error",
		`"done"`:                                                                "error",
		`{"batchItemFailures":`:                                                 "error",
	} {
		failed, err := failedMessages([]byte(answer), batch)
		got := strings.Join(slices.Sorted(maps.Keys(failed)), " ")
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %q, want %q (%v)", answer, got, want, err)
		}
	}
}

func TestMappingIsReadFromTheTemplate(t *testing.T) {
	t.Parallel()
	const text = `
Resources:
  Reader: { Type: AWS::Serverless::Function, Properties: {} }
  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      FunctionName: !Ref Reader
      EventSourceArn: %s
      BatchSize: %s
      FunctionResponseTypes: %s
`
	for _, c := range []struct {
		size, types string
		want        mapping
	}{
		{"5", "[ReportBatchItemFailures]", mapping{"Queue.Arn", 5, true}},
		{"10000", "[]", mapping{"Queue.Arn", 10, false}},
	} {
		functions, err := parseTemplate(fmt.Appendf(nil, text, "!GetAtt Queue.Arn", c.size, c.types))
		if err != nil || len(functions) != 1 || len(functions[0].mappings) != 1 || functions[0].mappings[0] != c.want {
			t.Errorf("%+v, %v, want %+v", functions, err, c.want)
		}
	}
	_, err := parseTemplate(fmt.Appendf(nil, text, "arn:aws:sqs:us-east-1:000000000000:other", "1", "[]"))
	if err == nil || !strings.Contains(err.Error(), "Mapping") {
		t.Errorf("an ARN that is not understood: %v", err)
	}
}
