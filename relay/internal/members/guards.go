package members

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// noteGuards stores a row for each of several tables of a slot, by its number. An earlier version
// of the relay knows slots of one table alone. Without these rows its retention would find no other
// slot of the table, and remove rows that this slot has yet to deliver.
func noteGuards(ctx context.Context, pool *pgxpool.Pool, fence slot.Fence, tables []string) error {
	_, err := pool.Exec(ctx, `
		WITH holder AS (
			SELECT c.slot_name, c.system_identifier FROM relay_checkpoints c WHERE `+slot.FenceSQL+`)
		INSERT INTO relay_checkpoints AS g
			(slot_name, outbox_table, epoch, system_identifier, horizon, recover_from, recover_to)
		SELECT `+outboxtable.TableGuardSQL("holder.slot_name", "t.number")+`, t.name, 0, holder.system_identifier,
			'3:3:', '3:3:', '3:3:'
		FROM holder, pg_catalog.unnest($4::text[]) WITH ORDINALITY AS t (name, number)
		ON CONFLICT (slot_name) DO UPDATE SET outbox_table = excluded.outbox_table, updated_at = clock_timestamp()
			WHERE g.outbox_table <> excluded.outbox_table`, fence.Args(tables)...)
	if err != nil {
		return fmt.Errorf("keep earlier relays from removing rows of the tables of slot %s: %w", fence.Slot, err)
	}
	return nil
}
