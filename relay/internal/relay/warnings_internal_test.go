package relay

import (
	"errors"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
)

// TestAnEndedSessionLeavesNoWarning: no part of a session retries once the session has ended.
func TestAnEndedSessionLeavesNoWarning(t *testing.T) {
	t.Parallel()
	s := &session{relay: &relay{Config: Config{Health: health.New(metrics.New())}}}
	s.Health.Enter(health.Streaming)
	for _, part := range []string{"audit", "deferral", "partitions", "replay"} {
		s.retries(part)(errors.New("the database refuses the statement"))
	}
	s.Health.Warn("the slot is in danger")
	if all := s.Health.Now().Warnings; len(all) != 5 {
		t.Fatalf("warnings of a session: %q", all)
	}
	s.endWarnings()
	if all := s.Health.Now().Warnings; len(all) > 0 {
		t.Errorf("warnings after the session: %q", all)
	}
}
