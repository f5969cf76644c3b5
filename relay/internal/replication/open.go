package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/outbox-relay/outbox-relay/relay/internal/largemessage"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// Config configures a [Stream].
type Config struct {
	// Connection is used for this connection only, because its password may be a token that
	// expires.
	Connection *pgconn.Config
	Slot       string
	// Publication contains the outbox table.
	Publication string
	// Messages asks for the messages of pg_logical_emit_message, whatever the publication contains.
	Messages bool
	// SenderTimeout is the wal_sender_timeout of this connection. The server frees the slot after
	// this time without a status update.
	// https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-WAL-SENDER-TIMEOUT
	SenderTimeout time.Duration
	// Turns are those in which all connections of the session receive large messages.
	Turns *largemessage.Turns
}

// Open connects to the server. It does not acquire the slot: see [Stream.CreateSlot] and
// [Stream.Start].
func Open(ctx context.Context, config Config) (*Stream, error) {
	connection := config.Connection.Copy()
	postgres.PinSession(connection, ApplicationName(config.Slot))
	postgres.PinRole(connection)
	postgres.RequirePrimary(connection)
	postgres.Pin(connection, map[string]string{
		"replication":        "database",
		"wal_sender_timeout": fmt.Sprintf("%dms", config.SenderTimeout.Milliseconds()),
		// The search_path decides whether the text of a regclass has a schema.
		"search_path": "public",
	})
	s := &Stream{config: config}
	var ahead *readAhead
	connection.DialFunc = dialAhead(connection.DialFunc, func(a *readAhead) { ahead = a })
	connection.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		// pgconn tries several addresses. The last connection is the one that succeeds.
		s.source, s.ahead = newSource(r), ahead
		s.source.turns, s.source.patience = config.Turns, config.SenderTimeout/turnShare
		if config.Messages {
			return pgproto3.NewFrontend(&trimmer{conn: s.source}, w)
		}
		return pgproto3.NewFrontend(s.source, w)
	}
	var err error
	if s.conn, err = pgconn.ConnectConfig(ctx, connection); err != nil {
		return nil, fmt.Errorf("open a replication connection: %w", err)
	}
	return s, nil
}

// PID returns the process id of the server's walsender: the active_pid of a slot that this stream
// holds.
func (s *Stream) PID() uint32 { return s.conn.PID() }

// SystemIdentifier returns the identifier of the server's cluster.
func (s *Stream) SystemIdentifier(ctx context.Context) (string, error) {
	system, err := pglogrepl.IdentifySystem(ctx, s.conn)
	if err != nil {
		return "", fmt.Errorf("identify the system: %w", err)
	}
	return system.SystemID, nil
}

// BackendPID asks the server for the id of the process that serves this stream. It differs from PID
// behind a pooler.
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

// pluginArgs returns the options of the output plugin.
// https://www.postgresql.org/docs/current/protocol-logical-replication.html
func (c Config) pluginArgs() []string {
	args := []string{
		"proto_version '1'",
		"publication_names " + quoteLiteral(quoteIdentifier(c.Publication)),
	}
	if c.Messages {
		args = append(args, "messages 'true'")
	}
	return args
}

func quoteIdentifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func quoteLiteral(text string) string { return `'` + strings.ReplaceAll(text, `'`, `''`) + `'` }
