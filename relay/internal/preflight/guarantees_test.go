package preflight_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// TestCheckNamesEachMissingGuarantee: the statements of the first finding cure all of them.
func TestCheckNamesEachMissingGuarantee(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		drop    string
		columns func(*outboxtable.Columns)
		word    string
	}{
		"sequence": {
			`ALTER TABLE ev DROP COLUMN seq`, func(c *outboxtable.Columns) { c.Sequence = "" },
			"no column that numbers its rows (RELAY_COLUMN_SEQUENCE). The",
		},
		"xid": {
			`ALTER TABLE ev DROP COLUMN xid`, func(c *outboxtable.Columns) { c.XID = "" },
			"no column with the writing transaction (RELAY_COLUMN_XID). The",
		},
		"both": {
			`ALTER TABLE ev DROP COLUMN seq, DROP COLUMN xid`,
			func(c *outboxtable.Columns) { c.Sequence, c.XID = "", "" },
			"(RELAY_COLUMN_SEQUENCE) and no column with the writing transaction (RELAY_COLUMN_XID). The",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newTestEnv(t)
			whole := e.Table.Columns
			c.columns(&e.Table.Columns)
			e.exec(c.drop)
			all := e.check()
			if err := all.Err(); err != nil {
				t.Fatal(err)
			}
			found := all.Of(preflight.Degraded)
			var about []string
			for _, f := range found {
				about = append(about, strings.SplitN(strings.TrimPrefix(f.Explanation, "no "), ":", 2)[0])
				if f.Code != preflight.CodeGuarantees || !strings.Contains(f.Explanation, c.word) {
					t.Errorf("%s: %s", f.Code, f)
				}
			}
			want := []string{"repair", "first start", "audit", "deferral", "retention", "replay"}
			if !slices.Equal(about, want) {
				t.Fatalf("missing %q, want %q", about, want)
			}
			e.Table.Columns = whole
			e.expectCured(found[0])
		})
	}
}
