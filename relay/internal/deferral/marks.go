package deferral

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// MarksSQL is an expression for the deferrals of a slot and an outbox table, as JSON that
// [ParseMarks] reads. slotName and tableName are placeholders. A replay stores them when it is
// requested: a row that waited then is not part of it, although the horizon shows the row.
func MarksSQL(slotName, tableName string) string {
	return `(SELECT jsonb_agg(jsonb_build_object('Destination', d.destination, 'Known', d.known::text,
		'FromSeq', d.from_seq, 'Routes', d.routes, 'State', d.state))
		FROM outbox_deferrals d
		WHERE d.slot_name = ` + slotName + ` AND d.outbox_table = ` + tableName + ` AND d.state = 'deferred')`
}

// Marks are deferrals at one moment.
type Marks []*held

// ParseMarks reads the result of [MarksSQL], which is nil without a deferral.
func ParseMarks(text *string) (marks Marks, err error) {
	if text == nil {
		return nil, nil
	}
	var stored []Deferral
	if err := json.Unmarshal([]byte(*text), &stored); err != nil {
		return nil, fmt.Errorf("read deferrals: %w", err)
	}
	for _, d := range stored {
		h, err := newHeld(d, "")
		if err != nil {
			return nil, fmt.Errorf("read the deferral of %s: %w", d.Destination, err)
		}
		marks = append(marks, h)
	}
	return marks, nil
}

// Wait reports whether a row of the outbox table was not done for one of the deferrals.
func (m Marks) Wait(e *outbox.Envelope) bool {
	xid, err := pgsnapshot.ParseXID(e.XID)
	if err != nil {
		return false
	}
	seq, err := strconv.ParseInt(e.Sequence, 10, 64)
	if err != nil {
		return false
	}
	for _, h := range m {
		if !h.mark.done(xid, seq) && h.selects(e) {
			return true
		}
	}
	return false
}
