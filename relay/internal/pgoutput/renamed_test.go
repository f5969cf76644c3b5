package pgoutput_test

import (
	"errors"
	"slices"
	"strings"
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

// TestRowsThatLackAColumnNameGoneColumns: without a gone column none was renamed. The column was
// added after the rows were written, or the publication left it out.
func TestRowsThatLackAColumnNameGoneColumns(t *testing.T) {
	t.Parallel()
	known := table
	known.Existing = append([]string{"note"}, columns...)
	for name, gone := range map[string][]string{"note": nil, "former": {"former"}} {
		relation := relationMessage(outboxOID, table.Schema, table.Name, name, columns[0])
		var lack *pgoutput.MissingColumnError
		d := pgoutput.NewDecoder(known)
		d.Incomplete = func(e *pgoutput.MissingColumnError) { lack = e }
		m := decodeAll(t, d, begin(10, 1), relation, insertMessage(outboxOID, text("a"), text("b")))[2]
		if m.Kind != pgoutput.KindRow || m.Lack != lack || lack == nil || !slices.Equal(lack.Gone, gone) {
			t.Errorf("%s: the row is of kind %d, and lacks %v", name, m.Kind, m.Lack)
		}
		_, err := pgoutput.NewDecoder(known).Decode(relation)
		if !errors.As(err, &lack) || strings.Contains(err.Error(), "were dropped, run relay recover") != (gone != nil) {
			t.Errorf("%s: outside of a recovery: %v", name, err)
		}
	}
}

// TestOnlyAFormerTableHasGoneColumns: a table that was never streamed had none of the columns under
// another name.
func TestOnlyAFormerTableHasGoneColumns(t *testing.T) {
	t.Parallel()
	several := tenants()
	several.Several.Former[0].Existing = columns
	for name, c := range map[string]struct {
		oid  uint32
		gone []string
	}{
		"tenant_1": {7, []string{"former"}},
		"tenant_2": {8, nil},
	} {
		var lack *pgoutput.MissingColumnError
		d := pgoutput.NewDecoder(several)
		d.Incomplete = func(e *pgoutput.MissingColumnError) { lack = e }
		decodeAll(t, d, begin(10, 1), relationMessage(c.oid, name, "outbox", "former", columns[0]))
		if lack == nil || !slices.Equal(lack.Gone, c.gone) {
			t.Errorf("%s lacks %v", name, lack)
		}
	}
}

// TestAPlainTableIsPromisedNoRecovery: relay recover reads no row of a table without a sequence.
func TestAPlainTableIsPromisedNoRecovery(t *testing.T) {
	t.Parallel()
	plain := table
	plain.Columns.Sequence = ""
	for _, column := range []string{"note", "former"} {
		for isPlain, one := range map[bool]outboxtable.Table{false: table, true: plain} {
			one.Existing = append([]string{"note"}, columns...)
			_, err := pgoutput.NewDecoder(one).Decode(relationMessage(outboxOID, table.Schema, table.Name, column))
			if err == nil || strings.Contains(err.Error(), "run relay recover") == isPlain {
				t.Errorf("column %s, plain: %v: %v", column, isPlain, err)
			}
		}
	}
}
