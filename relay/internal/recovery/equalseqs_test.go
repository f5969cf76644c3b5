package recovery_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// A page ends by the number of its rows, or by their bytes.
func TestPagesHaveAllRowsOfTheirLastSeq(t *testing.T) {
	t.Parallel()
	for name, bytes := range map[string]int{"many rows": 10, "large rows": 900_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows := 450
			if bytes > 1000 {
				rows = 24
			}
			pool := newTable(t, 0, 0)
			_, err := pool.Exec(t.Context(), `DROP INDEX outbox_events_seq_key`)
			must(t, err)
			_, err = pool.Exec(t.Context(), `
				INSERT INTO outbox_events (id, seq, aggregate_type, aggregate_id, event_type, payload)
				OVERRIDING SYSTEM VALUE
				SELECT gen_random_uuid(), i / 3, 'order', i::text, 'order.created',
					to_json(repeat('x', CASE i % 3 WHEN 0 THEN $2 ELSE 10 END))
				FROM generate_series(1, $1) AS i`, pgx.QueryExecModeSimpleProtocol, rows, bytes)
			must(t, err)
			read := map[string]int{}
			err = recovery.NewReader(pool, "recovered", table).Each(t.Context(), everything(t, pool), 0,
				func(_ int64, e *outbox.Envelope) error {
					read[e.AggregateID]++
					return nil
				})
			must(t, err)
			if len(read) != rows {
				t.Errorf("read %d of %d rows", len(read), rows)
			}
		})
	}
}
