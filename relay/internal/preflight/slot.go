package preflight

import (
	"context"

	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// replicationSlot checks that the relay can use the slot, or that the server has room to create it.
func (d *database) replicationSlot(ctx context.Context) Findings {
	object := "slot " + d.Slot
	state, err := slot.LookUp(ctx, d.Pool, d.Slot)
	if err != nil {
		return Findings{unknown(CodeSlot, object, err)}
	}
	other, err := d.slotTable(ctx)
	switch {
	case err != nil:
		return Findings{unknown(CodeSlot, object, err)}
	case other != "" && d.columns != nil && d.lacking() >= proposing: // the start judges other tables
		return Findings{failed(CodeSlot, object, "slot %s relays table %s: choose a slot for table %s alone with "+
			"RELAY_SLOT", d.Slot, other, d.tableName()).with("RELAY_SLOT=%s", d.ownSlot())}
	}
	if state.Exists {
		if err := state.CheckUsable(d.Slot); err != nil {
			return Findings{FromError(CodeSlot, object, err)}
		}
		if state.Active {
			return Findings{passed(CodeSlot, object, "slot %s exists, and process %d holds it: a relay stands by "+
				"until the slot is free", d.Slot, state.ActivePID)}
		}
		return Findings{passed(CodeSlot, object, "slot %s exists, and no process holds it", d.Slot)}
	}
	var used, places int
	err = d.Pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::integer`).
		Scan(&used, &places)
	if err != nil {
		return Findings{unknown(CodeSlot, object, err)}
	}
	if used >= places {
		return Findings{failed(CodeSlot, object, "slot %s cannot be created, because all %d of "+
			"max_replication_slots are in use: drop one that no client needs, or raise the setting", d.Slot, places)}
	}
	return Findings{passed(CodeSlot, object, "slot %s does not exist yet: the relay creates it (%d of %d slots are "+
		"in use)", d.Slot, used, places)}
}
