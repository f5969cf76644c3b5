package pgoutput_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

const (
	slot        = "decode"
	publication = "outbox_pub"

	createTable = `
		CREATE TABLE outbox_events (
			id uuid NOT NULL, seq bigint GENERATED ALWAYS AS IDENTITY, aggregate_type text, aggregate_id text,
				event_type text,
			payload json, headers jsonb, xid xid8 DEFAULT pg_current_xact_id(),
				created_at timestamptz DEFAULT clock_timestamp())`
	createPublication = `
		CREATE PUBLICATION outbox_pub FOR TABLE outbox_events WITH (publish = 'insert',
			publish_via_partition_root = true)`
	insertEvent = `
		INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, headers)
		VALUES (gen_random_uuid(), 'order', 'o-1', $1, $2::text::json, '{}')`
)

// server is a database with an outbox table and a replication connection.
type server struct {
	t      *testing.T
	sql    *pgx.Conn
	stream *pgconn.PgConn
}

// replicate runs the statements, creates the slot and the publication, and starts replication.
func replicate(t *testing.T, statements ...string) *server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	url := pgtest.NewDatabase(t)
	sql, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sql.Close(context.Background()) })
	s := &server{t: t, sql: sql}
	for _, statement := range append(statements, createPublication) {
		s.exec(statement)
	}
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["replication"] = "database"
	config.RuntimeParams["timezone"] = "UTC"
	if s.stream, err = pgconn.ConnectConfig(ctx, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stream.Close(context.Background()) })
	name := fmt.Sprintf("%s_%d", slot, sql.PgConn().PID())
	_, err = pglogrepl.CreateReplicationSlot(ctx, s.stream, name, "pgoutput",
		pglogrepl.CreateReplicationSlotOptions{Temporary: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := pglogrepl.StartReplication(ctx, s.stream, name, 0, pglogrepl.StartReplicationOptions{
		PluginArgs: []string{"proto_version '1'", "publication_names '" + publication + "'"},
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) exec(statement string, arguments ...any) {
	s.t.Helper()
	if _, err := s.sql.Exec(s.t.Context(), statement, arguments...); err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
}

// rows decodes the stream up to the commit that follows the n-th row.
func (s *server) rows(n int) []outbox.Envelope {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	d := pgoutput.NewDecoder(table)
	var rows []outbox.Envelope
	for {
		m, err := d.Decode(s.walData(ctx))
		if err != nil {
			s.t.Fatal(err)
		}
		switch m.Kind {
		case pgoutput.KindRow:
			rows = append(rows, m.Row)
		case pgoutput.KindCommit:
			if len(rows) >= n {
				return rows
			}
		}
	}
}

// walData returns the next pgoutput message.
func (s *server) walData(ctx context.Context) []byte {
	s.t.Helper()
	for {
		message, err := s.stream.ReceiveMessage(ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		data, ok := message.(*pgproto3.CopyData)
		if !ok {
			s.t.Fatalf("received %T", message)
		}
		if data.Data[0] != pglogrepl.XLogDataByteID {
			continue
		}
		x, err := pglogrepl.ParseXLogData(data.Data[1:])
		if err != nil {
			s.t.Fatal(err)
		}
		return x.WALData
	}
}

func eventTypes(rows []outbox.Envelope) []string {
	var types []string
	for _, row := range rows {
		types = append(types, row.EventType)
	}
	return types
}

func TestRowsReadTheSameFromTheLogAsFromTheTable(t *testing.T) {
	t.Parallel()
	s := replicate(t, createTable, "SET timezone TO 'UTC'")
	payload := "{ \"b\":1,\t\"a\": 1.50, \"a\":\"\\u00e9 é\" }" // json keeps spaces, order and repeated names
	s.exec(insertEvent, "order.created", payload)
	got := s.rows(1)

	var want outbox.Envelope
	err := s.sql.QueryRow(t.Context(), `
		SELECT id::text, seq::text, xid::text, aggregate_type, aggregate_id, event_type, payload::text, headers::text,
			created_at::text
		FROM outbox_events`).Scan(&want.ID, &want.Sequence, &want.XID, &want.AggregateType, &want.AggregateID,
		&want.EventType,
		&want.Payload, &want.Headers, &want.CreatedAt)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]outbox.Envelope{want}, got); diff != "" {
		t.Errorf("rows (-table +log):\n%s", diff)
	}
	if got[0].Payload != payload {
		t.Errorf("payload %q, written as %q", got[0].Payload, payload)
	}
}

func TestColumnsMayChangeWhileTheStreamRuns(t *testing.T) {
	t.Parallel()
	s := replicate(t, createTable)
	s.exec(insertEvent, "before", `{"n": 1}`)
	s.exec("ALTER TABLE outbox_events ADD COLUMN note text DEFAULT 'n'")
	s.exec(insertEvent, "added", `{"n": 2}`)
	s.exec("BEGIN")
	s.exec(insertEvent, "same transaction", `{"n": 3}`)
	s.exec("ALTER TABLE outbox_events DROP COLUMN note, DROP COLUMN aggregate_id")
	s.exec("ALTER TABLE outbox_events ADD COLUMN aggregate_id text DEFAULT 'o-1'")
	s.exec(insertEvent, "reordered", `{"n": 4}`)
	s.exec("COMMIT")

	rows := s.rows(4)
	if diff := cmp.Diff([]string{"before", "added", "same transaction", "reordered"}, eventTypes(rows)); diff != "" {
		t.Fatalf("event types (-want +got):\n%s", diff)
	}
	for i, row := range rows {
		if row.AggregateID != "o-1" || row.Payload != fmt.Sprintf(`{"n": %d}`, i+1) {
			t.Errorf("row %q has aggregate id %q and payload %q", row.EventType, row.AggregateID, row.Payload)
		}
	}
}

func TestDroppingAColumnThatIsReadEndsTheStream(t *testing.T) {
	t.Parallel()
	s := replicate(t, createTable)
	s.exec("ALTER TABLE outbox_events DROP COLUMN headers")
	s.exec("INSERT INTO outbox_events (id) VALUES (gen_random_uuid())")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := pgoutput.NewDecoder(table)
	for {
		m, err := d.Decode(s.walData(ctx))
		if err != nil {
			if !strings.Contains(err.Error(), "RELAY_COLUMN_HEADERS") {
				t.Errorf("error does not name the setting: %v", err)
			}
			return
		}
		if m.Kind == pgoutput.KindCommit {
			t.Fatal("the transaction was decoded")
		}
	}
}

func TestRowsOfPartitionsCarryTheRootsName(t *testing.T) {
	t.Parallel()
	s := replicate(t,
		createTable+" PARTITION BY LIST (event_type)",
		"CREATE TABLE p1 PARTITION OF outbox_events FOR VALUES IN ('one')",
		`CREATE TABLE p2 (note text, event_type text, payload json, headers jsonb,
			created_at timestamptz DEFAULT clock_timestamp(),
			xid xid8 DEFAULT pg_current_xact_id(), aggregate_type text, aggregate_id text, id uuid NOT NULL,
				seq bigint NOT NULL)`,
		"ALTER TABLE p2 DROP COLUMN note", // so that the columns have another order than the root's
		"ALTER TABLE outbox_events ATTACH PARTITION p2 FOR VALUES IN ('two')")
	s.exec(insertEvent, "one", `{"n": 1}`)
	s.exec(insertEvent, "two", `{"n": 2}`)
	rows := s.rows(2)
	if diff := cmp.Diff([]string{"one", "two"}, eventTypes(rows)); diff != "" {
		t.Fatalf("event types (-want +got):\n%s", diff)
	}
	for i, row := range rows {
		if row.AggregateID != "o-1" || row.Payload != fmt.Sprintf(`{"n": %d}`, i+1) {
			t.Errorf("row %q has aggregate id %q and payload %q", row.EventType, row.AggregateID, row.Payload)
		}
	}
}

func TestRolledBackSavepointsAreNotDecoded(t *testing.T) {
	t.Parallel()
	s := replicate(t, createTable)
	s.exec("BEGIN")
	s.exec(insertEvent, "kept", "{}")
	s.exec("SAVEPOINT one")
	s.exec(insertEvent, "rolled back to the savepoint", "{}")
	s.exec("ROLLBACK TO SAVEPOINT one")
	s.exec("SAVEPOINT two")
	s.exec(insertEvent, "released", "{}")
	s.exec("RELEASE SAVEPOINT two")
	s.exec("COMMIT")
	s.exec("BEGIN")
	s.exec(insertEvent, "rolled back", "{}")
	s.exec("ROLLBACK")
	s.exec(insertEvent, "last", "{}")

	rows := s.rows(3)
	if diff := cmp.Diff([]string{"kept", "released", "last"}, eventTypes(rows)); diff != "" {
		t.Errorf("event types (-want +got):\n%s", diff)
	}
	if rows[0].XID != rows[1].XID || rows[1].XID == rows[2].XID {
		t.Errorf("xids %s, %s, %s: the first two events are of one transaction", rows[0].XID, rows[1].XID, rows[2].XID)
	}
}

func TestLargePayloadArrivesWhole(t *testing.T) {
	t.Parallel()
	s := replicate(t, createTable)
	var payload strings.Builder // large after compression too, so that Postgres stores it out of line
	payload.WriteString("[0")
	for n := uint64(1); payload.Len() < 3<<20; n = n*6364136223846793005 + 1442695040888963407 {
		fmt.Fprintf(&payload, ", %d", n)
	}
	payload.WriteString("]")
	s.exec(insertEvent, "large", payload.String())
	if got := s.rows(1)[0].Payload; got != payload.String() {
		t.Errorf("payload of %d bytes, written with %d", len(got), payload.Len())
	}
}

func TestUpdatesAndDeletesOfAWidePublicationAreIgnored(t *testing.T) {
	t.Parallel()
	s := replicate(t, createTable, "ALTER TABLE outbox_events REPLICA IDENTITY FULL")
	s.exec("ALTER PUBLICATION outbox_pub SET (publish = 'insert, update, delete, truncate')")
	s.exec(insertEvent, "first", "{}")
	s.exec("UPDATE outbox_events SET event_type = 'changed'")
	s.exec("DELETE FROM outbox_events")
	s.exec("TRUNCATE outbox_events")
	s.exec(insertEvent, "second", "{}")
	if diff := cmp.Diff([]string{"first", "second"}, eventTypes(s.rows(2))); diff != "" {
		t.Errorf("event types (-want +got):\n%s", diff)
	}
}
