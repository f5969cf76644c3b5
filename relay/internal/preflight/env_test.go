package preflight_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// testEnv is a database with the outbox schema, and with a table ev of the user in the publication.
type testEnv struct {
	t    *testing.T
	url  string // of its owner
	conn *pgx.Conn
	preflight.Database
}

// ownTable is a table that meets every requirement.
const ownTable = `
	CREATE TABLE ev (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregate_type text, aggregate_id text,
		event_type text, payload text, headers jsonb, created_at timestamptz DEFAULT now(),
		seq bigint GENERATED ALWAYS AS IDENTITY, xid xid8 NOT NULL DEFAULT pg_current_xact_id());
	CREATE UNIQUE INDEX ON ev (seq);
	CREATE INDEX ON ev (xid);
	ALTER PUBLICATION outbox_pub SET TABLE ev;`

func newTestEnv(t *testing.T) *testEnv {
	t.Helper()
	return newTestEnvOn(t, pgtest.NewDatabase(t))
}

func newTestEnvOn(t *testing.T, url string) *testEnv {
	t.Helper()
	conn := connect(t, url)
	if _, _, err := migrations.Migrate(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	e := &testEnv{t: t, url: url, conn: conn, Database: preflight.Database{
		Slot: "relay_check", Publication: "outbox_pub", RowsStay: deferral.Deny,
		Table: outboxtable.Table{Schema: "public", Name: "ev", Columns: outboxtable.Columns{
			ID: "id", Sequence: "seq", XID: "xid", AggregateType: "aggregate_type", AggregateID: "aggregate_id",
			EventType: "event_type", Payload: "payload", Headers: "headers", CreatedAt: "created_at",
		}},
	}}
	e.exec(ownTable)
	return e
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func (e *testEnv) exec(sql string) {
	e.t.Helper()
	if _, err := e.conn.Exec(e.t.Context(), sql); err != nil {
		e.t.Fatalf("%s: %v", sql, err)
	}
}

// check checks the database as its owner.
func (e *testEnv) check() preflight.Findings {
	e.t.Helper()
	return e.checkAs(e.url)
}

func (e *testEnv) checkAs(url string) preflight.Findings {
	e.t.Helper()
	pool, err := pgxpool.New(e.t.Context(), url)
	if err != nil {
		e.t.Fatal(err)
	}
	defer pool.Close()
	database := e.Database
	database.Pool = pool
	database.OpenStream = func(ctx context.Context) (*replication.Stream, error) {
		config, err := pgx.ParseConfig(url)
		if err != nil {
			return nil, err
		}
		if err := new(control.Learned).PinVersion(ctx, &config.Config); err != nil { // like the relay
			return nil, err
		}
		return replication.Open(ctx, replication.Config{
			Connection: &config.Config, Slot: database.Slot, SenderTimeout: 10 * time.Second,
		})
	}
	return database.Check(e.t.Context(), preflight.Progress{})
}

// expectSound fails unless every finding is ok.
func (e *testEnv) expectSound() {
	e.t.Helper()
	for _, f := range e.check() {
		if f.Level != preflight.OK {
			e.t.Errorf("%s %s: %s", f.Level, f.Code, f)
		}
	}
}

// expect fails unless exactly one finding is not ok, and that one has this code, this level and all
// of these words.
func (e *testEnv) expect(code preflight.Code, level preflight.Level, words ...string) preflight.Finding {
	e.t.Helper()
	return expect(e.t, e.check(), code, level, words...)
}

func expect(
	t *testing.T, all preflight.Findings, code preflight.Code, level preflight.Level, words ...string,
) preflight.Finding {
	t.Helper()
	found := slices.DeleteFunc(slices.Clone(all), func(f preflight.Finding) bool { return f.Level == preflight.OK })
	if len(found) != 1 || found[0].Code != code || found[0].Level != level {
		t.Fatalf("found %s, want one of code %s and level %s", found, code, level)
	}
	for _, word := range words {
		if !strings.Contains(found[0].String(), word) {
			t.Errorf("%q does not say %q", found[0], word)
		}
	}
	return found[0]
}

// expectCured runs the statement of a finding, and expects no finding afterwards.
func (e *testEnv) expectCured(f preflight.Finding) {
	e.t.Helper()
	e.runScript(f.Statement)
	e.expectSound()
}

// runScript runs statements one by one, like psql: some must not share a transaction with others.
func (e *testEnv) runScript(script string) {
	e.t.Helper()
	var statements strings.Builder
	for i, part := range strings.Split(script, "$$") {
		if i%2 == 1 { // the body of a function or a block
			statements.WriteString("$$" + part + "$$")
			continue
		}
		statements.WriteString(strings.ReplaceAll(part, ";", "\x00"))
	}
	for statement := range strings.SplitSeq(statements.String(), "\x00") {
		e.exec(statement)
	}
}
