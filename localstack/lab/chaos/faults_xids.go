package chaos

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// reuseXIDs kills the server after transactions have ended whose commits are not on disk yet.
// Postgres assigns their ids again. A relay that considers these ids complete after the crash would
// omit the events of the next transactions that have them.
//
// One of those transactions stays open here while the relay continues, and the slot is lost before
// it commits. No writer writes meanwhile, so that the relay has no reason to read the ids again.
func reuseXIDs(ctx context.Context, a *act) error {
	a.quiet.Lock()
	defer a.quiet.Unlock()
	epoch := a.epoch(ctx)
	forgotten, err := a.forgetXIDs(ctx)
	if err != nil {
		return err
	}
	next, err := a.writeOpen(ctx)
	if err != nil || next == nil {
		return err
	}
	if xid, err := xidOf(ctx, next.conn); err != nil || xid > forgotten {
		a.note = missed
	}
	// Once a relay has acquired the slot again, the log grows beyond its former end.
	await(ctx, 5*time.Second, func() bool { return a.epoch(ctx) > epoch })
	for range 15 {
		if err := a.exec(ctx, `INSERT INTO other SELECT i, repeat('x', 100)
			FROM generate_series(1, 300) AS i`); err != nil {
			return err
		}
		pause(ctx, 100*time.Millisecond)
	}
	for _, p := range a.relays.running() {
		a.relays.kill(p)
	}
	if err := dropSlot(ctx, a); err != nil {
		return err
	}
	next.commit(ctx)
	return a.relays.startAll()
}

// xidInterval keeps the unflushed log within one page. The server writes full pages at once, and
// they survive the crash.
const xidInterval = 8 * time.Millisecond

// forgetXIDs lets the relay observe transactions that are not on disk yet, and kills the server. It
// returns the last transaction id.
func (a *act) forgetXIDs(ctx context.Context) (last int64, err error) {
	conn, err := pgx.Connect(ctx, a.cluster.url(a.database, writerRole))
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	seen, err := a.writeOpen(ctx)
	if err != nil || seen == nil {
		return 0, err
	}
	seen.commit(ctx)
	if _, err := conn.Exec(ctx, `SET synchronous_commit = off`); err != nil {
		return 0, err
	}
	deadline, done := time.Now().Add(4*time.Second), a.delivered(seen.event.ID)
	for ctx.Err() == nil && time.Now().Before(deadline) && !done(ctx) {
		if last, err = xidOf(ctx, conn); err != nil {
			return 0, err
		}
		pause(ctx, xidInterval)
	}
	if err := a.cluster.server.Kill(); err != nil {
		return 0, err
	}
	return last, a.bringUp(ctx)
}

// epoch returns the epoch, which rises whenever a relay acquires the slot.
func (a *act) epoch(ctx context.Context) (epoch int64) {
	// zero without a row or a server
	_ = a.admin.QueryRow(ctx, `SELECT epoch FROM relay_checkpoints`).Scan(&epoch)
	return epoch
}

// xidOf returns the transaction id of the session. Outside of a transaction, the statement commits
// its own.
func xidOf(ctx context.Context, conn *pgx.Conn) (xid int64, err error) {
	err = conn.QueryRow(ctx, `SELECT pg_current_xact_id()::text::bigint`).Scan(&xid)
	return xid, err
}

// delivered returns a function that reports whether an event has been in the horizon for some time.
// By then an idle relay waits to reach its next horizon.
func (a *act) delivered(eventID string) func(context.Context) bool {
	var since time.Time
	return func(ctx context.Context) bool {
		if since.IsZero() && a.isInHorizon(ctx, eventID) {
			since = time.Now()
		}
		return !since.IsZero() && time.Since(since) > a.plan.SenderTimeout/3
	}
}

func (a *act) isInHorizon(ctx context.Context, eventID string) bool {
	var is bool
	err := a.admin.QueryRow(ctx, a.shape.sql(`
		SELECT pg_visible_in_snapshot(e.{xid}, c.horizon) FROM relay_checkpoints c, {table} e
		WHERE c.horizon IS NOT NULL AND e.{id}::text = $1`), eventID).Scan(&is)
	return err == nil && is
}
