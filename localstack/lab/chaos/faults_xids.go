package chaos

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// reuseXIDs crashes the server when transactions have ended that did not wait for the disk: their ids are given out again.
// Whoever has seen them end, and takes them for done after the crash, leaves out the events of those that have them next.
// Here one of these is open while the relay goes on, and the slot is lost before it commits. Nobody else writes meanwhile,
// so that the relay has no reason to look at the ids again.
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
	// Once a relay has the slot again, the end of the log moves beyond where it was.
	await(ctx, 5*time.Second, func() bool { return a.epoch(ctx) > epoch })
	for range 15 {
		if err := a.exec(ctx, `INSERT INTO other SELECT i, repeat('x', 100) FROM generate_series(1, 300) AS i`); err != nil {
			return err
		}
		pause(ctx, 100*time.Millisecond)
	}
	for _, p := range a.fleet.running() {
		a.fleet.kill(p)
	}
	if err := dropSlot(ctx, a); err != nil {
		return err
	}
	next.commit(ctx)
	return a.fleet.startAll()
}

// xidInterval is long enough for what is not flushed to fit into one page: the server writes full pages of log at once, and
// what it has written survives it.
const xidInterval = 8 * time.Millisecond

// forgetXIDs has the relay see transactions that the disk does not know yet, and crashes the server. It returns the last id.
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

// epoch rises with every relay that takes the slot.
func (a *act) epoch(ctx context.Context) (epoch int64) {
	_ = a.admin.QueryRow(ctx, `SELECT epoch FROM relay_checkpoints`).Scan(&epoch) // zero while there is no row, or no server
	return epoch
}

// xidOf returns the id of the session's transaction. One by itself is committed with it.
func xidOf(ctx context.Context, conn *pgx.Conn) (xid int64, err error) {
	err = conn.QueryRow(ctx, `SELECT pg_current_xact_id()::text::bigint`).Scan(&xid)
	return xid, err
}

// delivered returns what reports whether an event has been in the horizon for some time: by then a relay that has nothing else
// to do waits for the next horizon to be reached.
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
	err := a.admin.QueryRow(ctx, `
		SELECT pg_visible_in_snapshot(e.xid, c.horizon) FROM relay_checkpoints c, outbox_events e
		WHERE c.horizon IS NOT NULL AND e.id = $1`, eventID).Scan(&is)
	return err == nil && is
}
