package preflight

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// TestAServiceWithoutASinkIsRefused: it is not opened as a queue, whether by its name in the
// settings or by a pattern.
func TestAServiceWithoutASinkIsRefused(t *testing.T) {
	t.Parallel()
	stream := sink.Destination{
		Service: "kinesis", ARN: "arn:aws:kinesis:eu-central-1:123456789012:stream/orders",
		Region: "eu-central-1", Account: "123456789012", Name: "orders",
	}
	d := &destinations{}
	const refusal = `the relay has no sink for "kinesis"`
	if _, err := d.open(t.Context(), stream); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("opened: %v", err)
	}
	if _, err := d.lazy(stream); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("opened by its first event: %v", err)
	}
}
