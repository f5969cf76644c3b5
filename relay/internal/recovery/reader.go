package recovery

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/tablereader"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// visibleInterval is the pause between two checks whether a commit is visible. Most commits become
// visible in less time.
const visibleInterval = 10 * time.Millisecond

// Reader reads the rows of a recovery in order of seq.
type Reader struct {
	pool  *pgxpool.Pool
	slot  string // its name
	table outboxtable.Table
	// await is called before each page that [Reader.Each] reads. Nil: nothing has to be awaited.
	await func(context.Context) error
}

// NewReader returns a Reader of the outbox table for the relay of a slot.
func NewReader(pool *pgxpool.Pool, slot string, table outboxtable.Table) *Reader {
	return &Reader{pool: pool, slot: slot, table: table}
}

// Each calls publish for every row of the recovery r whose common seq is greater than after, in
// order of the common seq: one table after the other. If after is 0, Each begins with the first
// row, whose seq may be negative. Each keeps no snapshot open: a row that is visible in r.To and
// not in r.From remains so.
func (d *Reader) Each(
	ctx context.Context, r checkpoint.Recovery, after int64, publish func(seq int64, e *outbox.Envelope) error,
) error {
	if err := d.awaitVisible(ctx, r.To); err != nil {
		return err
	}
	for _, one := range d.tables() {
		if err := one.each(ctx, r, after, publish); err != nil {
			return err
		}
	}
	return nil
}

// tables returns a Reader of each table, in the order of their numbers.
func (d *Reader) tables() []*Reader {
	var all []*Reader
	for _, table := range d.table.Each() {
		all = append(all, &Reader{pool: d.pool, slot: d.slot, table: table, await: d.await})
	}
	return all
}

// each is Each for one table.
func (d *Reader) each(
	ctx context.Context, r checkpoint.Recovery, after int64, publish func(seq int64, e *outbox.Envelope) error,
) error {
	own := d.table.Source.Own(after)
	if own == math.MaxInt64 { // an earlier session has read this table
		return nil
	}
	first, err := d.first(ctx, r)
	if err != nil {
		return err
	}
	if after == 0 { // no row has been read yet, and seq may be negative
		own = math.MinInt64
	}
	for after := max(own, outboxtable.Before(first)); ; {
		if d.await != nil {
			if err := d.await(ctx); err != nil {
				return err
			}
		}
		page, last, err := d.page(ctx, r, after)
		if err != nil {
			return err
		}
		for i := range page {
			seq, err := page[i].CommonSeq()
			if err != nil {
				return fmt.Errorf("row of %s after seq %d: %w", d.name(), after, err)
			}
			if err := publish(seq, &page[i]); err != nil {
				return err
			}
			page[i] = outbox.Envelope{} // a row may have many MB, and publish waits for room
		}
		if len(page) == 0 {
			return nil
		}
		after = last
	}
}

// ahead reports whether a snapshot shows transactions that the current snapshot does not show yet.
// The series contains only the ids that were assigned between the two snapshots.
const ahead = `
	SELECT EXISTS (
		SELECT FROM pg_snapshot_xip(now.snapshot) AS running(xid) WHERE pg_visible_in_snapshot(xid, $1::pg_snapshot)
		UNION ALL
		SELECT FROM generate_series(pg_snapshot_xmax(now.snapshot)::text::bigint,
			pg_snapshot_xmax($1::pg_snapshot)::text::bigint - 1) AS later(xid)
		WHERE pg_visible_in_snapshot(xid::text::xid8, $1::pg_snapshot))
	FROM pg_current_snapshot() AS now(snapshot)`

// awaitVisible waits until this relay sees everything that the snapshot shows. The snapshot of a
// new slot is built from the log, which contains a commit before other sessions see it. With
// synchronous replication that takes until a standby has answered, as far as each transaction asks
// for it.
// https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-SYNCHRONOUS-COMMIT
func (d *Reader) awaitVisible(ctx context.Context, snapshot string) error {
	for {
		var waits bool
		if err := d.pool.QueryRow(ctx, ahead, snapshot).Scan(&waits); err != nil {
			return fmt.Errorf("wait until snapshot %s is visible: %w", snapshot, err)
		}
		if !waits {
			return nil
		}
		if !task.Sleep(ctx, visibleInterval) {
			return ctx.Err()
		}
	}
}

// first returns the lowest seq that may be part of r, or 0 if no row may be. It does not search the
// index on seq for the minimum, because the server would read that index from its beginning.
func (d *Reader) first(ctx context.Context, r checkpoint.Recovery) (int64, error) {
	query := `WITH candidates AS MATERIALIZED (` + selection(d.table, possible, placeholders{from: 1, slot: 2}) + `)
		SELECT coalesce(min(seq), 0) FROM candidates`
	var first int64
	if err := d.pool.QueryRow(ctx, query, r.From, d.slot).Scan(&first); err != nil {
		return 0, fmt.Errorf("find the first row to recover: %w", err)
	}
	return first, nil
}

func (d *Reader) page(
	ctx context.Context, r checkpoint.Recovery, after int64,
) (page []outbox.Envelope, last int64, err error) {
	condition, args := d.condition(r, 4)
	return tablereader.New(d.pool, d.table).Page(ctx, after, condition, args...)
}

// Passed calls remember in order of the common seq for the rows of the recovery r whose common seq
// is at most upTo. These are the rows that Each has read up to upTo, except rows that were removed
// since. Rows of a table or a partition that is not accounted for are not among them: it may have
// left the publication while Each passed its seqs, and come back since. The envelopes contain only
// the fields that identify a row.
func (d *Reader) Passed(
	ctx context.Context, r checkpoint.Recovery, upTo int64, remember func(e *outbox.Envelope),
) error {
	for _, one := range d.tables() {
		if err := one.passed(ctx, r, one.table.Source.Own(upTo), remember); err != nil {
			return err
		}
	}
	return nil
}

// passed is Passed for one table.
func (d *Reader) passed(
	ctx context.Context, r checkpoint.Recovery, upTo int64, remember func(e *outbox.Envelope),
) error {
	first, err := d.first(ctx, r)
	if err != nil {
		return err
	}
	c, text := d.table.Columns, outboxtable.Texts(d.table, "")
	condition, args := d.condition(r, 3)
	query := fmt.Sprintf(`
		SELECT %s, %s, %s FROM %s
		WHERE %[5]s BETWEEN $1::bigint AND $2::bigint AND %[6]s AND %[7]s AND %[8]s ORDER BY %[5]s`,
		text.Sequence, text.XID, text.ID, d.name(), outboxtable.Quote(c.Sequence), condition,
		d.table.FilterSQL(""), outboxtable.AccountedBySQL(d.table, "tableoid", fmt.Sprintf("$%d", 3+len(args))))
	rows, err := d.pool.Query(ctx, query, append(append([]any{first, upTo}, args...), d.slot)...)
	if err != nil {
		return fmt.Errorf("read the rows of %s up to seq %d: %w", d.name(), upTo, err)
	}
	e := outbox.Envelope{Source: d.table.Source}
	_, err = pgx.ForEachRow(rows, []any{&e.Sequence, &e.XID, &e.ID}, func() error {
		remember(&e)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the rows of %s up to seq %d: %w", d.name(), upTo, err)
	}
	return nil
}

func (d *Reader) name() string { return d.table.From() }
