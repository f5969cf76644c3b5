package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

var (
	// ErrUndecodable means that the server cannot decode a part of the log, and will not at another
	// attempt. The publication did not exist when that part was written, which Postgres 18 and
	// newer skip. Or its row filter of that time fails at a row. Or a row has more than a gigabyte
	// of text, or a character that UTF-8 lacks. Or a table was altered while the server built the
	// first snapshot of the slot, and that snapshot lacks the change.
	ErrUndecodable = errors.New("the server cannot decode this part of the log")
	// ErrCanceled means that pg_cancel_backend ended the copy. A walsender whose client has ended
	// the copy could not start another one.
	ErrCanceled = errors.New("the copy was canceled")
)

// Unread is a position behind every transaction. A stream that starts there holds the slot, and the
// server decodes nothing.
const Unread = ^pglogrepl.LSN(0)

// Restart acquires the slot again on the same connection, after [Stream.Run] has returned
// [ErrCanceled] or [ErrUndecodable] and the server has released the slot. It returns
// [ErrSlotActive] if another process has acquired the slot first.
func (s *Stream) Restart(ctx context.Context, from pglogrepl.LSN) error {
	s.readDeadline = time.Time{}
	if err := s.conn.Conn().SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("restart replication of slot %s: %w", s.config.Slot, err)
	}
	for {
		message, err := s.conn.ReceiveMessage(ctx)
		if err != nil {
			return fmt.Errorf("restart replication of slot %s: %w", s.config.Slot, err)
		}
		if _, ready := message.(*pgproto3.ReadyForQuery); ready {
			return s.Start(ctx, from)
		}
	}
}

// ended joins the server's error with the sentinel that callers compare.
func ended(refused *pgconn.PgError) error {
	switch code := refused.Code; {
	case code == pgerrcode.QueryCanceled:
		return errors.Join(ErrCanceled, refused)
	case code == pgerrcode.UndefinedObject, code == pgerrcode.UntranslatableCharacter,
		pgerrcode.IsInternalError(code), pgerrcode.IsProgramLimitExceeded(code):
		return errors.Join(ErrUndecodable, refused)
	case pgerrcode.IsDataException(code):
		return fmt.Errorf("%w: the row filter of the publication fails at a row: change the filter: %w",
			ErrUndecodable, refused)
	}
	return refused
}
