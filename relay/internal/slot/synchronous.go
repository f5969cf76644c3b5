package slot

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// SynchronousStandbyNames returns the server's setting synchronous_standby_names.
func SynchronousStandbyNames(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	var setting string
	if err := pool.QueryRow(ctx, `SELECT current_setting('synchronous_standby_names')`).Scan(&setting); err != nil {
		return "", fmt.Errorf("read synchronous_standby_names: %w", err)
	}
	return setting, nil
}

// WriteToLog writes an empty message to the log and waits for no standby. A synchronous standby
// confirms the message once it has received it.
func WriteToLog(ctx context.Context, pool *pgxpool.Pool) error {
	_, err := pool.Exec(ctx, `
		SELECT set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'outbox_relay', '')`)
	if err != nil {
		return fmt.Errorf("write to the log: %w", err)
	}
	return nil
}
