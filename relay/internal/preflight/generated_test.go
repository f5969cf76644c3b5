package preflight_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// TestGeneratedColumnsAreInTheLogOnceCured: the log never contains them before version 18, and from
// then on only if the publication includes them.
func TestGeneratedColumnsAreInTheLogOnceCured(t *testing.T) {
	t.Parallel()
	for _, version := range []int{15, 17, 18} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			server := pgtest.NewServer(t, pgtest.Options{
				Version: version, Settings: map[string]string{"wal_level": "logical"},
			})
			e := newTestEnvOn(t, server.URL("postgres", pgtest.Superuser))
			e.Table.Columns.EventType = "kind"
			e.exec(`ALTER TABLE ev ADD COLUMN kind text GENERATED ALWAYS AS (payload || '.created') STORED`)
			words := []string{"never streams"}
			if version == 18 {
				words = []string{"publish_generated_columns = stored"}
			}
			e.expectCured(e.expect(preflight.CodeGenerated, preflight.Error, words...))
			e.exec(`INSERT INTO ev (payload) VALUES ('order')`)
			var kind string
			err := e.conn.QueryRow(t.Context(), `SELECT kind FROM ev`).Scan(&kind)
			if err != nil || kind != "order.created" {
				t.Errorf("after the cure kind is %q, %v", kind, err)
			}
			if version == 18 {
				e.exec(`ALTER TABLE ev DROP COLUMN kind;
					ALTER TABLE ev ADD COLUMN kind text GENERATED ALWAYS AS (payload || '.created') VIRTUAL`)
				e.expectCured(e.expect(preflight.CodeGenerated, preflight.Error, "never in the log"))
			}
		})
	}
}
