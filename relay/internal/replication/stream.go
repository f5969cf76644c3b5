// Package replication owns the replication connection: it takes the slot, receives, answers and confirms.
package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const (
	// tick bounds how long a new position waits to be confirmed.
	tick = time.Second
	// replyInterval bounds how often a keepalive that asks for a reply gets one. A server that shuts down answers each
	// reply with another request, at 18,000 a second if it is let. https://github.com/ihippik/wal-listener/pull/43
	replyInterval = 100 * time.Millisecond
	// closeTimeout bounds the last status update and the end of the copy.
	closeTimeout = 2 * time.Second
)

var (
	// ErrSlotActive says that another process holds the slot.
	ErrSlotActive = errors.New("the replication slot is held by another process")
	// ErrSilent says that the server has sent nothing for as long as it would have waited for us.
	ErrSilent = errors.New("the server sent nothing, not even the reply that was asked for")
)

// Handler takes what the stream brings. Its methods are called by the goroutine in [Stream.Run] and must not block.
type Handler interface {
	// Ready reports whether the stream may read on. While it may not, the stream goes on answering the server.
	Ready() bool
	// Wake fires when Ready may have become true.
	Wake() <-chan struct{}
	// Flush is called before the stream waits, for the server or for Ready: what came so far has to go on now.
	Flush()
	// WALData takes one message of the output plugin, and when the server sent it, by its own clock. data is valid only
	// during the call.
	WALData(sentAt time.Time, data []byte) error
	// Gather returns how long the stream may wait for a large piece before it reads: zero while events are sent as they
	// are committed.
	Gather() time.Duration
	// Keepalive takes the ServerWALEnd of a keepalive.
	Keepalive(serverWALEnd pglogrepl.LSN)
}

// Config says how to open a [Stream].
type Config struct {
	// Connection is made for this one connection, as its password may be a token that expires.
	Connection *pgconn.Config
	Slot       string
	// Publication holds the outbox table.
	Publication string
	// SenderTimeout is the wal_sender_timeout of this connection: after this silence the server frees the slot.
	// https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-WAL-SENDER-TIMEOUT
	SenderTimeout time.Duration
}

// Stream is one replication connection. One goroutine owns it: it alone reads and writes. Only Confirm and LastStatusAt are for others.
type Stream struct {
	conn   *pgconn.PgConn
	source *source // what conn reads from
	config Config

	confirm atomic.Uint64 // pglogrepl.LSN that the next status update carries
	toldAt  atomic.Pointer[time.Time]

	sent         pglogrepl.LSN // by the last status update
	sentAt       time.Time
	replyDue     bool
	readDeadline time.Time
	gatherer     *gatherer
}

// Open connects to the server. The slot is not taken yet: see [Stream.CreateSlot] and [Stream.Start].
func Open(ctx context.Context, config Config) (*Stream, error) {
	connection := config.Connection.Copy()
	postgres.PinSession(connection, ApplicationName(config.Slot))
	postgres.Pin(connection, map[string]string{
		"replication":        "database",
		"wal_sender_timeout": fmt.Sprintf("%dms", config.SenderTimeout.Milliseconds()),
		"search_path":        "public", // or a regclass in a row would have the text that the role's path asks for
	})
	s := &Stream{config: config}
	var ahead *readAhead
	connection.DialFunc = dialAhead(connection.DialFunc, func(a *readAhead) { ahead = a })
	connection.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		s.source = newSource(r, ahead) // of the connection that was tried last, which is the one that succeeds
		return pgproto3.NewFrontend(s.source, w)
	}
	var err error
	if s.conn, err = pgconn.ConnectConfig(ctx, connection); err != nil {
		return nil, fmt.Errorf("open a replication connection: %w", err)
	}
	return s, nil
}

// PID returns the process id of the server's walsender: the active_pid of a slot that this stream holds.
func (s *Stream) PID() uint32 { return s.conn.PID() }

// SystemIdentifier returns the identifier of the cluster that the server belongs to.
func (s *Stream) SystemIdentifier(ctx context.Context) (string, error) {
	system, err := pglogrepl.IdentifySystem(ctx, s.conn)
	if err != nil {
		return "", fmt.Errorf("identify the system: %w", err)
	}
	return system.SystemID, nil
}

