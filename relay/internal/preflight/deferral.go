package preflight

import (
	"context"

	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
)

// deferral says whether events can wait in the table: those of an unavailable destination, and
// those of an aggregate that is far behind or has a dead letter.
func (d *database) deferral(ctx context.Context) Findings {
	if d.columns == nil { // outboxTable has found it
		return nil
	}
	missing, err := deferral.Missing(ctx, d.Pool, d.Table, d.RowsStay)
	object := d.tableObject()
	if missing == "" && err == nil && d.Defers {
		missing, err = deferral.MissingForAll(ctx, d.Pool, d.Table, d.RowsStay)
	}
	switch {
	case err != nil:
		return Findings{unknown(CodeDeferral, object, err)}
	case missing != "" && d.Defers:
		return Findings{degraded(CodeDeferral, object, "events of a destination that is unavailable for "+
			"RELAY_PARK_AFTER, and events behind a dead letter, become dead letters and do not wait in the table: %s",
			missing)}
	case missing != "" && !d.Table.IsRepairable(): // guarantees has found it
		return nil
	case missing != "" && d.RowsStay == deferral.Deny:
		return Findings{passed(CodeDeferral, object, "no event waits in the table: %s", missing)}
	case missing != "":
		return Findings{degraded(CodeDeferral, object, "no event waits in the table, so an aggregate that is far "+
			"behind may hold back the others, and events behind a dead letter become dead letters: %s", missing)}
	}
	return Findings{passed(CodeDeferral, object, "events of an unavailable destination, and of an aggregate that is "+
		"far behind or has a dead letter, can wait in the table. A job of your own that deletes a row while it waits "+
		"loses the event: RELAY_ROWS_STAY=deny has no event wait")}
}
