package recovery_test

import (
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
)

// A time without a zone is read as UTC, and rows of the last hours would count as delivered.
func TestRecoverySinceNeedsATimeZone(t *testing.T) {
	t.Parallel()
	pool := newTable(t, 1, 0)
	_, err := pool.Exec(t.Context(), `CREATE DOMAIN moment AS timestamp;
		ALTER TABLE outbox_events ALTER created_at TYPE moment`)
	must(t, err)
	o := newOperator(pool)
	situation, err := o.Look(t.Context())
	must(t, err)
	_, err = o.Plan(t.Context(), situation, recovery.Request{Since: time.Now().Add(-time.Hour)})
	if err == nil || !strings.Contains(err.Error(), "has no time zone") {
		t.Errorf("the plan says: %v", err)
	}
}
