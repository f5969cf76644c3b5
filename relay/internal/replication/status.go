package replication

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Confirm lets the server remove the log before lsn. The next status update carries lsn. Confirm
// ignores a position before an earlier one.
func (s *Stream) Confirm(lsn pglogrepl.LSN) {
	for {
		before := s.confirm.Load()
		if uint64(lsn) <= before || s.confirm.CompareAndSwap(before, uint64(lsn)) {
			return
		}
	}
}

// statusInterval is the longest time between two status updates. The lease of the holder is shorter
// than wal_sender_timeout by twice this interval. It counts from the last status update: see
// [Stream.LastStatusAt].
func (s *Stream) statusInterval() time.Duration { return min(10*time.Second, s.config.SenderTimeout/8) }

// LastStatusAt returns the time of the last status update. The server frees the slot no earlier
// than wal_sender_timeout after it.
func (s *Stream) LastStatusAt() time.Time { return *s.statusAt.Load() }

// answer sends a status update if one is due: the relay has a new position to confirm, the server
// asked for a reply, or the interval is over.
func (s *Stream) answer(now time.Time) error {
	since := now.Sub(s.sentAt)
	interval := s.statusInterval()
	news := pglogrepl.LSN(s.confirm.Load()) > s.sent && since >= min(tick, interval)
	asked := s.replyDue && since >= replyInterval
	if !news && !asked && since < interval {
		return nil
	}
	return s.sendStatus(now)
}

// sendStatus sends the position to confirm. It asks for a reply, which proves that the server is
// alive.
func (s *Stream) sendStatus(now time.Time) error {
	lsn := pglogrepl.LSN(s.confirm.Load())
	err := pglogrepl.SendStandbyStatusUpdate(context.Background(), s.conn, pglogrepl.StandbyStatusUpdate{
		WALWritePosition: lsn,
		WALFlushPosition: lsn,
		WALApplyPosition: lsn,
		ClientTime:       now,
		ReplyRequested:   true,
	})
	if err != nil {
		return fmt.Errorf("send a standby status update: %w", err)
	}
	s.sent, s.sentAt, s.replyDue = lsn, now, false
	s.statusAt.Store(&now)
	return nil
}

func (s *Stream) untilNextTick(now time.Time) time.Duration {
	if s.replyDue {
		return max(time.Millisecond, replyInterval-now.Sub(s.sentAt))
	}
	return min(tick, s.statusInterval())
}

// finish confirms a last time, ends the copy, and reads until the server has ended it too. The
// server has then processed the status update. A connection that is closed with unread data may be
// reset before.
func (s *Stream) finish() error {
	deadline := time.Now().Add(closeTimeout)
	if err := s.conn.Conn().SetDeadline(deadline); err != nil {
		return fmt.Errorf("set the last deadline: %w", err)
	}
	if err := s.sendStatus(time.Now()); err != nil {
		return err
	}
	s.conn.Frontend().Send(&pgproto3.CopyDone{})
	if err := s.conn.Frontend().Flush(); err != nil {
		return fmt.Errorf("end the copy: %w", err)
	}
	for {
		message, err := s.conn.ReceiveMessage(context.Background())
		if err != nil {
			// The server does not listen in the middle of a large transaction. The row has the
			// position.
			return nil
		}
		if _, done := message.(*pgproto3.CopyDone); done {
			return nil
		}
	}
}
