package pause

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Operator requests and ends the pause of one destination.
type Operator struct {
	Pool        *pgxpool.Pool
	Slot        string
	Destination string // its ARN
}

// Begin requests the pause. It reports false if the destination is paused already.
func (o Operator) Begin(ctx context.Context, reason string) (began bool, err error) {
	tag, err := o.Pool.Exec(ctx, `
		INSERT INTO outbox_pauses (slot_name, destination, reason) VALUES ($1, $2, $3)
		ON CONFLICT (slot_name, destination) DO NOTHING`, o.Slot, o.Destination, reason)
	if err != nil {
		return false, fmt.Errorf("pause %s: %w", o.Destination, err)
	}
	return tag.RowsAffected() > 0, nil
}

// End ends the pause. It reports false if the destination is not paused.
func (o Operator) End(ctx context.Context) (ended bool, err error) {
	tag, err := o.Pool.Exec(ctx, `DELETE FROM outbox_pauses WHERE slot_name = $1 AND destination = $2`,
		o.Slot, o.Destination)
	if err != nil {
		return false, fmt.Errorf("resume %s: %w", o.Destination, err)
	}
	return tag.RowsAffected() > 0, nil
}

// Progress says how far the relay is with a pause, or with the events that wait after one.
type Progress struct {
	Since    *time.Time // of the pause; nil if there is none
	InEffect bool       // the pause is in effect
	Waits    bool       // events of the destination wait in the outbox table
	Events   int64      // about how many
}

// Look reads the progress.
func (o Operator) Look(ctx context.Context) (p Progress, err error) {
	err = o.Pool.QueryRow(ctx, `
		SELECT p.paused_at, p.taken_at IS NOT NULL, d.waits, d.events
		FROM (SELECT count(*) > 0, coalesce(sum(events), 0)::bigint FROM outbox_deferrals
			WHERE slot_name = $1 AND destination = $2 AND aggregate_id = '' AND state = 'deferred') AS d (waits, events)
		LEFT JOIN outbox_pauses p ON p.slot_name = $1 AND p.destination = $2`, o.Slot, o.Destination).
		Scan(&p.Since, &p.InEffect, &p.Waits, &p.Events)
	if err != nil {
		return p, fmt.Errorf("look at the events that wait for %s: %w", o.Destination, err)
	}
	return p, nil
}
