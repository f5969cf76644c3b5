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

// ErrSlotExists says that somebody else has made the slot meanwhile.
var ErrSlotExists = errors.New("the replication slot exists by now")

// ErrSlotBlocked says that running transactions held up the creation of the slot for longer than the lock_timeout.
var ErrSlotBlocked = errors.New("running transactions hold up the creation of the replication slot")

// ErrNoSlotFree says that the server has as many slots as max_replication_slots allows.
var ErrNoSlotFree = errors.New("every replication slot of the server is in use")

// NewSlot is a slot that was just made. It is not held yet, and its snapshot is gone with the next command on the stream,
// so that another session that still reads in it keeps it.
type NewSlot struct {
	ConsistentPoint pglogrepl.LSN
	Snapshot        string // for SET TRANSACTION SNAPSHOT
}

// SlotOptions say which slot [Stream.CreateSlot] makes.
type SlotOptions struct {
	Temporary bool // under a name of its own, and gone with the connection
	Failover  bool // synchronised to standbys, which Postgres 17 and newer can do
	// LockTimeout bounds the wait for each of the transactions that run in the cluster.
	LockTimeout time.Duration
}

// CreateSlot makes the slot, or a temporary one beside it.
//
// Creation waits for every transaction that runs in the cluster. After LockTimeout it returns [ErrSlotBlocked] and
// leaves no slot behind. It returns [ErrSlotExists] when another relay was faster, and [ErrNoSlotFree] where the server has no
// place for a slot.
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

// kindOf returns the error that a caller can tell apart, or err.
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
