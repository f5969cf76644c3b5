package outbox_test

import (
	"os"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
)

func TestEveryTableAndColumnHasAComment(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	if tables := outboxtest.RequireComments(t, conn); tables < 6 {
		t.Fatalf("%d tables", tables)
	}
}

// TestCommentsFailNoMigration: an outbox table may have got other names and another owner since.
func TestCommentsFailNoMigration(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("migrations/005_comments.sql")
	if err != nil {
		t.Fatal(err)
	}
	comments, _, _ := strings.Cut(string(file), "---- create above")
	for name, change := range map[string]string{
		"a renamed column": `ALTER TABLE outbox_events RENAME payload TO body`,
		"a renamed table":  `ALTER TABLE outbox_events RENAME TO events`,
		"a view in its name": `ALTER TABLE outbox_events RENAME TO events; CREATE VIEW outbox_events AS SELECT * ` +
			`FROM events`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := migrated(t)
			if _, err := conn.Exec(t.Context(), change); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(t.Context(), comments); err != nil {
				t.Error(err)
			}
		})
	}
}
