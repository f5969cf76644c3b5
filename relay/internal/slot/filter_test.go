package slot_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// TestAnotherRowFilterHasNoFingerprint: the digest spares the comparison of the texts only where
// both are the same. That of a filter which was written again may be another one.
func TestAnotherRowFilterHasNoFingerprint(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change string
		isSame bool
	}{
		"the same":       {`SELECT`, true},
		"another column": {`ALTER TABLE events ADD COLUMN other text; ALTER TABLE events RENAME "No" TO n`, true},
		"written again": {
			`ALTER PUBLICATION p DROP TABLE events; ALTER PUBLICATION p ADD TABLE events WHERE ((a) =  'x')`, true,
		},
		"another value":      {`ALTER PUBLICATION p SET TABLE events WHERE (a = 'y')`, false},
		"no filter":          {`ALTER PUBLICATION p SET TABLE events`, false},
		"a renamed column":   {`ALTER TABLE events RENAME a TO c`, false},
		"columns swap names": {`ALTER TABLE events RENAME a TO c; ALTER TABLE events RENAME b TO a`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.NewDatabase(t)
			pool := newPool(t, url)
			admin, err := pgx.Connect(t.Context(), pgtest.SuperuserURL(t, url))
			if err != nil {
				t.Fatal(err)
			}
			defer admin.Close(context.WithoutCancel(t.Context()))
			exec := func(sql string) {
				t.Helper()
				if _, err := admin.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			exec(`CREATE TABLE events (a text, b text, "No" int)`)
			exec(`CREATE PUBLICATION p FOR TABLE events WHERE (a = 'x') WITH (publish = 'insert')`)
			known := slot.Publication{Name: "p", Table: "public.events", Filter: `(a = 'x'::text)`}
			err = admin.QueryRow(t.Context(), `SELECT `+slot.FilterDigestSQL("r")+` FROM pg_publication_rel r
				WHERE r.prrelid = 'events'::regclass`).Scan(&known.FilterDigest)
			if err != nil {
				t.Fatal(err)
			}
			exec(c.change)
			without := known
			without.FilterDigest = ""
			for _, p := range []slot.Publication{known, without} {
				fingerprint, err := slot.Fingerprint(t.Context(), pool, p)
				if err != nil || (fingerprint != "") != c.isSame {
					t.Errorf("digest %q: the fingerprint is %q: %v", p.FilterDigest, fingerprint, err)
				}
			}
			if name != "the same" && name != "another column" {
				return
			}
			exec(`BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE`)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if _, err := slot.Fingerprint(ctx, pool, known); err != nil {
				t.Errorf("while the table is locked: %v", err)
			}
		})
	}
}
