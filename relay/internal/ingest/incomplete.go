package ingest

import (
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
)

// isIncompleteDelivered reports whether the recovery has published a row that lacks columns in the
// log, or the operator has accepted its loss. Otherwise only the log has the row, and it becomes a
// dead letter. It returns an error if a setting may read the row.
func (h *Handler) isIncompleteDelivered(m *pgoutput.Message) (bool, error) {
	if h.published == nil { // the recovery publishes no row of the table
		return true, nil
	}
	isInTable, err := h.InTable(&m.Row)
	if err == nil && !isInTable && len(m.Lack.Gone) > 0 {
		err = m.Lack.OfRow(route.EventID(&m.Row))
	}
	return isInTable, err
}
