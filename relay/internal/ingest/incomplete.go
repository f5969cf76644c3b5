package ingest

import (
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
)

// receiveIncomplete accepts a row that lacks columns in the log. If the recovery did not publish it
// from the table, then only the log has it. It becomes a dead letter, or ends the stream if a
// setting may read it. It cannot wait in the table, so the Gate is not told who wrote it.
func (h *Handler) receiveIncomplete(m *pgoutput.Message, bytes int) error {
	isPublished, err := h.isPublished(m)
	switch {
	case err != nil:
		return err
	case isPublished:
		h.passOver(&m.Row)
		return nil
	case len(m.Lack.Gone) > 0:
		return m.Lack.OfRow(route.EventID(&m.Row))
	}
	event := h.Delivery.NewEvent()
	routed := h.Router.Incomplete(&m.Row, &event.Message)
	h.register(&m.Row, event, routed, bytes)
	event.MarkUnusable(delivery.CodeIncomplete, m.Lack.Reason(m.Row.ID != "" || m.Row.Sequence != ""))
	h.hand(m, routed.Destination, event, routed.DroppedHeaders)
	return nil
}

// isPublished reports whether the recovery has published a row that lacks columns in the log. It
// publishes no row of the table if the operator has accepted the loss.
func (h *Handler) isPublished(m *pgoutput.Message) (bool, error) {
	if h.published == nil {
		return false, nil
	}
	return h.InTable(&m.Row)
}
