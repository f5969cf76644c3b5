package outbox_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/emitted"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// emittedLog is a slot that keeps the messages from its creation on.
type emittedLog struct {
	conn *pgx.Conn
	slot string
}

// watchLog creates the slot, which ends with the connection.
func watchLog(ctx context.Context, databaseURL string) (*emittedLog, error) {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return nil, err
	}
	l := &emittedLog{conn, fmt.Sprintf("emitted_%d", conn.PgConn().PID())}
	if _, err := conn.Exec(ctx, `CREATE PUBLICATION nothing`); err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, `SELECT pg_create_logical_replication_slot($1, 'pgoutput', true)`, l.slot)
	return l, err
}

// messages returns the contents of the messages that were committed, with their prefixes.
func (l *emittedLog) messages(ctx context.Context) (all []string, err error) {
	rows, err := l.conn.Query(ctx, `SELECT data FROM pg_logical_slot_get_binary_changes($1, NULL, NULL,
		'proto_version', '1', 'publication_names', 'nothing', 'messages', 'true')`, l.slot)
	if err != nil {
		return nil, err
	}
	changes, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	for _, change := range changes {
		if change[0] != 'M' {
			continue
		}
		prefix, rest, _ := bytes.Cut(change[10:], []byte{0}) // behind the flags and the position
		content := rest[4:]
		if n := binary.BigEndian.Uint32(rest); int(n) != len(content) {
			return nil, fmt.Errorf("message of %d bytes has %d", n, len(content))
		}
		all = append(all, string(prefix)+" "+string(content))
	}
	return all, err
}

func (l *emittedLog) close() { _ = l.conn.Close(context.Background()) }

// emitters are the two ways to emit.
var emitters = map[string]func(t *testing.T, url string, events ...outbox.Event) error{
	"pgx": func(t *testing.T, url string, events ...outbox.Event) error {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.Background()) }()
		return pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
			return outbox.Emit(t.Context(), tx, "outbox", events...)
		})
	},
	"database/sql": func(t *testing.T, url string, events ...outbox.Event) error {
		t.Helper()
		config, err := pgx.ParseConfig(url)
		if err != nil {
			t.Fatal(err)
		}
		config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
		db := stdlib.OpenDB(*config)
		defer func() { _ = db.Close() }()
		if err := outbox.EmitSQL(t.Context(), db, "outbox", events...); err == nil ||
			!strings.Contains(err.Error(), "no transaction") {
			t.Errorf("a pool is accepted: %v", err)
		}
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		if err := outbox.EmitSQL(t.Context(), tx, "outbox", events...); err != nil {
			return err
		}
		return tx.Commit()
	},
}

// TestEmittedEventsAreReadAsWritten: the relay's reader finds every field in the log, in order.
func TestEmittedEventsAreReadAsWritten(t *testing.T) {
	t.Parallel()
	events := []outbox.Event{
		{ID: uuid.New(), Type: "ü<&", Payload: json.RawMessage(`{"b":1.50, "a":"\\ \" , {} <&>", "b":[]}`)},
		{
			ID: uuid.New(), AggregateType: `a"b\c`, AggregateID: "4711", Type: "t", Payload: json.RawMessage(`"{}"`),
			Headers: map[string]string{"tenant": `a"}<`},
		},
		{ID: uuid.New(), Type: "t", Payload: json.RawMessage("null")},
	}
	for name, emit := range emitters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.NewDatabase(t)
			l, err := watchLog(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer l.close()
			if err := emit(t, url, events...); err != nil {
				t.Fatal(err)
			}
			messages, err := l.messages(t.Context())
			if err != nil || len(messages) != len(events) {
				t.Fatalf("messages %q: %v", messages, err)
			}
			for i, message := range messages {
				if diff := cmp.Diff(events[i], readEvent(t, message)); diff != "" {
					t.Errorf("event %d (-written +read):\n%s", i, diff)
				}
			}
		})
	}
}

// readEvent reads a message with the relay's reader.
func readEvent(t *testing.T, message string) outbox.Event {
	t.Helper()
	content, ok := strings.CutPrefix(message, "outbox ")
	var read outbox.Envelope
	if problem := emitted.Read([]byte(content), emitted.Position{}, &read); problem != "" || !ok {
		t.Fatalf("%s: %s", message, problem)
	}
	e := outbox.Event{
		AggregateType: read.AggregateType, AggregateID: read.AggregateID, Type: read.EventType,
		Payload: json.RawMessage(read.Payload),
	}
	var err error
	if e.ID, err = uuid.Parse(read.ID); err != nil {
		t.Fatal(err)
	}
	if read.Headers != "{}" {
		if err := json.Unmarshal([]byte(read.Headers), &e.Headers); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func TestEmitWritesNothingIfOneEventIsInvalid(t *testing.T) {
	t.Parallel()
	for name, emit := range emitters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.NewDatabase(t)
			l, err := watchLog(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer l.close()
			good := outbox.Event{Type: "t", Payload: json.RawMessage("{}")}
			if err := emit(t, url, good, outbox.Event{Payload: json.RawMessage("{")}); err == nil ||
				!strings.Contains(err.Error(), "type is empty") || !strings.Contains(err.Error(), "not JSON") {
				t.Errorf("error %v", err)
			}
			if err := emit(t, url); err != nil {
				t.Errorf("no event: %v", err)
			}
			if messages, err := l.messages(t.Context()); err != nil || len(messages) != 0 {
				t.Errorf("messages %q, %v", messages, err)
			}
		})
	}
}

func TestEmitNeedsAPrefix(t *testing.T) {
	t.Parallel()
	event := outbox.Event{Type: "t", Payload: json.RawMessage("{}")}
	if err := outbox.Emit(t.Context(), nil, "", event); err == nil || !strings.Contains(err.Error(), "RELAY_EMITTED") {
		t.Errorf("error %v", err)
	}
}

// The relay parks an emitted event whose payload is longer than one message, also with a bucket.
func TestEmitIgnoresMaxBytes(t *testing.T) {
	t.Parallel()
	long := outbox.Event{
		Type: "t", Payload: json.RawMessage(`"` + strings.Repeat("a", outbox.MaxPayload) + `"`), MaxBytes: 10 << 20,
	}
	for name, emit := range emitters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := emit(t, pgtest.NewDatabase(t), long)
			if err == nil || !strings.Contains(err.Error(), "longer than") {
				t.Errorf("error %v", err)
			}
		})
	}
	if long.MaxBytes != 10<<20 {
		t.Error("the caller's event is changed")
	}
}
