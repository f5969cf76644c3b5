// Package replication owns the replication connection: it acquires the slot, receives the stream,
// answers keepalives and confirms positions.
package replication

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/outbox-relay/outbox-relay/relay/internal/largemessage"
)

const (
	// tick bounds how long a new position waits to be confirmed.
	tick = time.Second
	// replyInterval is the shortest time between two replies to keepalives that ask for one. A
	// server that shuts down answers each reply with another request, up to 18,000 times a second.
	// https://github.com/ihippik/wal-listener/pull/43
	replyInterval = 100 * time.Millisecond
	// closeTimeout bounds the last status update and the end of the copy.
	closeTimeout = 2 * time.Second
)

var (
	// ErrSlotActive means that another process holds the slot.
	ErrSlotActive = errors.New("the replication slot is held by another process")
	// ErrSilent means that the server has sent nothing for wal_sender_timeout.
	ErrSilent = errors.New("the server sent nothing, not even the reply that was asked for")
)

// Stream is one replication connection. One goroutine owns it and alone reads and writes. Other
// goroutines may call only Confirm and LastStatusAt.
type Stream struct {
	conn   *pgconn.PgConn
	source *source // conn reads from it
	ahead  *readAhead
	config Config

	confirm  atomic.Uint64 // pglogrepl.LSN of the next status update
	statusAt atomic.Pointer[time.Time]

	sent         pglogrepl.LSN // pglogrepl.LSN of the last status update
	sentAt       time.Time
	replyDue     bool
	readDeadline time.Time
	gatherer     *gatherer
	messages     int // since the last read
}

// Start acquires the slot, and leaves the stream unread until [Stream.Run]. It returns
// [ErrSlotActive] if another process holds the slot, and a [*SynchronousError] while commits would
// wait for this stream.
//
// The server skips the transactions that commit before from, without decoding them. The caller has
// stored that they are delivered. Start does not move the slot's confirmed_flush_lsn. A from below
// confirmed_flush_lsn means confirmed_flush_lsn.
func (s *Stream) Start(ctx context.Context, from pglogrepl.LSN) error {
	if err := s.requireAsynchronous(ctx); err != nil {
		return err
	}
	now := time.Now()
	s.statusAt.Store(&now)
	err := pglogrepl.StartReplication(ctx, s.conn, s.config.Slot, from, pglogrepl.StartReplicationOptions{
		Mode: pglogrepl.LogicalReplication, PluginArgs: s.config.pluginArgs(),
	})
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == pgerrcode.ObjectInUse {
		return fmt.Errorf("start replication of slot %s: %w", s.config.Slot, ErrSlotActive)
	}
	if err != nil {
		return fmt.Errorf("start replication of slot %s: %w", s.config.Slot, err)
	}
	return nil
}

// Run reads the stream until ctx ends. It then confirms a last time and ends the copy, so that the
// slot is free at once. The caller calls [Stream.Confirm] before Run, because a server would take a
// zero in a status update for a position.
// https://github.com/Trendyol/go-pq-cdc/issues/81
func (s *Stream) Run(ctx context.Context, h Handler) error {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = s.conn.Conn().SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	s.source.waited()
	s.gatherer = newGatherer(s.conn.Conn())
	s.source.ahead = s.ahead
	s.source.beforeRead = func(now time.Time) error { return s.beforeRead(ctx, h, now) }
	err := s.read(ctx, h)
	s.source.beforeRead, s.source.ahead = noCheck, nil
	s.gatherer.end()
	if err != nil {
		return err
	}
	<-interrupted // otherwise it might overwrite the last deadline
	return s.finish()
}

// read reads until ctx ends.
func (s *Stream) read(ctx context.Context, h Handler) error {
	for ctx.Err() == nil {
		if err := s.answer(s.source.now); err != nil {
			return err
		}
		if !h.Ready() {
			h.Flush()
			s.pause(ctx, h)
			continue
		}
		if err := s.receive(h); err != nil {
			return err
		}
	}
	h.Flush()
	return nil
}

