package preflight

import (
	"context"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// rowSecurity checks that no policy can hide rows from the relay.
func (d *database) rowSecurity(ctx context.Context) Findings {
	hidden, err := outboxtable.FindRowSecurity(ctx, d.Pool, d.Table)
	if err != nil {
		return Findings{unknown(CodeRowSecurity, d.tableObject(), err)}
	}
	if len(hidden) == 0 {
		return Findings{passed(CodeRowSecurity, d.tableObject(), "no row security applies to role %s", d.role)}
	}
	var found Findings
	for _, h := range hidden {
		found = append(found, failed(CodeRowSecurity, "table "+h.Table, "%s", h.Explanation()).
			with("%s;", h.Statement()))
	}
	return found
}
