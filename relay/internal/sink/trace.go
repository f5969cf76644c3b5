package sink

import (
	"regexp"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// traceHeader is an X-Ray header in the form that AWS services use. SQS might refuse another one,
// and the message with it.
//
// https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
var traceHeader = regexp.MustCompile(
	`^Root=1-[0-9a-f]{8}-[0-9a-f]{24}(;Parent=[0-9a-f]{16})?(;Sampled=[01?])?(;Lineage=[0-9A-Za-z:.]+)?$`,
)

// Trace returns the attribute with the X-Ray trace, or nil. SQS carries it as the system attribute
// AWSTraceHeader, so that the work of a Lambda consumer belongs to the trace. It counts neither as
// one of the attributes nor in the size. A message through SNS has no place for it.
//
// https://docs.aws.amazon.com/xray/latest/devguide/xray-services-sqs.html
func Trace(attributes []Attribute) *Attribute {
	for i := range attributes {
		if a := &attributes[i]; a.Name == outbox.HeaderXRay && traceHeader.MatchString(a.Value) {
			return a
		}
	}
	return nil
}