// Waited says that the handler has waited for something else than the stream in
// [Handler.WALData]. The stream then sends a status update if one is due, although it has not read
// everything that has arrived. Only the handler calls Waited.
func (s *Stream) Waited() { s.source.waited() }

// Close closes the connection without ending the copy.
func (s *Stream) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = s.conn.Close(ctx)
	s.source.leaveTurn()
}

// pause waits without reading until the handler may be ready or a status update may be due.
func (s *Stream) pause(ctx context.Context, h Handler) {
	wait := s.untilNextTick(s.source.now)
	if s.gatherer.isBounded {
		wait = min(wait, restAfter)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-h.Wake():
	case <-timer.C:
		s.gatherer.rest()
	}
	s.source.waited()
}

// receive reads one message, or none if nothing arrives before the next tick.
func (s *Stream) receive(h Handler) error {
	// The read deadline bounds the call. A new context for each message would cost more than
	// reading it.
	message, err := s.conn.ReceiveMessage(context.Background())
	if err == nil {
		return s.dispatch(message, h)
	}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		s.readDeadline = time.Time{}
		return nil
	}
	return fmt.Errorf("receive from slot %s: %w", s.config.Slot, err)
}

// beforeRead runs when the stream has read everything that has arrived. The next message may take
// long.
func (s *Stream) beforeRead(ctx context.Context, h Handler, now time.Time) error {
	h.Flush()
	if now.Sub(s.source.receivedAt) > s.config.SenderTimeout {
		return ErrSilent
	}
	small := s.source.filled <= s.messages*smallMessage
	s.messages = 0
	if s.gatherer.gather(now, min(h.Gather(), s.untilNextTick(now)), small) {
		s.readDeadline = time.Time{}
	}
	if err := s.extendReadDeadline(now); err != nil {
		return err
	}
	if ctx.Err() != nil { // its read deadline may just have been overwritten
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (s *Stream) dispatch(message pgproto3.BackendMessage, h Handler) error {
	s.messages++
	switch message := message.(type) {
	case *pgproto3.CopyData:
		if len(message.Data) >= largemessage.Length {
			return s.largeCopyData(message, h)
		}
		return s.copyData(message.Data, h)
	case *pgproto3.ErrorResponse: // pgconn returns it as a message here, not as an error
		return fmt.Errorf("the server ended the stream of slot %s: %w",
			s.config.Slot, ended(pgconn.ErrorResponseToPgError(message)))
	case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus:
		return nil
	}
	return fmt.Errorf("the server sent an unexpected %T on the stream of slot %s", message, s.config.Slot)
}

func (s *Stream) copyData(data []byte, h Handler) error {
	if len(data) == 0 {
		return fmt.Errorf("the server sent an empty CopyData on the stream of slot %s", s.config.Slot)
	}
	switch data[0] {
	case pglogrepl.XLogDataByteID:
		message, err := pglogrepl.ParseXLogData(data[1:])
		if err != nil {
			return fmt.Errorf("read XLogData: %w", err)
		}
		return h.WALData(message.ServerTime, message.WALData)
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		message, err := pglogrepl.ParsePrimaryKeepaliveMessage(data[1:])
		if err != nil {
			return fmt.Errorf("read a keepalive: %w", err)
		}
		s.replyDue = s.replyDue || message.ReplyRequested
		h.Keepalive(message.ServerWALEnd)
		return nil
	}
	return fmt.Errorf("the server sent CopyData of unknown kind %q on the stream of slot %s", data[0], s.config.Slot)
}

// extendReadDeadline makes the next read wait until the next tick. For most messages the current
// deadline is still good.
func (s *Stream) extendReadDeadline(now time.Time) error {
	wait := s.untilNextTick(now)
	if wanted := now.Add(wait); s.readDeadline.Sub(now) > 0 && s.readDeadline.Before(wanted) {
		return nil
	}
	s.readDeadline = now.Add(wait)
	if err := s.conn.Conn().SetReadDeadline(s.readDeadline); err != nil {
		return fmt.Errorf("set the read deadline of slot %s: %w", s.config.Slot, err)
	}
	return nil
}
