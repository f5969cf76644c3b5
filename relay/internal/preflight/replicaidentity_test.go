package preflight_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

func TestTableWithoutIdentityKeepsItsRows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change, undo string
		removes      preflight.Level // with RELAY_RETENTION
	}{
		"the relay's own publication": {
			`ALTER PUBLICATION outbox_pub SET (publish = 'insert, update, delete')`, "", preflight.Error,
		},
		"another publication": {
			`CREATE PUBLICATION other FOR TABLE ev`, `DROP PUBLICATION other`, preflight.Error,
		},
		"only updates": {
			`CREATE PUBLICATION other FOR TABLE ev WITH (publish = 'update')`, `DROP PUBLICATION other`,
			preflight.Degraded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newTestEnv(t)
			e.IDUnique = true
			e.exec(c.change)
			e.expectSound()
			e.exec(`ALTER TABLE ev DROP CONSTRAINT ev_pkey`)
			e.expect(preflight.CodeIdentity, preflight.Degraded, "public.ev")
			e.Removes = true
			f := e.expect(preflight.CodeIdentity, c.removes, "public.ev")
			e.exec(f.Statement)
			e.expectSound()
			e.exec(`DELETE FROM ev`)
		})
	}
}

func TestPartitionWithoutIdentityIsNamed(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.exec(`DROP TABLE ev;
		CREATE SEQUENCE numbers;
		CREATE TABLE ev (id uuid NOT NULL, aggregate_type text, aggregate_id text, event_type text, payload text,
			headers jsonb, created_at timestamptz, seq bigint NOT NULL DEFAULT nextval('numbers'),
			xid xid8 NOT NULL DEFAULT pg_current_xact_id()) PARTITION BY RANGE (created_at);
		CREATE TABLE ev_2025 PARTITION OF ev FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
		CREATE TABLE ev_2026 PARTITION OF ev FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
		ALTER TABLE ev_2025 REPLICA IDENTITY FULL;
		ALTER PUBLICATION outbox_pub ADD TABLE ev;
		CREATE PUBLICATION other FOR TABLE ev`)
	e.exec(`CREATE UNIQUE INDEX ON ev_2025 (seq); CREATE UNIQUE INDEX ON ev_2026 (seq)`)
	e.Removes, e.IDUnique = true, true
	e.expectCured(e.expect(preflight.CodeIdentity, preflight.Error, `ALTER TABLE public.ev_2026 REPLICA IDENTITY FULL`))
}
