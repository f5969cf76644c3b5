package backlog

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

const (
	// lookInterval is the time between two reads of the table. tick is the time between two checks
	// whether a read is due.
	lookInterval, tick = 5 * time.Second, time.Second
	// lookTimeout bounds one read of the table.
	lookTimeout = 10 * time.Second
	// restShare keeps the reads below a tenth of the time. A slow read makes the next one later.
	restShare = 9
)

// Looker reads the waiting events from the database, independently of the relay's state.
type Looker struct {
	Watch *Watch
	Slot  string
	Table outboxtable.Table
	// From and Since apply while the slot has no checkpoint. Everything visible in the snapshot
	// From, and everything created before Since, counts as delivered. If From is empty, nothing is
	// known until there is a checkpoint.
	From, Since string
	// StandsBy reports whether this relay waits as a standby for a relay that streams.
	StandsBy func() bool
	// Slots receives the state of the slot while this relay does not stream.
	Slots func(slot.State)
	Log   *slog.Logger

	found waiting // by the last read
}

// Run reads the table whenever the stream gives no answer, until ctx ends. open returns a
// connection pool for the database.
func (l *Looker) Run(ctx context.Context, open func(context.Context) (*pgxpool.Pool, error)) {
	var pool *pgxpool.Pool
	defer func() {
		if pool != nil {
			control.Close(pool)
		}
	}()
	for next := time.Now(); ctx.Err() == nil; task.Sleep(ctx, tick) {
		began := time.Now()
		reached, streams, due := l.Watch.reference(began)
		if !due || began.Before(next) {
			continue
		}
		var err error
		if pool == nil {
			pool, err = open(ctx)
		}
		if err == nil {
			err = l.look(ctx, pool, reached, streams)
		}
		if err != nil && ctx.Err() == nil {
			l.Log.Debug("backlog: looking again", "slot", l.Slot, "err", err)
		}
		// a failed connection is not reused, and a streaming relay needs none
		if pool != nil && (err != nil || streams) {
			pool.Reset()
		}
		next = time.Now().Add(max(lookInterval, restShare*time.Since(began)))
	}
}

func (l *Looker) look(ctx context.Context, pool *pgxpool.Pool, reached mark, streams bool) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	began, standsBy := time.Now(), l.StandsBy()
	state, err := slot.LookUp(ctx, pool, l.Slot) // before the row, which a streaming relay writes first
	if err != nil {
		return err
	}
	if !streams {
		l.Slots(state)
	}
	row, err := checkpoint.NewStore(pool, l.Slot).Load(ctx)
	if err != nil {
		return err
	}
	table, err := members.Look(ctx, pool, l.Table)
	if err != nil {
		return err
	}
	if row != nil {
		table = members.Numbered(table, row.Tables)
	}
	if !table.IsRepairable() { // no query of the table finds the waiting rows
		if standsBy && l.StandsBy() {
			l.Watch.looked(reached, time.Time{}, began, true)
		}
		return nil
	}
	found := waiting{}
	if wanted := l.wanted(row, reached); wanted.delivered != "" {
		if found, err = find(ctx, pool, table, wanted); err != nil {
			return err
		}
	}
	sure := streams || standsBy && l.StandsBy() || !logMayHold(row, state)
	l.Watch.looked(reached, l.since(found, reached, began), began, sure)
	return nil
}

// logMayHold reports whether the log may hold undelivered events whose rows are gone. Before the
// slot is created, every event is read from the table.
func logMayHold(row *checkpoint.Row, state slot.State) bool {
	return state.Exists && !state.Lost() && (row == nil || row.Recovery == nil || row.Recovery.To != "")
}

// wanted returns the selection of waiting rows. It starts at the checkpoint row, or at a later
// moment at which this session had delivered everything.
func (l *Looker) wanted(row *checkpoint.Row, reached mark) selection {
	switch {
	case row == nil:
		return selection{delivered: l.From, since: l.Since}
	case row.Recovery != nil:
		return selection{delivered: row.Recovery.From, since: row.Recovery.Since, passed: row.Position.RecoveredSeq}
	case reached.snapshot != "":
		return selection{delivered: reached.snapshot}
	case row.Horizon != "":
		return selection{delivered: row.Horizon}
	}
	return selection{delivered: recovery.NothingDelivered}
}

// since returns the time since which the oldest event has waited, or zero if none waits. The
// producer's time counts only between two moments: the last at which everything was delivered, and
// the read that first found the event.
func (l *Looker) since(found waiting, reached mark, now time.Time) time.Time {
	if !found.exists {
		l.found = waiting{}
		return time.Time{}
	}
	if l.found.xid != found.xid {
		l.found = waiting{exists: true, xid: found.xid, since: now}
	}
	since := l.found.since
	if found.hasAge {
		since = earlier(since, now.Add(-found.age))
	}
	if since.Before(reached.at) {
		return reached.at
	}
	return since
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
