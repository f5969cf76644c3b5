package e2e_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// The publication streams the rows of an attached table under the name of its parent. The relay may
// be away from before the table is attached until after it is detached.
func TestATableDetachedFromItsParentLosesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tables, table string // RELAY_TABLE, and the table that is attached
		runs          bool
	}{
		"one table":                   {"public.outbox_events", "public.outbox_events", false},
		"one table, running":          {"public.outbox_events", "public.outbox_events", true},
		"one of several":              {"tenant_*.outbox", "tenant_0.outbox", false},
		"one of several, running":     {"tenant_*.outbox", "tenant_0.outbox", true},
		"one of several, by its name": {"tenant_0.outbox,tenant_1.outbox", "tenant_0.outbox", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			w.schemas(2)
			admin, err := pgx.Connect(t.Context(), pgtest.SuperuserURL(t, w.url))
			w.must(err)
			defer admin.Close(t.Context())
			for _, sql := range []string{
				`DROP PUBLICATION outbox_pub`,
				`CREATE PUBLICATION outbox_pub FOR ALL TABLES
					WITH (publish = 'insert', publish_via_partition_root = true)`,
			} {
				_, err := admin.Exec(t.Context(), sql)
				w.must(err)
			}
			w.exec(`CREATE TABLE parents (LIKE ` + c.table + ` INCLUDING DEFAULTS) PARTITION BY LIST (aggregate_id)`)
			w.exec(`CREATE SEQUENCE numbers START 10`) // servers since Postgres 17 attach no table with an identity
			w.exec(`ALTER TABLE ` + c.table + ` ALTER seq DROP IDENTITY, ALTER seq SET DEFAULT nextval('numbers')`)
			p := w.startStreaming("RELAY_TABLE=" + c.tables)
			w.insertInto(c.table, "1", 1, 2)
			w.awaitAll(2)
			if !c.runs {
				p.stop()
			}
			w.exec(`ALTER TABLE parents ATTACH PARTITION ` + c.table + ` DEFAULT`)
			w.insertInto(c.table, "1", 3, 4)
			w.exec(`ALTER TABLE parents DETACH PARTITION ` + c.table)
			w.insertInto(c.table, "1", 5, 5)
			if !c.runs {
				w.startStreaming("RELAY_TABLE=" + c.tables)
			}
			w.awaitAll(5)
		})
	}
}
