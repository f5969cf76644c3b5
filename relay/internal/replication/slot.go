package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrSlotExists says that somebody else has made the slot meanwhile.
var ErrSlotExists = errors.New("the replication slot exists by now")

// ErrSlotBlocked says that running transactions held up the creation of the slot for longer than the lock_timeout.
var ErrSlotBlocked = errors.New("running transactions hold up the creation of the replication slot")

// NewSlot is a slot that was just made. It is not held yet, and its snapshot is gone with the next command on the stream,
// so that another session that still reads in it keeps it.
type NewSlot struct {
	ConsistentPoint pglogrepl.LSN
	Snapshot        string // for SET TRANSACTION SNAPSHOT
}

// CreateSlot makes the slot. With failover it is synchronised to standbys, which Postgres 17 and newer can do.
//
// Creation waits for every transaction that runs in the cluster. After lockTimeout it returns [ErrSlotBlocked] and
// leaves no slot behind. It returns [ErrSlotExists] when somebody else was faster.
func (s *Stream) CreateSlot(ctx context.Context, failover bool, lockTimeout time.Duration) (NewSlot, error) {
	options := "SNAPSHOT 'export'"
	if failover {
		options += ", FAILOVER true"
	}
	if err := s.conn.Exec(ctx, fmt.Sprintf("SET lock_timeout = %d", lockTimeout.Milliseconds())).Close(); err != nil {
		return NewSlot{}, fmt.Errorf("set lock_timeout: %w", err)
	}
	results := s.conn.Exec(ctx, fmt.Sprintf("CREATE_REPLICATION_SLOT %s LOGICAL pgoutput (%s)", quoteIdentifier(s.config.Slot), options))
	created, err := pglogrepl.ParseCreateReplicationSlot(results)
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		switch refused.Code {
		case "55P03": // lock_not_available
			return NewSlot{}, fmt.Errorf("create slot %s: %w", s.config.Slot, ErrSlotBlocked)
		case "42710": // duplicate_object
			return NewSlot{}, fmt.Errorf("create slot %s: %w", s.config.Slot, ErrSlotExists)
		}
	}
	if err != nil {
		return NewSlot{}, fmt.Errorf("create slot %s: %w", s.config.Slot, err)
	}
	point, err := pglogrepl.ParseLSN(created.ConsistentPoint)
	if err != nil {
		return NewSlot{}, fmt.Errorf("read the consistent point of slot %s: %w", s.config.Slot, err)
	}
	return NewSlot{ConsistentPoint: point, Snapshot: created.SnapshotName}, nil
}
