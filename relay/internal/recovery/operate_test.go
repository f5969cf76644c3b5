package recovery_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// TestImportedRowsAreKnownByTheirWriter: an imported row can carry the id of a transaction that
// runs here, or an id that has the last 32 bits of one in common.
func TestImportedRowsAreKnownByTheirWriter(t *testing.T) {
	t.Parallel()
	pool := newTable(t, 0, 0)
	running, err := pool.Begin(t.Context())
	must(t, err)
	defer running.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // it writes nothing
	var runs int64
	must(t, running.QueryRow(t.Context(), `SELECT pg_current_xact_id()::text::bigint`).Scan(&runs))
	insert := func(aggregate, xid string) {
		_, err := pool.Exec(t.Context(), `
			INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, xid)
			SELECT gen_random_uuid(), 'order', $1, 't', '{}', (`+xid+`)::text::xid8
			FROM (SELECT $2::bigint) AS running (xid)`, pgx.QueryExecModeSimpleProtocol, aggregate, runs)
		must(t, err)
	}
	insert("own", `pg_current_xact_id()`)
	insert("of a transaction that runs", `running.xid`)
	insert("of the next", `running.xid + 1`)
	insert("far ahead", `running.xid + 1000000`)
	insert("an epoch ahead", `pg_current_xact_id()::text::bigint + (1::bigint << 32)`)
	own := xidOf(t, pool.QueryRow(t.Context(), `SELECT xid::text FROM outbox_events WHERE aggregate_id = 'own'`))

	o := newOperator(pool)
	request := recovery.Request{Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	situation, err := o.Look(t.Context())
	must(t, err)
	plan, err := o.Plan(t.Context(), situation, request)
	must(t, err)
	var changed int64
	must(t, o.Mark(t.Context(), situation, request, plan, func(rows int64) { changed = rows }))

	if changed != 4 {
		t.Errorf("%d rows were changed, want 4", changed)
	}
	now := xidOf(t, pool.QueryRow(t.Context(), `SELECT xid::text FROM outbox_events WHERE aggregate_id = 'own'`))
	if now != own {
		t.Errorf("the row of this cluster had transaction %s, now %s", own, now)
	}
	var invisible int
	must(t, pool.QueryRow(t.Context(), `
		SELECT count(*) FROM outbox_events
		WHERE NOT pg_visible_in_snapshot(xid, pg_current_snapshot())`).Scan(&invisible))
	if invisible != 0 {
		t.Errorf("%d rows are not visible in a snapshot of this cluster", invisible)
	}
}

// TestRowsWithRewrittenXIDsAreRecovered: the horizon of a running relay covers the new ids at once.
func TestRowsWithRewrittenXIDsAreRecovered(t *testing.T) {
	t.Parallel()
	for name, relay := range map[string]string{
		"a relay that streams": `UPDATE relay_checkpoints SET horizon = pg_current_snapshot() WHERE epoch = 1`,
		"a relay that recovers": `
			UPDATE relay_checkpoints SET horizon = pg_current_snapshot(), recover_from = NULL, epoch = epoch + 1`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := newTable(t, 0, 0)
			for _, sql := range []string{
				`INSERT INTO relay_checkpoints (slot_name, outbox_table, epoch, system_identifier, horizon)
				SELECT 'recovered', 'public.outbox_events', 1, system_identifier::text, pg_current_snapshot()
				FROM pg_control_system()`,
				`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, xid)
				SELECT gen_random_uuid(), 'order', '1', 't', '{}',
					(pg_current_xact_id()::text::bigint + 1000000)::text::xid8`,
			} {
				_, err := pool.Exec(t.Context(), sql)
				must(t, err)
			}
			o := newOperator(pool)
			situation, err := o.Look(t.Context())
			must(t, err)
			plan, err := o.Plan(t.Context(), situation, recovery.Request{})
			must(t, err)
			must(t, o.Mark(t.Context(), situation, recovery.Request{}, plan, func(int64) {
				_, err := pool.Exec(t.Context(), relay)
				must(t, err)
			}))
			var published bool
			must(t, pool.QueryRow(t.Context(), `
				SELECT pg_visible_in_snapshot(e.xid, pg_current_snapshot())
					AND NOT pg_visible_in_snapshot(e.xid, c.recover_from)
				FROM outbox_events e, relay_checkpoints c`).Scan(&published))
			if !published {
				t.Error("the recovery misses the row")
			}
		})
	}
}

func newOperator(pool *pgxpool.Pool) recovery.Operator {
	return recovery.Operator{
		Pool: pool, Slot: "recovered", Table: table,
		Publication: slot.Publication{Name: "outbox_pub", Table: "public.outbox_events"},
	}
}

func xidOf(t *testing.T, row pgx.Row) (xid string) {
	t.Helper()
	must(t, row.Scan(&xid))
	return xid
}
