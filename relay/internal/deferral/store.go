package deferral

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pause"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// State is the state of a stored deferral.
type State string

// The states. See the package documentation.
const (
	Deferred State = "deferred"
	Joined   State = "joined"
)

// Deferral is a row of outbox_deferrals.
type Deferral struct {
	Destination string // its ARN
	Known       string // pg_snapshot
	FromSeq     int64
	Routes      []string // texts of [route.Router.Text]
	State       State
	Events      int64 // about how many wait
	Reason      string
	Since       time.Time
	// The aggregate whose events wait. Both are empty if all events of the destination do.
	AggregateType, AggregateID string
	Table                      string `db:"-"` // of the aggregate, if the relay reads several
}

// Store reads and writes the deferrals of a slot, for the relay that holds it.
type Store struct {
	pool  *pgxpool.Pool
	fence slot.Fence
	table string // schema.name of the outbox table
	// timeout bounds a write, which the end of a session does not cancel.
	timeout time.Duration
	turn    chan struct{}
	scans   chan struct{} // statements of passes
}

// scans is how many statements that read the outbox table run at the same time. One of them may
// take long: see readTimeout. The pass of another destination does not wait for it.
const scans = 3

// NewStore returns a Store for the relay that fence belongs to.
func NewStore(pool *pgxpool.Pool, fence slot.Fence, table string, timeout time.Duration) *Store {
	return &Store{
		pool: pool, fence: fence, table: table, timeout: timeout,
		turn: make(chan struct{}, 1), scans: make(chan struct{}, scans),
	}
}

// readTimeout bounds a statement that reads. Most take milliseconds. One that looks for the rows
// which were written since the last pass may read an index of millions of rows.
const readTimeout = time.Minute

// takeTurn waits until no other statement of the Store runs, so that all of them need one
// connection. The context that it returns bounds the statement.
func (s *Store) takeTurn(ctx context.Context) (bounded context.Context, done func(), err error) {
	return take(ctx, s.turn, readTimeout)
}

// takeScan is takeTurn for a statement that reads the outbox table. Up to three of them run beside
// the other statements.
func (s *Store) takeScan(ctx context.Context) (bounded context.Context, done func(), err error) {
	return take(ctx, s.scans, readTimeout)
}

func take(
	ctx context.Context, turns chan struct{}, limit time.Duration,
) (bounded context.Context, done func(), err error) {
	select {
	case turns <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	return bounded, func() {
		cancel()
		<-turns
	}, nil
}

// columns are those of a [Deferral]. In another cluster, no row is done.
const columns = `d.destination,
	CASE WHEN d.system_identifier = ` + outboxtable.SystemSQL + ` THEN d.known::text ELSE '3:3:' END,
	d.from_seq, d.routes, d.state, d.events, d.reason, d.since, d.aggregate_type, d.aggregate_id`

// List returns the deferrals of a slot and an outbox table, in the order of their places.
func List(ctx context.Context, pool *pgxpool.Pool, slotName, table string) ([]Deferral, error) {
	rows, err := pool.Query(ctx, `SELECT `+columns+` FROM outbox_deferrals d
		WHERE d.slot_name = $1 AND d.outbox_table = $2
		  AND (d.state = 'deferred' OR d.system_identifier = `+outboxtable.SystemSQL+`)
		ORDER BY d.destination, d.aggregate_type, d.aggregate_id`, slotName, table)
	if err != nil {
		return nil, fmt.Errorf("read the deferrals of slot %s: %w", slotName, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Deferral])
	if err != nil {
		return nil, fmt.Errorf("read the deferrals of slot %s: %w", slotName, err)
	}
	for i := range all {
		all[i].Table, all[i].AggregateType = splitType(table, all[i].AggregateType)
	}
	return all, nil
}

// List returns the deferrals of this slot.
func (s *Store) List(ctx context.Context) ([]Deferral, error) {
	ctx, done, err := s.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return List(ctx, s.pool, s.fence.Slot, s.table)
}

// Pauses returns the paused destinations of this slot.
func (s *Store) Pauses(ctx context.Context) ([]pause.Pause, error) {
	ctx, done, err := s.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return pause.List(ctx, s.pool, s.fence.Slot)
}

// ConfirmPause records that the pause of a destination is in effect.
func (s *Store) ConfirmPause(ctx context.Context, destination string) error {
	ctx, done, err := s.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	return pause.Confirm(ctx, s.pool, s.fence.Slot, destination)
}

// Observation is a snapshot, and a position by which everything visible in it is in the log.
type Observation struct {
	Snapshot string
	LSN      pglogrepl.LSN
}

// Observe reads the snapshot of this moment and then the insert LSN.
func (s *Store) Observe(ctx context.Context) (o Observation, err error) {
	ctx, done, err := s.takeTurn(ctx)
	if err != nil {
		return o, err
	}
	defer done()
	err = s.pool.QueryRow(ctx, `SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()`).
		Scan(&o.Snapshot, &o.LSN)
	if err != nil {
		return o, fmt.Errorf("read the current snapshot: %w", err)
	}
	return o, nil
}

// FirstXID assigns a transaction id. Every transaction whose commit an earlier session has read has
// a lower one.
func (s *Store) FirstXID(ctx context.Context) (xid uint64, err error) {
	ctx, done, err := s.takeTurn(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	if err := s.pool.QueryRow(ctx, `SELECT pg_current_xact_id()::text::bigint`).Scan(&xid); err != nil {
		return 0, fmt.Errorf("assign a transaction id: %w", err)
	}
	return xid, nil
}
