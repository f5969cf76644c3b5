package replication

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/outbox-relay/outbox-relay/relay/internal/largemessage"
)

// turnShare bounds the wait of the stream for its turn to receive a large message, to this fraction
// of the time in which the server expects a status update.
const turnShare = 10

// takeTurn waits until no control connection has the buffer of a large message, and keeps the turn
// until the buffer of this one is free.
func (s *source) takeTurn() {
	s.endTurn = s.turns.Take(s.patience)
	s.waited()
}

// leaveTurn ends the turn of the stream, if it has one.
func (s *source) leaveTurn() {
	if s.endTurn != nil {
		s.endTurn()
		s.endTurn = nil
	}
}

// largeCopyData handles a large message, and then frees its buffer.
func (s *Stream) largeCopyData(message *pgproto3.CopyData, h Handler) error {
	data := message.Data
	message.Data = nil // pgproto3 keeps the message until the next one
	if err := s.copyData(data, h); err != nil {
		return err
	}
	err := s.source.releaseBuffer(func() (pgproto3.BackendMessage, error) {
		return s.conn.ReceiveMessage(context.Background())
	})
	if err != nil {
		return fmt.Errorf("free the buffer of slot %s: %w", s.config.Slot, err)
	}
	return nil
}

// releaseBuffer frees the buffer of a large message that was just received. receive receives the
// next message from s.
//
// pgproto3 reads a message into a buffer of the next power of two of its length: 16 MiB for an
// event of ten. It holds the buffer until it reads the next message, which may be long while the
// window is full. A read that brings nothing makes pgproto3 return the buffer to its pool. Such a
// buffer has exactly one message, so no message is lost.
func (s *source) releaseBuffer(receive func() (pgproto3.BackendMessage, error)) error {
	s.closed = true
	message, err := receive()
	s.closed = false
	if err == nil {
		return fmt.Errorf("the connection has a %T behind a large message in its buffer: %w", message, errReadBehind)
	}
	largemessage.FreeBuffers()
	s.leaveTurn()
	return nil
}

// errReadBehind ends the session, so that the message comes again.
var errReadBehind = errors.New("the next session reads it again")
