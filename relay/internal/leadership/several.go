package leadership

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// CheckTables returns a [*operator.NeededError] if the tables in RELAY_TABLE cannot replace those
// of the checkpoint row, or if another slot has one of them and one of both has several.
func (a *Acquirer) CheckTables(ctx context.Context, row *checkpoint.Row) error {
	if err := a.checkOthers(ctx); err != nil || row == nil || row.Table == a.Table.Key() {
		return err
	}
	if !a.Table.IsSeveral() && row.Tables == nil {
		return operator.Needed("slot %s relays table %s, and RELAY_TABLE is %s. If that is the same table under a new "+
			"name, follow \"Rename the table\" in relay/docs/table.md. Otherwise set RELAY_SLOT to another slot",
			a.Slot, row.Table, a.Table)
	}
	former := row.Tables
	if former == nil {
		former = []string{row.Table}
		if err := a.checkGroups(ctx, row.Table); err != nil {
			return err
		}
	}
	left, err := a.left(ctx, former)
	switch {
	case err != nil:
		return err
	case left != "":
		return operator.Needed("slot %s relays table %s too, and RELAY_TABLE (%s) no longer names it. Its events that "+
			"are not delivered would be lost: name it, or drop it, or set RELAY_SLOT to another slot",
			a.Slot, left, a.Table)
	case !a.Table.IsSeveral():
		return operator.Needed("slot %s relays several tables (%s), and RELAY_TABLE names one of them: write it as a "+
			"list or a pattern, because with one table alone the message groups have other names", a.Slot, row.Table)
	}
	return nil
}

// left returns one of the tables that exist and that RELAY_TABLE does not name, or "".
func (a *Acquirer) left(ctx context.Context, former []string) (string, error) {
	existing, err := members.Existing(ctx, a.Pool, former)
	if err != nil {
		return "", err
	}
	for _, table := range existing {
		if schema, name := outboxtable.ParseName(table); !a.Table.Has(schema, name) {
			return table, nil
		}
	}
	return "", nil
}

// checkGroups refuses to rename the message groups of a table while later events must wait behind
// earlier ones of their group.
func (a *Acquirer) checkGroups(ctx context.Context, table string) error {
	var parked, deferred bool
	err := a.Pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM outbox_dead_letters
				WHERE outbox_table = $1 AND blocks_group AND state IN ('parked', 'redriving')),
			EXISTS (SELECT FROM outbox_deferrals WHERE outbox_table = $1 AND slot_name = $2 AND state = 'deferred')`,
		table, a.Slot).Scan(&parked, &deferred)
	switch {
	case err != nil:
		return fmt.Errorf("look for events of table %s that wait: %w", table, err)
	case parked:
		return operator.Needed("table %s becomes one of several (%s), and the groups of its messages get other names. "+
			"Dead letters block some of them: redrive or discard them first, with RELAY_TABLE=%[1]s", table, a.Table)
	case deferred:
		return operator.Needed("table %s becomes one of several (%s), and the groups of its messages get other names. "+
			"Events wait in the table for their destination: start the relay with RELAY_TABLE=%[1]s until relay "+
			"status shows none", table, a.Table)
	}
	return nil
}

// sharing finds another slot that has one of the tables, by its name or by its relations. Several
// tables share their name in the relay's own tables with no other slot either.
const sharing = `
	SELECT c.slot_name, c.outbox_table, coalesce(
		(SELECT min(name) FROM pg_catalog.unnest(coalesce(c.tables, ARRAY[c.outbox_table])) AS name
			WHERE name = ANY ($4)),
		(SELECT min(k.relation::regclass::text) FROM relay_members k JOIN member m ON m.relation = k.relation
			WHERE k.slot_name = c.slot_name),
		CASE WHEN c.outbox_table = $2 THEN $2 END) AS shared
	FROM relay_checkpoints c
	WHERE c.slot_name <> $1 AND (c.tables IS NOT NULL OR $3) AND {not_guard} AND c.system_identifier = {system}`

// checkOthers refuses to share a table with another slot, where one of both has several tables.
// Each slot numbers its tables and reads them through its own publication, so neither can tell
// which rows the other one has yet to deliver. Slots of one table each may share it.
func (a *Acquirer) checkOthers(ctx context.Context) error {
	statement := strings.NewReplacer("{not_guard}", outboxtable.NotGuardSQL, "{system}", outboxtable.SystemSQL).
		Replace(sharing)
	names := []string{}
	for _, one := range a.Table.Each() {
		names = append(names, one.String())
	}
	var other, tables, shared string
	err := a.Pool.QueryRow(ctx, `WITH `+outboxtable.MembersSQL(a.Table)+`, other AS (`+statement+`)
		SELECT slot_name, outbox_table, shared FROM other WHERE shared IS NOT NULL ORDER BY 1 LIMIT 1`,
		a.Slot, a.Table.Key(), a.Table.IsSeveral(), names).Scan(&other, &tables, &shared)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("look for other slots of the tables %s: %w", a.Table, err)
	}
	return operator.Needed("slot %s relays table %s too (its RELAY_TABLE is %s), and a slot with several tables "+
		"shares none of them: give each slot tables of its own. If no relay uses slot %[1]s any more, run DELETE "+
		"FROM relay_checkpoints WHERE slot_name = %[4]s, which gives up the events that it has not delivered",
		other, shared, tables, outboxtable.QuoteLiteral(other))
}

// publicationOf returns the publication as the row has its fingerprint. A slot that had one table
// so far has the fingerprint of that table.
func (a *Acquirer) publicationOf(row *checkpoint.Row) slot.Publication {
	if a.Table.IsSeveral() && row.Tables == nil && row.Table != a.Table.Key() && !slot.IsOfSeveral(row.Fingerprint) {
		return slot.Publication{Name: a.Publication, Table: row.Table}
	}
	return a.publication()
}
