package preflight_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

func TestSoundTableHasNoFinding(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.Removes, e.StartsSince = true, true
	e.expectSound()
	e.Table.Name = "outbox_events"
	e.exec(`ALTER PUBLICATION outbox_pub SET TABLE outbox_events`)
	e.expectSound()
}

func TestBytesAreRefusedInEveryColumn(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.exec(`CREATE DOMAIN raw AS bytea; CREATE DOMAIN body AS raw`)
	for _, column := range []string{"payload", "aggregate_id", "aggregate_type", "event_type"} {
		for _, kind := range []string{"bytea", "body"} {
			e.exec(fmt.Sprintf(`ALTER TABLE ev ALTER COLUMN %s TYPE %s USING NULL`, column, kind))
			e.expectCured(e.expect(preflight.CodeText, preflight.Error, column, kind))
		}
	}
	e.exec(`ALTER TABLE ev DROP COLUMN id; ALTER TABLE ev ADD COLUMN id body UNIQUE NOT NULL`)
	e.expectCured(e.expect(preflight.CodeText, preflight.Error, "RELAY_COLUMN_ID"))
}

// TestBytesWithinATypeAreRefused: Postgres' text of such a value contains its text of the bytes.
func TestBytesWithinATypeAreRefused(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.exec(`CREATE DOMAIN raw AS bytea; CREATE DOMAIN pieces AS bytea[]; CREATE TYPE parts AS (number int, raw raw);
		CREATE TYPE nested AS (parts parts[]);
		CREATE TYPE span AS RANGE (subtype = bytea, multirange_type_name = spans)`)
	for _, column := range []string{"payload", "aggregate_id"} {
		for _, kind := range []string{"bytea[]", "raw[]", "pieces", "parts", "nested", "span", "spans"} {
			e.exec(fmt.Sprintf(`ALTER TABLE ev ALTER COLUMN %s TYPE %s USING NULL`, column, kind))
			e.expectCured(e.expect(preflight.CodeText, preflight.Error, column, kind))
		}
	}
	e.exec(`CREATE TYPE plain AS (number int, word text); ALTER TABLE ev ALTER COLUMN payload TYPE plain[] USING NULL`)
	e.expectSound()
}

// TestTheTenantsColumnIsChecked: RELAY_TENANT names it after a word of its own.
func TestTheTenantsColumnIsChecked(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.Table.Columns.Tenant = "tenant"
	e.expect(preflight.CodeColumns, preflight.Error, `no column "tenant"`, "RELAY_TENANT=column:NEW,tenant")
	e.exec(`ALTER TABLE ev ADD COLUMN tenant bytea`)
	e.expectCured(e.expect(preflight.CodeText, preflight.Error, "RELAY_TENANT"))
	e.exec(`ALTER PUBLICATION outbox_pub SET TABLE ev (id, seq, xid, aggregate_type, aggregate_id, event_type, payload,
		headers, created_at)`)
	e.expect(preflight.CodePublication, preflight.Error, "columns that the relay reads")
}

func TestHeadersOfAnotherTypeAreRefused(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	for _, kind := range []string{"json", "text", "varchar(100)", "text[]", "varchar(20)[]", "jsonb"} {
		e.exec(fmt.Sprintf(`ALTER TABLE ev ALTER COLUMN headers TYPE %s USING NULL`, kind))
		e.expectSound()
	}
	for _, kind := range []string{"int[]", "int", "bytea"} {
		e.exec(fmt.Sprintf(`ALTER TABLE ev ALTER COLUMN headers TYPE %s USING NULL`, kind))
		e.expect(preflight.CodeHeaders, preflight.Error, "no headers can be read")
	}
}

func TestTimeIsNeededWhereASettingComparesIt(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.exec(`ALTER TABLE ev DROP COLUMN created_at; ALTER TABLE ev ADD COLUMN created_at bigint`)
	e.expect(preflight.CodeCreatedAt, preflight.Degraded, "no occurred_at", "bigint")
	e.StartsSince = true
	e.expect(preflight.CodeCreatedAt, preflight.Error, "RELAY_START", "bigint")
	e.StartsSince, e.Removes = false, true
	e.expect(preflight.CodeCreatedAt, preflight.Error, "RELAY_RETENTION", "bigint")
	e.exec(`CREATE DOMAIN moment AS timestamptz; ALTER TABLE ev ALTER COLUMN created_at TYPE moment USING now()`)
	e.expectSound()
}

