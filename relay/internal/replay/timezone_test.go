package replay

import (
	"strings"
	"testing"
	"time"
)

// A time without a zone is read as UTC, and the replay would send the events of other hours.
func TestReplaySinceNeedsATimeZone(t *testing.T) {
	t.Parallel()
	r := newFixture(t, 1, 0)
	r.exec(`ALTER TABLE outbox_events ALTER created_at TYPE timestamp`)
	since := time.Now().Add(-time.Hour)
	for _, s := range []Selection{{Since: &since}, {Until: &since}} {
		if _, err := r.operator.Plan(t.Context(), s, "3:3:"); err == nil ||
			!strings.Contains(err.Error(), "has no time zone") {
			t.Errorf("the plan says: %v", err)
		}
	}
	_, err := r.operator.Plan(t.Context(), Selection{AggregateType: one("order")}, "3:3:")
	r.must(err)
}
