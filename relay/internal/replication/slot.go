package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrSlotExists means that another process has created the slot in the meantime.
var ErrSlotExists = errors.New("the replication slot already exists")

// ErrSlotBlocked means that running transactions delayed the creation of the slot for longer than
// lock_timeout.
var ErrSlotBlocked = errors.New("running transactions hold up the creation of the replication slot")

// ErrNoSlotFree means that the server has as many slots as max_replication_slots allows.
var ErrNoSlotFree = errors.New("every replication slot of the server is in use")

// NewSlot is a slot that was just created. The relay does not hold it yet. The next command on the
// stream discards the exported snapshot, and it stays readable only in sessions that have imported
// it.
type NewSlot struct {
	ConsistentPoint pglogrepl.LSN
	Snapshot        string // for SET TRANSACTION SNAPSHOT
}

// SlotOptions select the kind of slot that [Stream.CreateSlot] creates.
type SlotOptions struct {
	Temporary bool // has its own name, and ends with the connection
	Failover  bool // synchronised to standbys, from Postgres 17 on
	// LockTimeout bounds the wait for each running transaction of the cluster.
	LockTimeout time.Duration
}

// CreateSlot creates the slot, or a temporary one beside it.
//
// Creation waits for every running transaction of the cluster. After LockTimeout CreateSlot returns
// [ErrSlotBlocked] and leaves no slot behind. It returns [ErrSlotExists] if another relay has
// created the slot first, and [ErrNoSlotFree] if the server has reached max_replication_slots.
func (s *Stream) CreateSlot(ctx context.Context, o SlotOptions) (NewSlot, error) {
	name := s.config.Slot
	if o.Temporary {
		name = fmt.Sprintf("outbox_relay_snapshot_%d", s.PID())
	}
	if err := s.conn.Exec(ctx, fmt.Sprintf("SET lock_timeout = %d", o.LockTimeout.Milliseconds())).Close(); err != nil {
		return NewSlot{}, fmt.Errorf("set lock_timeout: %w", err)
	}
	created, err := pglogrepl.ParseCreateReplicationSlot(s.conn.Exec(ctx, o.statement(name)))
	if err != nil {
		return NewSlot{}, fmt.Errorf("create slot %s: %w", name, kindOf(err))
	}
	point, err := pglogrepl.ParseLSN(created.ConsistentPoint)
	if err != nil {
		return NewSlot{}, fmt.Errorf("read the consistent point of slot %s: %w", name, err)
	}
	return NewSlot{ConsistentPoint: point, Snapshot: created.SnapshotName}, nil
}

func (o SlotOptions) statement(name string) string {
	options, temporary := "SNAPSHOT 'export'", ""
	if o.Failover {
		options += ", FAILOVER true"
	}
	if o.Temporary {
		temporary = "TEMPORARY "
	}
	return fmt.Sprintf("CREATE_REPLICATION_SLOT %s %sLOGICAL pgoutput (%s)", quoteIdentifier(name), temporary, options)
}

// kindOf returns the sentinel for the server's error, or err.
func kindOf(err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code {
	case pgerrcode.LockNotAvailable:
		return ErrSlotBlocked
	case pgerrcode.DuplicateObject:
		return ErrSlotExists
	case pgerrcode.ConfigurationLimitExceeded:
		return ErrNoSlotFree
	}
	return err
}
