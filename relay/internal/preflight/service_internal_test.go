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
	bus := sink.Destination{
		Service: "events", ARN: "arn:aws:events:eu-central-1:123456789012:event-bus/orders",
		Region: "eu-central-1", Account: "123456789012", Name: "event-bus/orders",
	}
	d := &destinations{}
	const refusal = `the relay has no sink for "events"`
	if _, err := d.open(t.Context(), bus); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("opened: %v", err)
	}
	if _, err := d.lazy(bus); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("opened by its first event: %v", err)
	}
}
