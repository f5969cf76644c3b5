package preflight

import (
	"context"

	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
)

// deferral says whether events of an unavailable destination can wait in the table.
func (d *database) deferral(ctx context.Context) Findings {
	if !d.Defers {
		return nil
	}
	missing, err := deferral.Missing(ctx, d.Pool, d.Table, d.RowsStay)
	object := d.tableObject()
	switch {
	case err != nil:
		return Findings{unknown(CodeDeferral, object, err)}
	case missing != "":
		return Findings{degraded(CodeDeferral, object, "events of a destination that is unavailable for "+
			"RELAY_PARK_AFTER become dead letters, and do not wait in the table: %s", missing)}
	}
	return Findings{passed(CodeDeferral, object, "events of an unavailable destination can wait in the table")}
}
