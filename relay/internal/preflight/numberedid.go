package preflight

import (
	"context"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// numberedBy finds a sequence that a column takes its values from, and whether the server keeps
// events from the relay that its standbys do not have yet.
const numberedBy = `
	WITH source AS (` + outboxtable.SequencesSQL + `)
	SELECT min(seqrelid::regclass::text), coalesce(current_setting('synchronized_standby_slots', true), '') <> ''
	FROM source`

// numberedID checks that no event gets the id of an earlier one after a failover. A standby that
// lacks the last commits of its primary continues the sequence where it stood before them.
func (d *database) numberedID(ctx context.Context) Findings {
	name := d.Table.Columns.ID
	if _, exists := d.columns[name]; !exists {
		return nil
	}
	var sequence *string
	var isGuarded bool
	err := d.Pool.QueryRow(ctx, numberedBy, d.Table.Identifier(), name).Scan(&sequence, &isGuarded)
	object := d.columnObject(name)
	switch {
	case err != nil:
		return Findings{unknown(CodeID, object, err)}
	case sequence == nil || isGuarded:
		return nil
	}
	return Findings{degraded(CodeID, object, "column %s takes its values from sequence %s. After a failover or a "+
		"restore that loses commits, new events get the ids of published ones: consumers skip them as known, and a "+
		"FIFO destination drops them within five minutes. Use UUIDs, or set synchronized_standby_slots (Postgres 17), "+
		"or raise the sequence before services write to the new primary", name, *sequence)}
}
