package preflight

import (
	"context"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// guarantees reports each guarantee that the table does not allow. The order of an aggregate is a
// finding of the destinations. The first finding has the statements that add the missing columns.
func (d *database) guarantees(context.Context) Findings {
	if d.columns == nil || d.lacking() > 0 { // mappedColumns has found it
		return nil
	}
	return d.missingGuarantees()
}

func (d *database) missingGuarantees() Findings {
	var found Findings
	for _, g := range outboxtable.MissingGuarantees(d.Table, false) {
		found = append(found, degraded(CodeGuarantees, d.tableObject(), "no %s: %s. The relay does not keep this "+
			"guarantee: %s. Without it, %s", g.Name, outboxtable.WhyNotRepairable(d.Table), g.Promise, g.Without))
	}
	if found == nil {
		return Findings{passed(CodeGuarantees, d.tableObject(), "table %s allows every guarantee", d.tableName())}
	}
	found[0] = found[0].with("%s", d.addMissing())
	return found
}

// addMissing returns the statements that add the columns without which the table cannot be read.
func (d *database) addMissing() string {
	var statements []string
	if d.Table.Columns.XID == "" {
		statements = append(statements, d.addXID(outboxtable.Quote(d.freeName("xid"))))
	}
	if d.Table.Columns.Sequence == "" {
		statements = append(statements, d.addSequence(outboxtable.Quote(d.freeName("seq"))))
	}
	return strings.Join(statements, " ")
}

// freeName returns a name that no column has.
func (d *database) freeName(name string) string {
	for _, taken := d.columns[name]; taken; _, taken = d.columns[name] {
		name = "outbox_" + name
	}
	return name
}
