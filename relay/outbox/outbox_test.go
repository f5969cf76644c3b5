package outbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"
	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pgtest.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func migrated(t *testing.T) *pgx.Conn {
	t.Helper()
	conn := connect(t)
	if _, _, err := migrations.Migrate(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	return conn
}

func insert(t *testing.T, conn *pgx.Conn, events ...outbox.Event) error {
	t.Helper()
	return pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error { return outbox.Insert(t.Context(), tx, events...) })
}

func TestInsertKeepsOrderAndPayloadBytes(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	payloads := []string{`{"b":1, "a":2, "b":3}`, `"ü ☃ \u0041"`, ` [1.0,  1e2] `}
	var events []outbox.Event
	for _, payload := range payloads {
		events = append(events, outbox.Event{
			AggregateType: "order", AggregateID: "1", Type: "t",
			Payload: json.RawMessage(payload),
		})
	}
	if err := insert(t, conn, events...); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), `SELECT payload::text FROM outbox_events ORDER BY seq`)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || strings.Join(stored, "|") != strings.Join(payloads, "|") {
		t.Errorf("stored %q, %v", stored, err)
	}
}

func TestEventOfARolledBackTransactionIsNotStored(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	changedMind := errors.New("changed my mind")
	err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		if err := outbox.Insert(t.Context(), tx, outbox.Event{Type: "t", Payload: json.RawMessage(`{}`)}); err != nil {
			return err
		}
		return changedMind
	})
	if !errors.Is(err, changedMind) {
		t.Fatal(err)
	}
	var n int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM outbox_events`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d events, %v", n, err)
	}
}

func TestOneBadEventKeepsAllOut(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	good := outbox.Event{Type: "t", Payload: json.RawMessage(`{}`)}
	err := insert(t, conn, good,
		outbox.Event{Type: "", Payload: json.RawMessage(`{`)},
		outbox.Event{
			Type: "t", Payload: json.RawMessage(`{}`),
			Headers: map[string]string{"event_id": "x", "AWS.x": "y", "empty": ""},
		})
	if err == nil {
		t.Fatal("bad events were stored")
	}
	for _, problem := range []string{"type is empty", "payload is not JSON", `"event_id"`, `"AWS.x"`, `"empty"`} {
		if !strings.Contains(err.Error(), problem) {
			t.Errorf("the error does not name %s: %v", problem, err)
		}
	}
	var n int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM outbox_events`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d events, %v", n, err)
	}
}

func TestRowKeepsTheTopLevelTransactionAlsoInASavepoint(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		return pgx.BeginFunc(t.Context(), tx, func(savepoint pgx.Tx) error {
			if err := outbox.Insert(t.Context(), savepoint, outbox.Event{
				Type:    "t",
				Payload: json.RawMessage(`{}`),
			}); err != nil {
				return err
			}
			var same bool
			err := tx.QueryRow(t.Context(), `SELECT xid = pg_current_xact_id() FROM outbox_events`).Scan(&same)
			if !same {
				t.Error("the row names another transaction")
			}
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTableRefusesWhatTheRelayCouldNotDeliver(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	const columns = `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, headers, ` +
		`xid) VALUES `
	for what, row := range map[string]string{
		"no id":                 `(NULL, 'a', '1', 't', '{}', '{}', DEFAULT)`,
		"no type":               `(gen_random_uuid(), 'a', '1', '', '{}', '{}', DEFAULT)`,
		"payload that is none":  `(gen_random_uuid(), 'a', '1', 't', '{', '{}', DEFAULT)`,
		"payload too long":      `(gen_random_uuid(), 'a', '1', 't', to_json(repeat('x', 10485760)), '{}', DEFAULT)`,
		"headers that are none": `(gen_random_uuid(), 'a', '1', 't', '{}', '[]', DEFAULT)`,
		"no transaction":        `(gen_random_uuid(), 'a', '1', 't', '{}', '{}', NULL)`,
	} {
		if _, err := conn.Exec(t.Context(), columns+row); err == nil {
			t.Errorf("the table takes a row with %s", what)
		}
	}
}

func TestNewMakesIDsThatSortByTime(t *testing.T) {
	t.Parallel()
	e, err := outbox.New("order", "1", "order.created", map[string]int{"n": 1})
	if err != nil || e.ID.Version() != 7 || string(e.Payload) != `{"n":1}` {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := outbox.New("order", "1", "t", make(chan int)); err == nil {
		t.Error("a channel became a payload")
	}
}

func TestInsertGeneratesOnlyMissingIDs(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	id := uuid.New()
	if err := insert(t, conn, outbox.Event{ID: id, Type: "t", Payload: json.RawMessage(`{}`)},
		outbox.Event{Type: "t", Payload: json.RawMessage(`{}`)}); err != nil {
		t.Fatal(err)
	}
	var given, made bool
	err := conn.QueryRow(t.Context(), `SELECT bool_or(id = $1), bool_or(substr(id::text, 15, 1) = '7') FROM `+
		`outbox_events`, id).Scan(&given, &made)
	if err != nil || !given || !made {
		t.Errorf("given %v, made %v, %v", given, made, err)
	}
}

func TestMigrationsGoThereAndBack(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	newest := int32(len(files))
	for _, want := range [][2]int32{{0, newest}, {newest, newest}} {
		if from, to, err := migrations.Migrate(t.Context(), conn); err != nil || from != want[0] || to != want[1] {
			t.Errorf("migrated from %d to %d, %v, want %v", from, to, err, want)
		}
	}
	migrator, err := migrate.NewMigrator(t.Context(), conn, migrations.VersionTable)
	if err != nil {
		t.Fatal(err)
	}
	if err := migrator.LoadMigrations(os.DirFS("migrations")); err != nil {
		t.Fatal(err)
	}
	if err := migrator.MigrateTo(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := migrations.Migrate(t.Context(), conn); err != nil {
		t.Errorf("migrate again: %v", err)
	}
}

func TestAttributeNamesAreThoseThatAWSTakes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "tenant-id", "x.y", "_", "9", strings.Repeat("n", 255)} {
		if !outbox.ValidAttributeName(name) {
			t.Errorf("%q is refused", name)
		}
	}
	for _, name := range []string{
		"", ".a", "a.", "a..b", "aws.a", "AWS.a", "Amazon.a", "a b", "ü",
		strings.Repeat("n", 256),
	} {
		if outbox.ValidAttributeName(name) {
			t.Errorf("%q is taken", name)
		}
	}
}

func TestValidTextIsWhatSQSTakes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.Rune().Draw(t, "rune")
		want := r == 0x9 || r == 0xA || r == 0xD || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD ||
			r >= 0x10000
		before := strings.Repeat("x", rapid.IntRange(0, 20).Draw(t, "characters before it"))
		after := strings.Repeat("x", rapid.IntRange(0, 20).Draw(t, "characters behind it"))
		if got := outbox.ValidText(before + string(r) + after); got != want {
			t.Fatalf("%U: %v", r, got)
		}
		if outbox.ValidText(before + "\xff" + after) {
			t.Fatal("bytes that are not UTF-8 are taken")
		}
	})
}
