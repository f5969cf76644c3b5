package outbox_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// modes are the ways in which pgx sends parameters: by the type that the server states, by that of
// the Go value, or inside of the statement. Other drivers use one of them.
var modes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
}

// migratedSQL returns a pool of database/sql for a new database with the outbox schema.
func migratedSQL(t *testing.T, mode pgx.QueryExecMode) *sql.DB {
	t.Helper()
	config, err := pgx.ParseConfig(pgtest.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, _, err := migrations.Migrate(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = mode
	db := stdlib.OpenDB(*config)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// storedEvents returns the texts of all events in the order of seq.
func storedEvents(t *testing.T, db *sql.DB) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `
		SELECT concat_ws('|', id, aggregate_type, aggregate_id, event_type, payload, headers)
		FROM outbox_events ORDER BY seq`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var event string
		if err := rows.Scan(&event); err != nil {
			t.Fatal(err)
		}
		all = append(all, event)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func insertSQL(ctx context.Context, db *sql.DB, events ...outbox.Event) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := outbox.InsertSQL(ctx, tx, events...); err != nil {
		return err
	}
	return tx.Commit()
}

func TestInsertSQLStoresWhatInsertStores(t *testing.T) {
	t.Parallel()
	events := []outbox.Event{
		{Type: "t", Payload: json.RawMessage(`{"b":1, "a":"\\ \" , {} NULL ' $1", "ü":[1.0,  1e2]}`)},
		{AggregateType: "NULL", AggregateID: `a"b\c,{d}'e $1`, Type: "null", Payload: json.RawMessage(" null\n")},
		{
			AggregateType: "order", AggregateID: "☃ \t\n", Type: "ü", Payload: json.RawMessage(`""`),
			Headers: map[string]string{"tenant": `a\"b,'{}`, "x": "1"},
		},
	}
	for i := range events {
		events[i].ID = uuid.New()
	}
	want := storedByInsert(t, events)
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			db := migratedSQL(t, mode)
			if err := insertSQL(t.Context(), db, events...); err != nil {
				t.Fatal(err)
			}
			if got := storedEvents(t, db); !slices.Equal(got, want) {
				t.Errorf("stored %q, want %q", got, want)
			}
		})
	}
}

func storedByInsert(t *testing.T, events []outbox.Event) []string {
	t.Helper()
	db := migratedSQL(t, pgx.QueryExecModeCacheStatement)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = conn.Raw(func(driver any) error { return insert(t, driver.(*stdlib.Conn).Conn(), events...) })
	if err := errors.Join(err, conn.Close()); err != nil {
		t.Fatal(err)
	}
	return storedEvents(t, db)
}

func TestInsertSQLKeepsAnyText(t *testing.T) {
	t.Parallel()
	db := migratedSQL(t, pgx.QueryExecModeCacheStatement)
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.StringMatching(`[ -~\t\nü☃"\\,{}']{0,12}`)
		id, kind, payload := uuid.New(), text.Draw(r, "type")+"t", text.Draw(r, "payload")
		body, err := json.Marshal(payload)
		if err != nil {
			r.Fatal(err)
		}
		if err := insertSQL(t.Context(), db, outbox.Event{ID: id, Type: kind, Payload: body}); err != nil {
			r.Fatal(err)
		}
		var storedKind, storedBody string
		err = db.QueryRowContext(t.Context(), `SELECT event_type, payload FROM outbox_events WHERE id = $1`,
			id.String()).Scan(&storedKind, &storedBody)
		if err != nil || storedKind != kind || storedBody != string(body) {
			r.Fatalf("stored %q %q, want %q %q: %v", storedKind, storedBody, kind, body, err)
		}
	})
}

func TestInsertSQLRollsBackWithItsTransaction(t *testing.T) {
	t.Parallel()
	db := migratedSQL(t, pgx.QueryExecModeCacheStatement)
	event := outbox.Event{Type: "t", Payload: json.RawMessage(`{}`)}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := outbox.InsertSQL(t.Context(), tx, event); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got := storedEvents(t, db); len(got) != 0 {
		t.Errorf("stored %q after a rollback", got)
	}
	if err := outbox.InsertSQL(t.Context(), tx, event); !errors.Is(err, sql.ErrTxDone) {
		t.Errorf("after the end of its transaction: %v, want %v", err, sql.ErrTxDone)
	}
}

func TestInsertSQLStoresNoneIfOneIsInvalid(t *testing.T) {
	t.Parallel()
	db := migratedSQL(t, pgx.QueryExecModeCacheStatement)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	err = outbox.InsertSQL(t.Context(), tx, outbox.Event{Type: "t", Payload: json.RawMessage(`{}`)}, outbox.Event{})
	if err == nil || !strings.Contains(err.Error(), "type is empty") {
		t.Errorf("an event without a type: %v", err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := storedEvents(t, db); len(got) != 0 {
		t.Errorf("stored %q", got)
	}
}

func TestInsertSQLRefusesNoTransaction(t *testing.T) {
	t.Parallel()
	db := migratedSQL(t, pgx.QueryExecModeCacheStatement)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	wrapped := struct{ *sql.DB }{db} // as libraries wrap it
	for _, none := range []outbox.Execer{db, wrapped, conn, nil} {
		for _, events := range [][]outbox.Event{{{Type: "t", Payload: json.RawMessage(`{}`)}}, nil} {
			err := outbox.InsertSQL(t.Context(), none, events...)
			if err == nil || !strings.Contains(err.Error(), "is no transaction") {
				t.Errorf("%T, %d events: %v", none, len(events), err)
			}
		}
	}
	if got := storedEvents(t, db); len(got) != 0 {
		t.Errorf("stored %q", got)
	}
}
