package deferral

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
)

// Imported has the deferrals whose rows were copied from another cluster. Their snapshots mean
// nothing here, and the rows get transaction ids of this cluster. So each deferral gets another
// pair of snapshot and seq: everything that is visible in the snapshot was copied or committed
// before the copy was looked at, and the rows of it that are not done have that seq or a higher
// one.
type Imported struct {
	snapshot pgsnapshot.Snapshot
	lowest   map[Place]int64
}

// maxRunning bounds the number of transactions that a snapshot shows as running.
const maxRunning = 100_000

// findImported reads the table once for all aggregates.
const findImported = `
	WITH d AS (
		SELECT d.*, now.snapshot FROM outbox_deferrals d CROSS JOIN pg_current_snapshot() AS now (snapshot)
		WHERE d.slot_name = $1 AND d.outbox_table = $2 AND d.state = 'deferred' AND d.system_identifier <> {system})
	SELECT d.destination, '', '', d.snapshot::text, coalesce((
		SELECT pg_catalog.min({seq}) FROM {table} e
		WHERE {not_done} OR e.{xid} < pg_snapshot_xmax(d.snapshot)), ` + endlessSQL + `)
	FROM d WHERE d.aggregate_id = ''
	UNION ALL
	SELECT d.destination, d.aggregate_type, d.aggregate_id, d.snapshot::text,
		coalesce(pg_catalog.min({seq}), ` + endlessSQL + `)
	FROM d LEFT JOIN {table} e ON {is_aggregate} AND ({not_done} OR e.{xid} < pg_snapshot_xmax(d.snapshot))
	WHERE d.aggregate_id <> '' GROUP BY 1, 2, 3, 4`

// FindImported reads the deferrals, before any transaction id is rewritten. A row whose transaction
// id this cluster may have assigned counts as not done.
func FindImported(ctx context.Context, pool *pgxpool.Pool, slotName string, table outboxtable.Table) (Imported, error) {
	found := Imported{lowest: map[Place]int64{}}
	for _, one := range table.Each() {
		if err := found.find(ctx, pool, slotName, one); err != nil {
			return found, err
		}
	}
	return found, nil
}

// find adds the rows of one table.
func (i *Imported) find(ctx context.Context, pool *pgxpool.Pool, slotName string, table outboxtable.Table) error {
	sql := strings.NewReplacer("{table}", table.From(), "{seq}", table.CommonSeqSQL("e."),
		"{xid}", outboxtable.Quote(table.Columns.XID), "{not_done}", NotDoneSQL(table, "e.", "d."),
		"{is_aggregate}", isAggregateSQL(table, "e.", "d."), "{system}", outboxtable.SystemSQL).Replace(findImported)
	rows, err := pool.Query(ctx, sql, slotName, table.Key())
	if err != nil {
		return fmt.Errorf("look for events of another cluster that wait: %w", err)
	}
	var p Place
	var snapshot string
	var lowest int64
	columns := []any{&p.Destination, &p.AggregateType, &p.AggregateID, &snapshot, &lowest}
	_, err = pgx.ForEachRow(rows, columns, func() (err error) {
		if before, known := i.lowest[p]; !known || lowest < before {
			i.lowest[p] = lowest
		}
		if i.snapshot.String() == "" { // the first one: rows of later tables may be newer
			i.snapshot, err = pgsnapshot.Parse(snapshot)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("look for events of another cluster that wait: %w", err)
	}
	return nil
}

// Restore stores these deferrals again. Until then no row is done for them. rewritten are the
// transactions that gave the copied rows new ids, in order. A relay that has read a deferral before
// continues with its old pair.
func (i Imported) Restore(ctx context.Context, pool *pgxpool.Pool, slotName, table string, rewritten []uint64) error {
	known, ok := i.known(rewritten)
	if !ok {
		return nil
	}
	for p, lowest := range i.lowest {
		_, err := pool.Exec(ctx, `
			UPDATE outbox_deferrals SET known = $4::pg_snapshot, from_seq = $5, system_identifier = `+
			outboxtable.SystemSQL+`, updated_at = clock_timestamp()
			WHERE slot_name = $1 AND outbox_table = $2 AND destination = $3
			  AND aggregate_type = $6 AND aggregate_id = $7 AND state = 'deferred' AND known::text = '3:3:'
			  AND system_identifier <> `+outboxtable.SystemSQL,
			slotName, table, p.Destination, known, lowest, p.AggregateType, p.AggregateID)
		if err != nil {
			return fmt.Errorf("store which events of another cluster wait for %s: %w", p, err)
		}
	}
	return nil
}

// known returns a snapshot that shows what the first one does, and the rewritten rows, and no other
// transaction.
func (i Imported) known(rewritten []uint64) (snapshot string, ok bool) {
	next, running := i.snapshot.Next(), slices.Clone(i.snapshot.Running())
	if len(rewritten) > 0 {
		last := rewritten[len(rewritten)-1]
		if last-next > maxRunning {
			return "", false
		}
		for xid := next; xid < last; xid++ {
			if _, found := slices.BinarySearch(rewritten, xid); !found {
				running = append(running, xid)
			}
		}
		next = last + 1
	}
	first, texts := next, make([]string, len(running))
	for n, xid := range running {
		first, texts[n] = min(first, xid), strconv.FormatUint(xid, 10)
	}
	return fmt.Sprintf("%d:%d:%s", first, next, strings.Join(texts, ",")), true
}
