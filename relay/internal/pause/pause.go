// Package pause stores the requests of an operator to send nothing to a destination for a while.
// The relay that holds the slot reads them. Package deferral lets the events of a paused
// destination wait in the outbox table.
package pause

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pause is a row of outbox_pauses.
type Pause struct {
	Destination string // its ARN
	Reason      string // in the words of the operator; may be empty
	Since       time.Time
	// InEffectSince is the time at which the last request to the destination had ended and its
	// events waited in the outbox table. It is nil before that.
	InEffectSince *time.Time
}

// List returns the pauses of a slot, in the order of their destinations.
func List(ctx context.Context, pool *pgxpool.Pool, slot string) ([]Pause, error) {
	rows, err := pool.Query(ctx, `
		SELECT destination, reason, paused_at, taken_at FROM outbox_pauses WHERE slot_name = $1
		ORDER BY destination`, slot)
	if err != nil {
		return nil, fmt.Errorf("read the paused destinations of slot %s: %w", slot, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Pause])
	if err != nil {
		return nil, fmt.Errorf("read the paused destinations of slot %s: %w", slot, err)
	}
	return all, nil
}

// Confirm records that a pause is in effect. A pause that has ended meanwhile is no error.
func Confirm(ctx context.Context, pool *pgxpool.Pool, slot, destination string) error {
	_, err := pool.Exec(ctx, `
		UPDATE outbox_pauses SET taken_at = clock_timestamp()
		WHERE slot_name = $1 AND destination = $2 AND taken_at IS NULL`, slot, destination)
	if err != nil {
		return fmt.Errorf("record that %s is paused: %w", destination, err)
	}
	return nil
}
