package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/control"
)

// MarshalJSON implements [encoding/json.Marshaler]. An unknown slot has only its name, so that no
// reader takes it for one that is gone.
func (s Slot) MarshalJSON() ([]byte, error) {
	type known Slot
	if s.unknown {
		return json.Marshal(map[string]string{"name": s.Name})
	}
	return json.Marshal(known(s))
}

// unanswered names the database and the next step if err is the end of the time for the answers or
// for a connect.
func unanswered(ctx context.Context, pool *pgxpool.Pool, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) && !pgconn.Timeout(err) {
		return err
	}
	return fmt.Errorf("no answer in time from %s: check that it answers other clients, and look for "+
		"locks and load in pg_stat_activity (runbook %q): %w",
		control.Database(&pool.Config().ConnConfig.Config), "Database busy", err)
}

// otherSlots reads the slots with a checkpoint. The names of withdrawn rows are no names of slots.
func (s *Status) otherSlots(ctx context.Context, pool *pgxpool.Pool) error {
	rows, err := pool.Query(ctx, `
		SELECT slot_name FROM relay_checkpoints WHERE slot_name ~ '^[a-z0-9_]+$' ORDER BY updated_at DESC LIMIT 5`)
	if err != nil {
		return fmt.Errorf("list the slots: %w", err)
	}
	if s.others, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return fmt.Errorf("list the slots: %w", err)
	}
	return nil
}
