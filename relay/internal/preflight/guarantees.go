package preflight

import (
	"context"
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// guarantees reports the guarantees that the table does not allow. The order of an aggregate is a
// finding of the destinations. All others need the same columns, so they are one finding, with the
// statements that add these columns.
func (d *database) guarantees(context.Context) Findings {
	if d.columns == nil || d.lacking() > 0 { // mappedColumns has found it
		return nil
	}
	return d.missingGuarantees()
}

func (d *database) missingGuarantees() Findings {
	missing := outboxtable.MissingGuarantees(d.Table, false)
	if len(missing) == 0 {
		return Findings{passed(CodeGuarantees, d.tableObject(), "table %s allows every guarantee", d.tableName())}
	}
	names, promises := make([]string, len(missing)), make([]string, len(missing))
	for i, g := range missing {
		names[i], promises[i] = g.Name, fmt.Sprintf("%s (without it, %s)", g.Promise, g.Without)
	}
	return Findings{degraded(CodeGuarantees, d.tableObject(), "no %s: %s. The relay does not keep these guarantees: %s",
		strings.Join(names, ", "), outboxtable.WhyNotRepairable(d.Table), strings.Join(promises, "; ")).
		with("%s", d.addMissing())}
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