// BackendPID asks the server for the id of the process that serves this stream. It differs from PID where a pooler stands between.
func (s *Stream) BackendPID(ctx context.Context) (uint32, error) {
	results, err := s.conn.Exec(ctx, "SELECT pg_backend_pid()").ReadAll()
	if err != nil {
		return 0, fmt.Errorf("ask for the process id: %w", err)
	}
	var pid uint32
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return 0, errors.New("ask for the process id: the server gave no answer")
	}
	if _, err := fmt.Sscan(string(results[0].Rows[0][0]), &pid); err != nil {
		return 0, fmt.Errorf("read the process id: %w", err)
	}
	return pid, nil
}

// Start takes the slot and leaves what it sends unread until [Stream.Run]. It returns [ErrSlotActive] when another
// process holds the slot, and a [*SynchronousError] while commits would wait for this stream.
//
// The server skips the transactions that commit before from, without decoding them. The caller has stored that they are
// delivered. The slot's confirmed_flush_lsn does not move by this, and a from below it means confirmed_flush_lsn.
func (s *Stream) Start(ctx context.Context, from pglogrepl.LSN) error {
	if err := s.requireAsynchronous(ctx); err != nil {
		return err
	}
	now := time.Now()
	s.toldAt.Store(&now)
	err := pglogrepl.StartReplication(ctx, s.conn, s.config.Slot, from, pglogrepl.StartReplicationOptions{
		Mode: pglogrepl.LogicalReplication,
		PluginArgs: []string{
			"proto_version '1'",
			"publication_names " + quoteLiteral(quoteIdentifier(s.config.Publication)),
		},
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

// Run reads the stream until ctx ends, and then confirms once more and ends the copy, so that the slot is free at once.
// The first [Stream.Confirm] comes before Run: a status update is never zero, as a server would take it for a position.
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
	s.source.beforeRead = func(now time.Time) error { return s.beforeRead(ctx, h, now) }
	for ctx.Err() == nil {
		if err := s.answer(s.source.now); err != nil {
			return err
		}
		if !h.Ready() {
			h.Flush()
			s.hold(ctx, h)
			continue
		}
		if err := s.receive(h); err != nil {
			return err
		}
	}
	h.Flush()
	s.source.beforeRead = noCheck
	<-interrupted // or it might end the last deadline
	return s.finish()
}

// Close closes the connection without a further word.
func (s *Stream) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = s.conn.Close(ctx)
}

// hold waits without reading until the handler may be ready or a status update may be due.
func (s *Stream) hold(ctx context.Context, h Handler) {
	timer := time.NewTimer(s.untilNextTick(s.source.now))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-h.Wake():
	case <-timer.C:
	}
	s.source.waited()
}

// receive reads one message, or none if nothing comes before the next tick.
func (s *Stream) receive(h Handler) error {
	// A context of its own for every message would cost more than reading one: the read deadline bounds it instead.
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

// beforeRead is called when everything that has arrived is taken: the next message may be long in coming.
func (s *Stream) beforeRead(ctx context.Context, h Handler, now time.Time) error {
	h.Flush()
	if now.Sub(s.source.receivedAt) > s.config.SenderTimeout {
		return ErrSilent
	}
	if s.gatherer.gather(now, min(h.Gather(), s.untilNextTick(now))) {
		s.readDeadline = time.Time{}
	}
	if err := s.extendReadDeadline(now); err != nil {
		return err
	}
	if ctx.Err() != nil { // its own deadline may just have been overwritten
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (s *Stream) dispatch(message pgproto3.BackendMessage, h Handler) error {
	switch message := message.(type) {
	case *pgproto3.CopyData:
		return s.copyData(message.Data, h)
	case *pgproto3.ErrorResponse: // comes as a message here, not as an error
		return fmt.Errorf("the server ended the stream of slot %s: %w", s.config.Slot, ended(pgconn.ErrorResponseToPgError(message)))
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

// extendReadDeadline lets the next read wait until the next tick. Most messages find the deadline as it has to be.
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

func quoteIdentifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func quoteLiteral(text string) string { return `'` + strings.ReplaceAll(text, `'`, `''`) + `'` }
