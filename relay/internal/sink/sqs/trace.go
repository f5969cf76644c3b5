package sqs

import (
	"regexp"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// traceHeader is a header of X-Ray in the form that services of AWS give it. Another one might be refused, and the message
// with it.
// https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
var traceHeader = regexp.MustCompile(`^Root=1-[0-9a-f]{8}-[0-9a-f]{24}(;Parent=[0-9a-f]{16})?(;Sampled=[01?])?(;Lineage=[0-9A-Za-z:.]+)?$`)

// trace returns the attribute with the trace of X-Ray, or nil. A message carries it on as the system attribute
// AWSTraceHeader, so that what a consumer on Lambda does belongs to it. It counts neither as one of the attributes nor in
// the size. A message through SNS has no place for one of its own.
// https://docs.aws.amazon.com/xray/latest/devguide/xray-services-sqs.html
func trace(attributes []sink.Attribute) *sink.Attribute {
	for i := range attributes {
		if a := &attributes[i]; a.Name == outbox.HeaderXRay && traceHeader.MatchString(a.Value) {
			return a
		}
	}
	return nil
}
