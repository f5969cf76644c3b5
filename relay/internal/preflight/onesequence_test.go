package preflight_test

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// TestPartitionsAreGivenOneSequence by a statement that runs unchanged, whatever numbers them.
func TestPartitionsAreGivenOneSequence(t *testing.T) {
	t.Parallel()
	const columns = `(id uuid DEFAULT gen_random_uuid(), aggregate_type text, aggregate_id text, event_type text,
		payload text, headers jsonb, created_at timestamptz NOT NULL DEFAULT now(), seq bigint NOT NULL,
		xid xid8 NOT NULL DEFAULT pg_current_xact_id())`
	for name, numbers := range map[string]string{
		"defaults": `CREATE SEQUENCE "First Numbers"; CREATE SEQUENCE other;
			ALTER TABLE ev ALTER seq SET DEFAULT nextval('"First Numbers"');
			ALTER TABLE "Old" ALTER seq SET DEFAULT nextval('other')`,
		"only partitions": `CREATE SEQUENCE first; CREATE SEQUENCE other; ALTER TABLE ev ALTER seq SET DEFAULT 0;
			ALTER TABLE "Old" ALTER seq SET DEFAULT nextval('first');
			ALTER TABLE new ALTER seq SET DEFAULT nextval('other')`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newTestEnv(t)
			e.IDUnique = true
			e.exec(`DROP TABLE ev; CREATE TABLE ev ` + columns + ` PARTITION BY RANGE (created_at);
				CREATE TABLE "Old" PARTITION OF ev FOR VALUES FROM ('2000-01-01') TO ('2020-01-01');
				CREATE TABLE new PARTITION OF ev FOR VALUES FROM ('2020-01-01') TO ('infinity');
				CREATE UNIQUE INDEX ON "Old" (seq); CREATE UNIQUE INDEX ON new (seq); CREATE INDEX ON ev (xid);
				ALTER PUBLICATION outbox_pub SET TABLE ev; INSERT INTO ev (seq) VALUES (1000)`)
			e.exec(numbers)
			e.expectCured(e.expect(preflight.CodeOrder, preflight.Error, "2 sequences"))
			e.exec(`INSERT INTO ev (created_at) VALUES ('2010-01-01')`)
			var numbered int64
			err := e.conn.QueryRow(t.Context(), `SELECT seq FROM "Old"`).Scan(&numbered)
			if err != nil || numbered != 1001 {
				t.Errorf("the next row has %d, want 1001: %v", numbered, err)
			}
		})
	}
}

// TestIdentitiesAreReplacedByOneSequence: before Postgres 17 each partition may have its own
// identity.
func TestIdentitiesAreReplacedByOneSequence(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.Options{Version: 15, Dir: pgtest.Dir(t)})
	e := newTestEnvOn(t, server.URL("postgres", "postgres"))
	e.IDUnique = true
	e.exec(`DROP TABLE ev;
		CREATE TABLE ev (id uuid DEFAULT gen_random_uuid(), aggregate_type text, aggregate_id text, event_type text,
			payload text, headers jsonb, created_at timestamptz NOT NULL DEFAULT now(),
			seq bigint NOT NULL DEFAULT 0, xid xid8 NOT NULL DEFAULT pg_current_xact_id())
			PARTITION BY RANGE (created_at);
		CREATE TABLE old (LIKE ev INCLUDING DEFAULTS); CREATE TABLE new (LIKE ev INCLUDING DEFAULTS);
		ALTER TABLE old ALTER seq DROP DEFAULT, ALTER seq ADD GENERATED ALWAYS AS IDENTITY;
		ALTER TABLE new ALTER seq DROP DEFAULT, ALTER seq ADD GENERATED ALWAYS AS IDENTITY;
		ALTER TABLE ev ATTACH PARTITION old FOR VALUES FROM ('2000-01-01') TO ('2020-01-01');
		ALTER TABLE ev ATTACH PARTITION new FOR VALUES FROM ('2020-01-01') TO ('infinity');
		CREATE UNIQUE INDEX ON old (seq); CREATE UNIQUE INDEX ON new (seq); CREATE INDEX ON ev (xid);
		ALTER PUBLICATION outbox_pub SET TABLE ev`)
	e.exec(`INSERT INTO ev (seq) VALUES (1000)`)
	e.expectCured(e.expect(preflight.CodeOrder, preflight.Error, "2 sequences"))
}

// TestOneSequenceIsSafeUnderWriters: no insert fails, and the rows of each writer have rising
// numbers, whichever sequence numbered them.
func TestOneSequenceIsSafeUnderWriters(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.IDUnique = true
	e.exec(`DROP TABLE ev; CREATE TABLE ev (id uuid DEFAULT gen_random_uuid(), aggregate_type text, aggregate_id text,
			event_type text, payload text, headers jsonb, created_at timestamptz NOT NULL DEFAULT now(),
			seq bigint NOT NULL, xid xid8 NOT NULL DEFAULT pg_current_xact_id()) PARTITION BY RANGE (created_at);
		CREATE TABLE old PARTITION OF ev FOR VALUES FROM ('2000-01-01') TO ('2020-01-01');
		CREATE TABLE new PARTITION OF ev FOR VALUES FROM ('2020-01-01') TO ('infinity');
		CREATE UNIQUE INDEX ON old (seq); CREATE UNIQUE INDEX ON new (seq); CREATE INDEX ON ev (xid);
		ALTER PUBLICATION outbox_pub SET TABLE ev;
		CREATE SEQUENCE low; CREATE SEQUENCE high START 100000;
		ALTER TABLE ev ALTER seq SET DEFAULT nextval('low');
		ALTER TABLE old ALTER seq SET DEFAULT nextval('high')`)
	found := e.expect(preflight.CodeOrder, preflight.Error, "2 sequences")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writers errgroup.Group
	begun := make(chan struct{}, 4)
	for i := range 4 {
		conn := connect(t, e.url)
		insert := fmt.Sprintf(`INSERT INTO %s (created_at) VALUES ('%s') RETURNING seq`,
			[]string{"ev", "old"}[i%2], "2010-01-01")
		if i > 1 {
			insert = `INSERT INTO ev DEFAULT VALUES RETURNING seq`
		}
		writers.Go(func() error {
			for last, n := int64(0), 0; ctx.Err() == nil; n++ {
				var seq int64
				err := conn.QueryRow(t.Context(), insert).Scan(&seq)
				if err != nil || seq <= last {
					//nolint:errorlint // err may be nil
					return fmt.Errorf("%s: seq %d after %d: %v", insert, seq, last, err)
				}
				if last = seq; n == 20 {
					begun <- struct{}{}
				}
			}
			return nil
		})
	}
	for range 4 {
		<-begun
	}
	e.runScript(found.Statement)
	stop()
	if err := writers.Wait(); err != nil {
		t.Error(err)
	}
	e.expectSound()
}
