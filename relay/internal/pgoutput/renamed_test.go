package pgoutput_test

import (
	"errors"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
)

// The server describes a table by the name that it had when its rows were written.
func TestATableIsItsRelationUnderAnyName(t *testing.T) {
	t.Parallel()
	known := table
	known.Relation = outboxOID
	got := decodeAll(t, pgoutput.NewDecoder(known), begin(10, 1),
		relationMessage(outboxOID, "moved", "other", columns...), outboxRow(),
		relationMessage(7, "moved", "other", columns...), insertMessage(7, text("another table")),
	)
	if got[2].Kind != pgoutput.KindRow || got[4].Kind != pgoutput.KindIgnored {
		t.Errorf("the rows are of the kinds %d and %d", got[2].Kind, got[4].Kind)
	}
}

// tenants are tables of which one is streamed, and one has another name now.
func tenants() outboxtable.Table {
	several := table
	several.Several = &outboxtable.Several{
		Patterns: []outboxtable.Pattern{{Schema: []string{"tenant_", ""}, Name: "outbox"}},
	}
	streamed, former := several.One("tenant_0", "outbox", 0), several.One("tenant_1", "outbox", 1)
	streamed.Relation, former.Relation = outboxOID, 7
	several.Several.Former = []outboxtable.Table{former}
	return several.WithTables([]outboxtable.Table{streamed})
}

func TestATenantIsItsRelationUnderAnyName(t *testing.T) {
	t.Parallel()
	for name, schema := range map[string]string{"of another tenant": "tenant_5", "of no tenant": "moved"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := decodeAll(t, pgoutput.NewDecoder(tenants()), begin(10, 1),
				relationMessage(outboxOID, schema, "outbox", columns...), outboxRow())
			if m := got[2]; m.Kind != pgoutput.KindRow || m.Row.Source.Table != "tenant_0.outbox" {
				t.Errorf("the row is of kind %d, and of table %v", m.Kind, m.Row.Source)
			}
		})
	}
}

func TestATenantThatLeftKeepsItsFormerName(t *testing.T) {
	t.Parallel()
	d := pgoutput.NewDecoder(tenants())
	d.Unknown = func(oid uint32, schema, name string) (int64, error) {
		if oid != 7 || schema != "tenant_1" || name != "outbox" {
			t.Errorf("relation %d is unknown as %s.%s", oid, schema, name)
		}
		return 1, nil
	}
	row := outboxRow()
	copy(row[1:5], []byte{0, 0, 0, 7})
	m := decodeAll(t, d, begin(10, 1), relationMessage(7, "moved", "outbox", columns...), row)[2]
	if m.Kind != pgoutput.KindRow || m.Row.Source.Table != "tenant_1.outbox" || m.Row.Source.Number != 1 {
		t.Errorf("the row is of kind %d, and of table %v", m.Kind, m.Row.Source)
	}
}

// TestOnlyRowsWithoutARenameAreIncomplete: the column was added after the rows were written, or
// the publication left it out.
func TestOnlyRowsWithoutARenameAreIncomplete(t *testing.T) {
	t.Parallel()
	known := table
	known.Existing = append([]string{"note"}, columns...)
	var lack *pgoutput.MissingColumnError
	d := pgoutput.NewDecoder(known)
	d.Incomplete = func(e *pgoutput.MissingColumnError) { lack = e }
	got := decodeAll(t, d, begin(10, 1), relationMessage(outboxOID, table.Schema, table.Name, "note", columns[0]),
		insertMessage(outboxOID, text("a"), text("b")))
	if got[2].Kind != pgoutput.KindIgnored || lack == nil || len(lack.Missing[0].Renamed) > 0 {
		t.Errorf("the row is of kind %d, and lacks %v", got[2].Kind, lack)
	}
	_, err := d.Decode(relationMessage(outboxOID, table.Schema, table.Name, "former", columns[0]))
	if !errors.As(err, &lack) {
		t.Errorf("a renamed column: %v", err)
	}
}
