package preflight

import (
	"context"
	"regexp"
	"strings"
)

// slotTable returns the other table that the slot relays, or nothing. A table that was renamed is
// not another one: no table has its old name.
func (d *database) slotTable(ctx context.Context) (table string, err error) {
	var readable bool
	err = d.Pool.QueryRow(ctx, `
		SELECT coalesce(pg_catalog.has_table_privilege(to_regclass('relay_checkpoints'), 'SELECT'), false)`).
		Scan(&readable)
	if err != nil || !readable || d.Table.IsSeveral() {
		return "", err
	}
	err = d.Pool.QueryRow(ctx, `
		SELECT coalesce((
			SELECT outbox_table FROM relay_checkpoints
			WHERE slot_name = $1 AND outbox_table <> $2 AND EXISTS (
				SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
				WHERE n.nspname::text || '.' || c.relname::text = outbox_table AND c.oid <> $3)), '')`,
		d.Slot, d.Table.Key(), d.oid).Scan(&table)
	return table, err
}

// notInNames matches characters that the name of a slot cannot have.
var notInNames = regexp.MustCompile(`[^a-z0-9_]+`)

// maxPlainName leaves room for the prefix and the suffix of the names below in the 63 bytes that
// Postgres allows.
const maxPlainName = 50

// plainTableName returns the name of the table as a part of other names.
func (d *database) plainTableName() string {
	name := notInNames.ReplaceAllString(strings.ToLower(d.Table.Name), "_")
	return name[:min(len(name), maxPlainName)]
}

// ownSlot and ownPublication are names for this table alone.
func (d *database) ownSlot() string { return "outbox_" + d.plainTableName() }

func (d *database) ownPublication() string { return d.plainTableName() + "_pub" }
