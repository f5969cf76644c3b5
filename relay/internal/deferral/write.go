package deferral

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// Begin stores a deferral, and the row that keeps older relays from removing rows. It replaces one
// that the stream has joined.
func (s *Store) Begin(ctx context.Context, d Deferral) error {
	return s.write(ctx, "defer the events of "+d.place().String(), d.place(), `
		WITH holder AS (
			SELECT c.system_identifier FROM relay_checkpoints c WHERE `+slot.FenceSQL+` FOR UPDATE
		), guard AS (
			INSERT INTO relay_checkpoints (slot_name, outbox_table, epoch, system_identifier, horizon, recover_from,
				recover_to)
			SELECT $11, $4, 0, holder.system_identifier, '3:3:', '3:3:', '3:3:' FROM holder
			ON CONFLICT (slot_name) DO UPDATE SET outbox_table = excluded.outbox_table,
				updated_at = clock_timestamp()
		)
		INSERT INTO outbox_deferrals AS d
			(slot_name, outbox_table, destination, aggregate_type, aggregate_id, system_identifier, known, from_seq,
			 routes, state, reason, since)
		SELECT $1, $4, $5, $6, $7, system_identifier, $8::pg_snapshot, $9, $10::text[], 'deferred', $12,
			clock_timestamp() - $13::interval FROM holder
		ON CONFLICT (slot_name, outbox_table, destination, aggregate_type, aggregate_id) DO UPDATE SET
			known = excluded.known,
			system_identifier = excluded.system_identifier,
			from_seq = excluded.from_seq, routes = excluded.routes, state = 'deferred', joined_lsn = NULL,
			events = 0, reason = excluded.reason, since = excluded.since, updated_at = clock_timestamp()
			WHERE d.state = 'joined' OR d.system_identifier <> excluded.system_identifier`,
		d.Known, d.FromSeq, d.Routes, outboxtable.GuardOf(s.fence.Slot), d.Reason,
		fmt.Sprintf("%d milliseconds", time.Since(d.Since).Milliseconds()))
}

// Pass stores how far a pass is, and by how much the number of waiting events has changed.
func (s *Store) Pass(ctx context.Context, p Place, known string, fromSeq, events int64) error {
	return s.write(ctx, "note what of "+p.String()+" is delivered", p, `
		WITH `+holder+`
		UPDATE outbox_deferrals d SET known = $8::pg_snapshot, from_seq = $9, system_identifier = c.system_identifier,
			events = greatest(0, d.events + $10::bigint), updated_at = clock_timestamp()
		FROM holder c
		WHERE `+atPlace+` AND d.state = 'deferred'`,
		known, fromSeq, events)
}

// Join stores that everything visible in known is delivered and that the stream delivers the rest.
// lsn is an insert LSN that was read after known.
func (s *Store) Join(ctx context.Context, p Place, known string, lsn pglogrepl.LSN) error {
	return s.write(ctx, "end the deferral of "+p.String(), p, `
		WITH `+holder+`, unguarded AS (
			UPDATE relay_checkpoints g SET outbox_table = '', updated_at = clock_timestamp()
			FROM holder c
			WHERE g.slot_name = $10 AND g.outbox_table = $4 AND NOT EXISTS (
				SELECT FROM outbox_deferrals o WHERE o.slot_name = $1 AND o.outbox_table = $4
					AND o.state = 'deferred' AND (o.destination, o.aggregate_type, o.aggregate_id) <> ($5, $6, $7))
		)
		UPDATE outbox_deferrals d SET known = $8::pg_snapshot, from_seq = `+endlessSQL+`, state = 'joined',
			system_identifier = c.system_identifier, joined_lsn = $9, events = 0, updated_at = clock_timestamp()
		FROM holder c
		WHERE `+atPlace+` AND d.state = 'deferred'`,
		known, lsn.String(), outboxtable.GuardOf(s.fence.Slot))
}

// atPlace is a condition on a row d of outbox_deferrals: it is that of the holder c and of a place,
// which [Store.write] passes.
const atPlace = `d.slot_name = c.slot_name AND d.outbox_table = $4 AND d.destination = $5
	AND d.aggregate_type = $6 AND d.aggregate_id = $7`

// holder is the checkpoint row of the relay that holds the slot. It is locked, so that no relay
// takes over between the look at the fence and the write: a write of before the takeover is either
// seen by the next holder, or does not take place.
const holder = `holder AS (
	SELECT c.slot_name, c.flush_lsn, c.system_identifier FROM relay_checkpoints c
	WHERE ` + slot.FenceSQL + ` FOR UPDATE)`

const endlessSQL = "9223372036854775807"

// AddRoutes stores that events are deferred by further routes from now on.
func (s *Store) AddRoutes(ctx context.Context, routes string) error {
	ctx, done, err := s.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	_, err = s.pool.Exec(ctx, `
		WITH `+holder+`
		UPDATE outbox_deferrals d SET routes = d.routes || $5::text, updated_at = clock_timestamp()
		FROM holder c
		WHERE d.slot_name = c.slot_name AND d.outbox_table = $4 AND d.state = 'deferred'
		  AND NOT $5 = ANY (d.routes)`, s.fence.Args(s.table, routes)...)
	if err != nil {
		return fmt.Errorf("add the routes to the deferrals of slot %s: %w", s.fence.Slot, err)
	}
	return nil
}

// Forget removes those deferrals that the stream has joined and whose rows it can bring no more. It
// returns their places.
func (s *Store) Forget(ctx context.Context, joined []Place) (forgotten []Place, err error) {
	destinations, types, ids := split(joined)
	ctx, done, err := s.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	rows, err := s.pool.Query(ctx, `
		WITH `+holder+`
		DELETE FROM outbox_deferrals d USING holder c
		WHERE d.slot_name = c.slot_name AND d.outbox_table = $4 AND d.state = 'joined'
		  AND (d.destination, d.aggregate_type, d.aggregate_id) IN (
			SELECT * FROM unnest($5::text[], $6::text[], $7::text[]))
		  AND d.joined_lsn <= c.flush_lsn
		RETURNING d.destination, d.aggregate_type, d.aggregate_id`, s.fence.Args(s.table, destinations, types, ids)...)
	var p Place
	var text string
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&p.Destination, &text, &p.AggregateID}, func() error {
			p.Table, p.AggregateType = splitType(s.table, text)
			forgotten = append(forgotten, p)
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("remove the deferrals that have ended: %w", err)
	}
	return forgotten, nil
}

// WriteError means that a write of a deferral may or may not have taken place. The session has to
// end, because the next one reads which of both is true.
type WriteError struct{ Err error }

func (e *WriteError) Error() string { return e.Err.Error() }

func (e *WriteError) Unwrap() error { return e.Err }

// write runs a fenced statement about the outbox table, which is $4, and a place, which is $5 to
// $7. An end of ctx does not cancel it.
func (s *Store) write(ctx context.Context, what string, p Place, sql string, args ...any) error {
	ctx, done, err := take(context.WithoutCancel(ctx), s.turn, s.timeout)
	if err != nil {
		return err
	}
	defer done()
	args = append([]any{s.table, p.Destination, p.storedType(), p.AggregateID}, args...)
	tag, err := s.pool.Exec(ctx, sql, s.fence.Args(args...)...)
	if err == nil && tag.RowsAffected() == 0 {
		err = slot.ErrFenced
	}
	if err != nil {
		return &WriteError{fmt.Errorf("%s: %w", what, err)}
	}
	return nil
}
