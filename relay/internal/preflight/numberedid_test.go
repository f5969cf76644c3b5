package preflight_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// numberedTables are tables whose ids come from a sequence that is named numbers.
var numberedTables = map[string]string{
	"identity": `ALTER TABLE ev DROP id,
		ADD id bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME numbers) PRIMARY KEY`,
	"default": `CREATE SEQUENCE numbers; ALTER TABLE ev DROP id,
		ADD id bigint PRIMARY KEY DEFAULT nextval('numbers')`,
	"text": `CREATE SEQUENCE numbers; ALTER TABLE ev DROP id,
		ADD id text PRIMARY KEY DEFAULT 'e' || nextval('numbers')`,
	"partition": `CREATE SEQUENCE numbers; ALTER TABLE ev RENAME TO one; ALTER TABLE one ALTER seq DROP IDENTITY;
		ALTER TABLE one ALTER seq SET DEFAULT nextval('seqs'), ALTER id TYPE text,
			ALTER id SET DEFAULT 'e' || nextval('numbers');
		CREATE TABLE ev (LIKE one INCLUDING DEFAULTS) PARTITION BY LIST (event_type);
		ALTER TABLE ev ALTER id DROP DEFAULT; ALTER TABLE ev ATTACH PARTITION one DEFAULT;
		CREATE INDEX ON ev (xid); ALTER PUBLICATION outbox_pub SET TABLE ev;
		ALTER PUBLICATION outbox_pub SET (publish_via_partition_root = true)`,
}

func TestIdsOfASequenceRepeatAfterAFailover(t *testing.T) {
	t.Parallel()
	for name, statements := range numberedTables {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newTestEnv(t)
			e.IDUnique = true // says nothing about a failover
			e.exec(`CREATE SEQUENCE seqs;` + statements)
			e.expect(preflight.CodeID, preflight.Degraded, "sequence numbers", "failover", "synchronized_standby_slots")
		})
	}
}

// TestAServerThatAwaitsItsStandbysRepeatsNoId: the relay gets only events that a standby has.
func TestAServerThatAwaitsItsStandbysRepeatsNoId(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.Options{AtLeast: 17, Settings: map[string]string{
		"wal_level": "logical", "synchronized_standby_slots": "standby",
	}})
	e := newTestEnvOn(t, server.URL("postgres", pgtest.Superuser))
	e.exec(numberedTables["identity"])
	e.expectSound()
}
