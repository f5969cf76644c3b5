package preflight_test

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// TestCheckNamesEachMissingGuarantee: all have one cause, and the statements of one finding cure
// them.
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
			const names = "no repair, first start, audit, deferral, retention, replay: table "
			if len(found) != 1 || found[0].Code != preflight.CodeGuarantees ||
				!strings.HasPrefix(found[0].Explanation, names) || !strings.Contains(found[0].Explanation, c.word) {
				t.Fatalf("found %s", found)
			}
			for _, g := range outboxtable.MissingGuarantees(e.Table, false) {
				if !strings.Contains(found[0].Explanation, g.Promise+" (without it, "+g.Without+")") {
					t.Errorf("guarantee %s is missing in %s", g.Name, found[0])
				}
			}
			e.Table.Columns = whole
			e.expectCured(found[0])
		})
	}
}

// TestTheOrderOfRowsIsNoOrderOfAggregates: without an aggregate, a FIFO destination keeps no order,
// which is the finding aggregate.
func TestTheOrderOfRowsIsNoOrderOfAggregates(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.Table.Columns.AggregateID = ""
	for _, f := range e.check() {
		if f.Code == preflight.CodeOrder && (f.Level != preflight.OK || strings.Contains(f.Explanation, "aggregate")) {
			t.Errorf("%s: %s", f.Level, f)
		}
	}
}
