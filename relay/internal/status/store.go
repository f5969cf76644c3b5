package status

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// forgetAfter is how long the last report of a relay is kept.
const forgetAfter = 24 * time.Hour

// save stores the report of a relay. Each relay writes its own row, so no fence is necessary.
func save(ctx context.Context, pool *pgxpool.Pool, slotName string, r Report) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("report the relay's state: %w", err)
	}
	_, err = pool.Exec(ctx, `
		INSERT INTO relay_instances (slot_name, instance, started_at, report)
		VALUES ($1, $2, $3, ($4::jsonb || pg_catalog.jsonb_build_object('role', current_user))::json)
		ON CONFLICT (slot_name, instance) DO UPDATE SET report = excluded.report, reported_at = clock_timestamp()`,
		slotName, r.Instance, r.StartedAt, string(text))
	if err != nil {
		return fmt.Errorf("report the relay's state: %w", err)
	}
	return nil
}

// forget removes the reports of relays that have not reported for a day.
func forget(ctx context.Context, pool *pgxpool.Pool, slotName string) error {
	_, err := pool.Exec(ctx, `
		DELETE FROM relay_instances
		WHERE slot_name = $1 AND reported_at < clock_timestamp() - $2::interval`,
		slotName, fmt.Sprintf("%d seconds", int(forgetAfter.Seconds())))
	if err != nil {
		return fmt.Errorf("remove old reports: %w", err)
	}
	return nil
}

// load returns the relays of a slot, the latest report first.
func load(ctx context.Context, pool *pgxpool.Pool, slotName string) ([]Relay, error) {
	rows, err := pool.Query(ctx, `
		SELECT report, reported_at, clock_timestamp() - reported_at FROM relay_instances WHERE slot_name = $1
		ORDER BY reported_at DESC`, slotName)
	if err != nil {
		return nil, fmt.Errorf("read the reports of the relays: %w", err)
	}
	relays, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Relay, err error) {
		var silent time.Duration
		err = row.Scan(&r.Report, &r.ReportedAt, &silent)
		r.SilentSeconds = silent.Seconds()
		r.setClock(r.ReportedAt)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the reports of the relays: %w", err)
	}
	return relays, nil
}
