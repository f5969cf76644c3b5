package slot_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// The publication streams the rows of a partition under the name of its topmost published parent.
func TestAPublishedParentTakesTheTablesName(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		publication string
		streams     bool
	}{
		"of all tables":         {`FOR ALL TABLES WITH (publish_via_partition_root = true)`, false},
		"of the schema":         {`FOR TABLES IN SCHEMA public WITH (publish_via_partition_root = true)`, false},
		"of both tables":        {`FOR TABLE events, parents WITH (publish_via_partition_root = true)`, false},
		"of the outbox table":   {`FOR TABLE events WITH (publish_via_partition_root = true)`, true},
		"under their own names": {`FOR ALL TABLES`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.NewDatabase(t)
			pool := newPool(t, url)
			admin, err := pgx.Connect(t.Context(), pgtest.SuperuserURL(t, url))
			if err != nil {
				t.Fatal(err)
			}
			defer admin.Close(t.Context())
			exec := func(sql string) {
				t.Helper()
				if _, err := admin.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			fingerprint := func() string {
				t.Helper()
				f, err := slot.Fingerprint(t.Context(), pool, slot.Publication{Name: "p", Table: "public.events"})
				if err != nil {
					t.Fatal(err)
				}
				return f
			}
			exec(`CREATE TABLE events (id int)`)
			exec(`CREATE TABLE parents (id int) PARTITION BY RANGE (id)`)
			exec(`CREATE PUBLICATION p ` + c.publication)
			before := fingerprint()
			exec(`ALTER TABLE parents ATTACH PARTITION events DEFAULT`)
			if after := fingerprint(); before == "" || (after != "") != c.streams {
				t.Errorf("the fingerprint is %q, and was %q", after, before)
			}
			exec(`ALTER TABLE parents DETACH PARTITION events`)
			if after := fingerprint(); after == "" || after == before && name != "under their own names" {
				t.Errorf("the fingerprint of the detached table is %q, and was %q", after, before)
			}
		})
	}
}
