package eventbridge_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/eventbridge"
)

// A batch beyond the limit would be refused, and split, every time.
func TestABusInChinaTakesLessThan256KB(t *testing.T) {
	t.Parallel()
	for arn, want := range map[string]int{
		"arn:aws:events:eu-central-1:123456789012:event-bus/orders":  1<<20 - 1,
		"arn:aws-cn:events:cn-north-1:123456789012:event-bus/orders": 256<<10 - 1,
	} {
		limits := eventbridge.ExpectedLimits(sink.Destination{Service: sink.EventBridge, ARN: arn}, sink.Options{})
		if limits.MaxMessageBytes != want || limits.MaxBatchBytes != want {
			t.Errorf("%s: %d bytes an event and %d a request, want %d",
				arn, limits.MaxMessageBytes, limits.MaxBatchBytes, want)
		}
	}
}