// Services write the zone of their sessions, and the relay's session has UTC.
func TestTimesWithoutAZoneAreNotCompared(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.exec(`ALTER TABLE ev ALTER created_at TYPE timestamp`)
	e.expectSound()
	e.Removes = true
	e.expect(preflight.CodeCreatedAt, preflight.Degraded, "no time zone", "RELAY_RETENTION")
	e.Removes, e.StartsSince = false, true
	found := e.expect(preflight.CodeCreatedAt, preflight.Error, "no time zone", "RELAY_START=table")
	e.exec(`INSERT INTO relay_checkpoints (slot_name, outbox_table, epoch, system_identifier)
		SELECT 'relay_check', 'public.ev', 1, system_identifier::text FROM pg_control_system()`)
	for _, f := range e.check() {
		if f.Code == preflight.CodeCreatedAt && f.Level != preflight.OK {
			t.Errorf("a relay that has started: %s", f)
		}
	}
	e.exec(`DELETE FROM relay_checkpoints`)
	e.expectCured(found)
}

func TestMissingColumnIsAddedByItsStatement(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.exec(`INSERT INTO ev (payload) VALUES ('a'), ('b'), ('c'); DELETE FROM ev WHERE payload = 'a'`)
	e.exec(`ALTER TABLE ev DROP COLUMN seq`)
	f := e.expect(preflight.CodeColumns, preflight.Error, "RELAY_COLUMN_SEQUENCE", `"seq"`)
	if !strings.Contains(f.Explanation, "without the guarantees that need it") {
		t.Errorf("the finding does not say the price: %s", f)
	}
	for _, line := range f.Lines() { // each is pasted alone
		e.exec(line)
	}
	e.expectSound() // the statements number the rows, and no program updates them
	e.exec(`UPDATE ev SET payload = 'd' WHERE payload = 'c'`)
	e.exec(`SELECT pg_stat_force_next_flush()`)
	e.expect(preflight.CodeUpdates, preflight.Degraded, "1 update of rows")
	e.exec(`ALTER SEQUENCE ev_seq MINVALUE -3`) // as if it had been numbered too
	e.expectSound()
	e.exec(`ALTER SEQUENCE ev_seq MINVALUE -4`) // the server lost its counts after the numbering
	e.expect(preflight.CodeUpdates, preflight.Degraded, "3 updates of rows")
	e.exec(`ALTER SEQUENCE ev_seq MINVALUE -3`)
	e.exec(`ALTER TABLE ev DROP COLUMN xid`)
	f = e.expect(preflight.CodeColumns, preflight.Error, "RELAY_COLUMN_XID")
	e.expectCured(f)
	e.exec(`ALTER TABLE ev DROP COLUMN headers`)
	e.expect(preflight.CodeColumns, preflight.Error, "RELAY_COLUMN_HEADERS", "to nothing")
}

func TestTransactionIDIsFilledByItsStatement(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change string
		level  preflight.Level
	}{
		"nullable, not filled": {
			`ALTER TABLE ev DROP COLUMN xid; ALTER TABLE ev ADD COLUMN xid xid8`, preflight.Error,
		},
		"filled by the programs": {`ALTER TABLE ev ALTER COLUMN xid DROP DEFAULT`, preflight.Degraded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newTestEnv(t)
			e.exec(`INSERT INTO ev (payload) VALUES ('x')`)
			e.exec(c.change)
			e.expectCured(e.expect(preflight.CodeXID, c.level, "RELAY_COLUMN_XID"))
		})
	}
}

func TestPartitionedTableGetsItsColumns(t *testing.T) {
	t.Parallel()
	for _, version := range []int{15, 17} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			server := pgtest.NewServer(t, pgtest.Options{
				Version: version, Settings: map[string]string{"wal_level": "logical"},
			})
			e := newTestEnvOn(t, server.URL("postgres", pgtest.Superuser))
			e.IDUnique = true
			e.exec(`DROP TABLE ev;
				CREATE TABLE ev (id uuid DEFAULT gen_random_uuid(), aggregate_type text, aggregate_id text,
					event_type text, payload text, headers jsonb,
					created_at timestamptz DEFAULT now()) PARTITION BY RANGE (created_at);
				CREATE TABLE ev_1 PARTITION OF ev DEFAULT;
				ALTER PUBLICATION outbox_pub ADD TABLE ev`)
			for _, setting := range []string{"RELAY_COLUMN_SEQUENCE", "RELAY_COLUMN_XID"} {
				for _, f := range e.check().Of(preflight.Error) {
					if strings.Contains(f.Explanation, setting) {
						e.runScript(f.Statement)
					}
				}
			}
			e.expectSound()
		})
	}
}
