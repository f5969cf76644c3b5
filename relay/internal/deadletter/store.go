// Package deadletter stores the events that their destination refused for good. Its input are the
// refused events of package delivery and the commands of an operator. Its output are the events to
// redrive, and the lists and outcomes that the commands show.
package deadletter

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// Store stores dead letters for the relay that holds the slot. It is the [delivery.Parker].
type Store struct {
	pool  *pgxpool.Pool
	fence slot.Fence
	table string // schema.name of the outbox table
	turn  chan struct{}
}

// NewStore returns a Store for the relay that fence belongs to.
func NewStore(pool *pgxpool.Pool, fence slot.Fence, table string) *Store {
	return &Store{pool: pool, fence: fence, table: table, turn: make(chan struct{}, 1)}
}

// IsParked implements [delivery.Parker].
func (s *Store) IsParked(ctx context.Context, p delivery.DeadLetter) (parked bool, err error) {
	stored, err := newMessage(p.Message).encode()
	if err != nil {
		return false, fmt.Errorf("look for the dead letter of event %s: %w", p.Message.EventID, err)
	}
	args, err := s.rowArgs(p, stored)
	if err != nil {
		return false, fmt.Errorf("look for the dead letter of event %s: %w", p.Message.EventID, err)
	}
	done, err := s.takeTurn(ctx)
	if err != nil {
		return false, fmt.Errorf("look for the dead letter of event %s: %w", p.Message.EventID, err)
	}
	defer done()
	found, err := s.pool.Exec(ctx, deadLetterOf, s.fence.Args(args...)...)
	if err != nil {
		return false, fmt.Errorf("look for the dead letter of event %s: %w", p.Message.EventID, err)
	}
	return found.RowsAffected() > 0, nil
}

// takeTurn waits until no other statement of the Store runs. A locked row then blocks one
// connection, and not all of them.
func (s *Store) takeTurn(ctx context.Context) (done func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// exec runs a fenced statement.
func (s *Store) exec(ctx context.Context, what, sql string, args ...any) error {
	done, err := s.takeTurn(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer done()
	tag, err := s.pool.Exec(ctx, sql, s.fence.Args(args...)...)
	if err == nil && tag.RowsAffected() == 0 {
		err = slot.ErrFenced
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// IsBlocked implements [delivery.Parker].
func (s *Store) IsBlocked(ctx context.Context, destination, groupID string) (bool, error) {
	return s.isBehind(ctx, destination, groupID, nil)
}

// IsBehind implements [delivery.Parker].
func (s *Store) IsBehind(ctx context.Context, destination, groupID string, seq int64) (bool, error) {
	return s.isBehind(ctx, destination, groupID, &seq)
}

// isBehind reports whether a dead letter blocks the group. With a seq, those of later rows do not
// count.
func (s *Store) isBehind(ctx context.Context, destination, groupID string, seq *int64) (blocked bool, err error) {
	done, err := s.takeTurn(ctx)
	if err != nil {
		return false, fmt.Errorf("look for dead letters of group %s: %w", groupID, err)
	}
	defer done()
	err = s.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM outbox_dead_letters d
		WHERE destination = $2 AND message_group = $3 AND blocks_group AND state IN ('parked', 'redriving')
			AND outbox_table = $4 AND (row_seq > $5::bigint) IS NOT TRUE AND `+isOwn("d")+`)`,
		s.fence.Slot, destination, groupID, s.table, seq).Scan(&blocked)
	if err != nil {
		return false, fmt.Errorf("look for dead letters of group %s: %w", groupID, err)
	}
	return blocked, nil
}
