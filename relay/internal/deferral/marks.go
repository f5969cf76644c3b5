package deferral

import (
	"encoding/json"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// MarksSQL is an expression for the deferrals of a slot and an outbox table, as JSON that
// [ParseMarks] reads. slotName and tableName are placeholders. A replay stores them when it is
// requested: a row that waited then is not part of it, although the horizon shows the row.
func MarksSQL(slotName, tableName string) string {
	return `(SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
		'Destination', d.destination, 'Known', d.known::text, 'FromSeq', d.from_seq, 'Routes', d.routes,
		'State', d.state, 'OutboxTable', d.outbox_table, 'AggregateType', d.aggregate_type,
		'AggregateID', d.aggregate_id))
		FROM outbox_deferrals d
		WHERE d.slot_name = ` + slotName + ` AND d.outbox_table = ` + tableName + ` AND d.state = 'deferred')`
}

// Marks are deferrals at one moment.
type Marks struct{ deferrals others }

// ParseMarks reads the result of [MarksSQL], which is nil without a deferral.
func ParseMarks(text *string) (marks Marks, err error) {
	if text == nil {
		return marks, nil
	}
	var stored []struct {
		Deferral
		OutboxTable string // empty in those of earlier versions, which had one table
	}
	if err := json.Unmarshal([]byte(*text), &stored); err != nil {
		return marks, fmt.Errorf("read deferrals: %w", err)
	}
	for _, d := range stored {
		if d.OutboxTable != "" {
			d.Table, d.AggregateType = splitType(d.OutboxTable, d.AggregateType)
		}
		h, err := newHeld(d.Deferral, "")
		if err != nil {
			return marks, fmt.Errorf("read the deferral of %s: %w", d.place(), err)
		}
		marks.deferrals.add(h)
	}
	return marks, nil
}

// Wait reports whether a row of the outbox table was not done for one of the deferrals.
func (m Marks) Wait(e *outbox.Envelope) bool {
	xid, err := pgsnapshot.ParseXID(e.XID)
	if err != nil {
		return false
	}
	seq, err := e.CommonSeq()
	if err != nil {
		return false
	}
	return m.deferrals.find(e, func(h *held) bool { return !h.mark.done(xid, seq) }) != nil
}
